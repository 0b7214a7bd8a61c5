/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Programs that copy content to a larger map: loaded only while they run, never attached. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "carry.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Run on slots to add their counters in service_before to those in service_after. */
SEC("xdp.frags")
int carry_services(struct xdp_md *ctx)
{
	return run_carry(ctx, CARRY_SLOTS, carry_service);
}

/* Run on slots to add their counters in backend_before to those in backend_after. */
SEC("xdp.frags")
int carry_backends(struct xdp_md *ctx)
{
	return run_carry(ctx, CARRY_SLOTS, carry_backend);
}

/* Run on a range of lines to copy the ones in use from ports_before to ports_after, unless they are taken there. */
SEC("xdp.frags")
int carry_ports(struct xdp_md *ctx)
{
	return run_carry(ctx, CARRY_LINES, carry_port);
}

/* Run on a range of lines to zero the buckets in rates_after. */
SEC("xdp.frags")
int clear_rates(struct xdp_md *ctx)
{
	return run_carry(ctx, CARRY_LINES, clear_rate);
}

/* Run on a range of lines to raise the buckets in rates_after to those in rates_before. */
SEC("xdp.frags")
int carry_rates(struct xdp_md *ctx)
{
	return run_carry(ctx, CARRY_LINES, carry_rate);
}

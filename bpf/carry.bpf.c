/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Programs that move content between maps when one has become too small: loaded for that time alone, never attached. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "carry.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Run on slots to add their counters of service_before to those of service_after. */
SEC("xdp.frags")
int carry_services(struct xdp_md *ctx)
{
	return run_carry(ctx, CARRY_SLOTS, carry_service);
}

/* The same of backend_before and backend_after. */
SEC("xdp.frags")
int carry_backends(struct xdp_md *ctx)
{
	return run_carry(ctx, CARRY_SLOTS, carry_backend);
}

/* Run on a range of lines to copy those of ports_before that are in use to ports_after, where they are free. */
SEC("xdp.frags")
int carry_ports(struct xdp_md *ctx)
{
	return run_carry(ctx, CARRY_LINES, carry_port);
}

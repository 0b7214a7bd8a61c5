/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Programs on both ends of the veth of health checks through VIPs: see abi_checks.h. A daemon loads them. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "check_send.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* On the end in the namespace of the host: receives the packets of checks. */
SEC("xdp")
int xdp_check(struct xdp_md *ctx)
{
	return send_check(ctx);
}

/* On the end in the namespace of the checks: a veth accepts redirected frames only if this end has a program. */
SEC("xdp")
int xdp_check_answer(struct xdp_md *ctx)
{
	return XDP_PASS;
}

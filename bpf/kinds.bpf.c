/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A program of each kind that a map of programs may hold. The kernel puts only programs of one kind into such a map, and
 * shows the kind of a program nowhere: one of these fits beside it.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Packets in several buffers. */
SEC("xdp.frags")
int kind_frags(struct xdp_md *ctx)
{
	return XDP_PASS;
}

/* Packets in one buffer. */
SEC("xdp")
int kind_linear(struct xdp_md *ctx)
{
	return XDP_PASS;
}

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Hands packets that pass on to another program of the interface, which was attached there before ours. */
#pragma once

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "parts.h"
#include "verdict.h"

const volatile __u32 part_chain = 1;

/*
 * The program behind ours by interface slot; an empty slot: none. Its entries must agree with xdp_filter in whether they
 * are xdp.frags: see linear copies in src/kernel/tools/prune.ts.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__type(key, __u32);
	__type(value, __u32);
	__uint(max_entries, 1);
} chain SEC(".maps");

/*
 * Ends in the other program if there is one. Of test runs the key is beyond the map: they never reach a program that is
 * not ours, whose verdicts and counters are its own business. Only for the main function of a program: the kernel lets
 * a function that it calls use less stack if that one makes a tail call.
 */
static __always_inline void hand_on(struct xdp_md *ctx, const struct account *account)
{
	bpf_tail_call(ctx, &chain, slot_of(account));
}

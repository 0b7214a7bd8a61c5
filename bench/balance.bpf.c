/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Only for benchmarks: restores the packet before each turn of a test run, since the kernel passes a program's output
 * to its next run, sets the addresses of a flow, and calls the program under test. Programs with and without the frags
 * flag cannot be in one program array, hence two of each.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "parse.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Part of the frame that a program may change: Ethernet, IPv6 and TCP headers. */
#define HEAD_WORDS 12
/* The verifier's bound of an offset in them. */
#define HEAD_LIMIT 63

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__type(key, __u32);
	__type(value, __u32);
	__uint(max_entries, 1);
} plain SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__type(key, __u32);
	__type(value, __u32);
	__uint(max_entries, 1);
} frags SEC(".maps");

struct workload {
	__u32 length;		/* of the frame in bytes */
	__u32 flows;		/* number of flows, a power of two, chosen at random; 0: each packet begins a new one */
	__u32 address_at;	/* offset of the last 4 bytes of the source address */
	__u32 address;		/* of the first flow; the others follow */
	__u32 growth;		/* bytes by which encapsulation grows the packet, for programs that only undo it */
	__u32 pad;
	__u64 head[HEAD_WORDS];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct workload);
	__uint(max_entries, 1);
} workloads SEC(".maps");

/* Number of turns so far, of all runs. */
__u32 turns;
__u64 state = 0x9e3779b97f4a7c15ull;

static __always_inline struct workload *lookup_workload(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&workloads, &zero);
}

/* xorshift64 (Marsaglia, Journal of Statistical Software 8, 2003). */
static __always_inline __u32 draw(void)
{
	__u64 next = state;

	next ^= next << 13;
	next ^= next >> 7;
	next ^= next << 17;
	state = next;
	return next >> 32;
}

static __always_inline int restore(struct xdp_md *ctx)
{
	const struct workload *workload = lookup_workload();
	__u32 length = frame_end(ctx) - frame_start(ctx), pick;
	__u64 *head;
	__u32 *address;

	if (!workload)
		return -1;
	if (length != workload->length && bpf_xdp_adjust_head(ctx, (int)(length - workload->length)))
		return -1;
	head = frame_start(ctx);
	if ((const void *)(head + HEAD_WORDS) > frame_end(ctx))
		return -1;
#pragma unroll
	for (int i = 0; i < HEAD_WORDS; i++)
		head[i] = workload->head[i];
	pick = workload->flows ? draw() & (workload->flows - 1) : turns++;
	address = (void *)head + (workload->address_at & HEAD_LIMIT);
	if ((const void *)(address + 1) > frame_end(ctx))
		return -1;
	*address = __builtin_bswap32(workload->address + pick);
	return 0;
}

SEC("xdp")
int run_plain(struct xdp_md *ctx)
{
	if (restore(ctx) == 0)
		bpf_tail_call(ctx, &plain, 0);
	return XDP_ABORTED;
}

SEC("xdp.frags")
int run_frags(struct xdp_md *ctx)
{
	if (restore(ctx) == 0)
		bpf_tail_call(ctx, &frags, 0);
	return XDP_ABORTED;
}

SEC("xdp.frags")
int do_drop(struct xdp_md *ctx)
{
	return XDP_DROP;
}

SEC("xdp.frags")
int do_tx(struct xdp_md *ctx)
{
	return XDP_TX;
}

SEC("xdp")
int do_drop_plain(struct xdp_md *ctx)
{
	return XDP_DROP;
}

/* Half of the difference between these two is the cost of undoing a tunnel. */
SEC("xdp.frags")
int grow_once(struct xdp_md *ctx)
{
	const struct workload *workload = lookup_workload();

	if (!workload || bpf_xdp_adjust_head(ctx, -(int)workload->growth))
		return XDP_ABORTED;
	return XDP_TX;
}

SEC("xdp.frags")
int grow_thrice(struct xdp_md *ctx)
{
	const struct workload *workload = lookup_workload();

	if (!workload || bpf_xdp_adjust_head(ctx, -(int)workload->growth) ||
	    bpf_xdp_adjust_head(ctx, workload->growth) || bpf_xdp_adjust_head(ctx, -(int)workload->growth))
		return XDP_ABORTED;
	return XDP_TX;
}

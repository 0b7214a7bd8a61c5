/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Only for tests: a meter with the clock of the caller. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "meter.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define BUCKETS 65536
/* Maximum number of records per packet. */
#define TAKINGS 1000

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, BUCKETS);
} meters SEC(".maps");

struct taking {
	__u64 now;
	__u64 cost;
	__u64 burst;
	__u64 most;
	__u32 first;
	__u32 second;
	__u64 conforms;		/* the answer */
};

struct takings {
	struct xdp_md *ctx;
	__u32 failed;
	struct taking taking;
};

static long answer(__u32 index, struct takings *all)
{
	struct taking *taking = &all->taking;
	__u64 *first, *second;

	if (bpf_xdp_load_bytes(all->ctx, 8 + index * sizeof(*taking), taking, sizeof(*taking))) {
		all->failed = 1;
		return 1;
	}
	first = bpf_map_lookup_elem(&meters, &taking->first);
	second = bpf_map_lookup_elem(&meters, &taking->second);
	if (!first || !second) {
		all->failed = 1;
		return 1;
	}
	taking->conforms = take(first, second, taking->now, taking->cost, taking->burst, taking->most);
	if (bpf_xdp_store_bytes(all->ctx, 8 + index * sizeof(*taking), taking, sizeof(*taking))) {
		all->failed = 1;
		return 1;
	}
	return 0;
}

/* Data: u64 count, then that many struct taking. */
SEC("xdp.frags")
int meter(struct xdp_md *ctx)
{
	struct takings all = { .ctx = ctx };
	__u64 count;

	if (bpf_xdp_load_bytes(ctx, 0, &count, sizeof(count)) || count > TAKINGS)
		return XDP_ABORTED;
	bpf_loop(count, answer, &all, 0);
	return all.failed ? XDP_ABORTED : XDP_PASS;
}

/* One taking from the packet's bytes, which it keeps: run by several CPUs at a time. Returns XDP_PASS if it conforms. */
SEC("xdp.frags")
int meter_one(struct xdp_md *ctx)
{
	struct taking taking;
	__u64 *first, *second;

	if (bpf_xdp_load_bytes(ctx, 8, &taking, sizeof(taking)))
		return XDP_ABORTED;
	first = bpf_map_lookup_elem(&meters, &taking.first);
	second = bpf_map_lookup_elem(&meters, &taking.second);
	if (!first || !second)
		return XDP_ABORTED;
	return take(first, second, taking.now, taking.cost, taking.burst, taking.most) ? XDP_PASS : XDP_DROP;
}

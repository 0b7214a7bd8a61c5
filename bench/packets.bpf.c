/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Only for benchmarks: gives each run of a test packet another source address, then calls the program under test.
 * Sources lie in the policy map behind the image, 16 per line, in network byte order. Programs with and without the
 * frags flag cannot be in one program array, hence two of each.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <bpf/bpf_helpers.h>
#include "addr.h"
#include "bulk.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define SOURCES_A_LINE (LINE_SIZE / 4)

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

/* Number of runs so far, of all programs. */
__u32 runs;

/* Behind the UDP header of the test packet: the sources to use. */
struct sources {
	__u32 line;
	__u32 count;		/* a power of two */
};

static __always_inline int set_source(struct xdp_md *ctx)
{
	struct iphdr *ip = (void *)(long)ctx->data + sizeof(struct ethhdr);
	const struct sources *sources = (void *)(ip + 1) + 8;
	const __u32 *line;
	__u32 pick;

	if ((void *)(sources + 1) > (void *)(long)ctx->data_end)
		return -1;
	pick = runs++ & (sources->count - 1);
	line = (const void *)policy_line(sources->line + pick / SOURCES_A_LINE);
	if (!line)
		return -1;
	ip->saddr = line[pick % SOURCES_A_LINE];
	return 0;
}

SEC("xdp")
int run_plain(struct xdp_md *ctx)
{
	if (set_source(ctx) == 0)
		bpf_tail_call(ctx, &plain, 0);
	return XDP_ABORTED;
}

SEC("xdp.frags")
int run_frags(struct xdp_md *ctx)
{
	if (set_source(ctx) == 0)
		bpf_tail_call(ctx, &frags, 0);
	return XDP_ABORTED;
}

SEC("xdp")
int nothing_plain(struct xdp_md *ctx)
{
	return XDP_PASS;
}

SEC("xdp.frags")
int nothing_frags(struct xdp_md *ctx)
{
	return XDP_PASS;
}

SEC("xdp.frags")
int table_write(struct xdp_md *ctx)
{
	return bulk_write(ctx);
}

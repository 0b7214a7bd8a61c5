/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Only for benchmarks: gives each run of a test packet another source, then calls the program under test. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__type(key, __u32);
	__type(value, __u32);
	__uint(max_entries, 1);
} subject SEC(".maps");

/* Number of runs so far. */
__u32 runs;

/* A bijection, whose results look random. */
static __always_inline __u32 scattered(__u32 number)
{
	number = (number ^ number >> 16) * 0x7feb352du;
	number = (number ^ number >> 15) * 0x846ca68bu;
	return number ^ number >> 16;
}

/* Behind the UDP header of the test packet: the number of sources, a power of two. */
SEC("xdp.frags")
int run_sources(struct xdp_md *ctx)
{
	struct iphdr *ip = (void *)(long)ctx->data + sizeof(struct ethhdr);
	const __u32 *count = (const void *)(ip + 1) + sizeof(struct udphdr);

	if ((void *)(count + 1) > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	ip->saddr = bpf_htonl(0xc6000000 | (scattered(runs++ & (*count - 1)) & 0xffffff));
	bpf_tail_call(ctx, &subject, 0);
	return XDP_ABORTED;
}

SEC("xdp.frags")
int nothing(struct xdp_md *ctx)
{
	return XDP_PASS;
}

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Only for benchmarks: a flood of frames from random sources of a list, and the cheapest XDP program against it. The
 * sources lie in the policy map: line 0 is a struct flood, then 16 addresses per line in host byte order.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include "bulk.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define SOURCES_A_LINE (LINE_SIZE / 4)

struct flood {
	__u32 ifindex;		/* egress of the frames */
	__u32 first;		/* index of the first source in use */
	__u32 sources;
};

static __always_inline void set_source(struct iphdr *ip, __be32 source)
{
	/* RFC 1624: the checksum changes by the difference of the header. */
	__u32 sum = (__u16)~ip->check;

	sum += (__u16)~(ip->saddr & 0xffff) + (__u16)~(ip->saddr >> 16);
	sum += (source & 0xffff) + (source >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	ip->check = ~sum;
	ip->saddr = source;
}

/* Sends a live frame. */
SEC("xdp")
int generate(struct xdp_md *ctx)
{
	struct iphdr *ip = (void *)(long)ctx->data + sizeof(struct ethhdr);
	const struct flood *flood;
	const __u32 *sources;
	__u32 key = 0, pick;

	if ((void *)(ip + 1) > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	flood = bpf_map_lookup_elem(&policy, &key);
	if (!flood)
		return XDP_ABORTED;
	pick = flood->first + ((__u64)bpf_get_prandom_u32() * flood->sources >> 32);
	key = 1 + pick / SOURCES_A_LINE;
	sources = bpf_map_lookup_elem(&policy, &key);
	if (!sources)
		return XDP_ABORTED;
	set_source(ip, bpf_htonl(sources[pick % SOURCES_A_LINE]));
	return bpf_redirect(flood->ifindex, 0);
}

SEC("xdp")
int drop(struct xdp_md *ctx)
{
	return XDP_DROP;
}

/*
 * Whether the frame is IPv4. Every filter waits for the first cache line of the frame, which the sender's CPU wrote; a
 * program that reads nothing does not.
 */
static __always_inline int has_headers(const struct xdp_md *ctx)
{
	const struct ethhdr *ethernet = (void *)(long)ctx->data;
	const struct iphdr *ip = (const void *)(ethernet + 1);

	return (const void *)(ip + 1) <= (const void *)(long)ctx->data_end &&
	       ethernet->h_proto == bpf_htons(ETH_P_IP) && ip->saddr != 0;
}

/* The least that a filter by source does before it drops. */
SEC("xdp")
int headers_drop(struct xdp_md *ctx)
{
	return has_headers(ctx) ? XDP_DROP : XDP_ABORTED;
}

/* The least that a filter by source does before it passes. */
SEC("xdp")
int headers_pass(struct xdp_md *ctx)
{
	return has_headers(ctx) ? XDP_PASS : XDP_ABORTED;
}

SEC("xdp.frags")
int table_write(struct xdp_md *ctx)
{
	return bulk_write(ctx);
}

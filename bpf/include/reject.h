/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Answers to packets that no backend takes, under `on_empty: reject`: a TCP reset as from a host without a listener
 * (RFC 9293 §3.10.7.1), "port unreachable" for the rest (RFC 1122 §4.1.3.1). Sent back by XDP_TX at the rate of the
 * other errors; packets that must not be answered are dropped.
 */
#pragma once

#include <linux/tcp.h>
#include "icmp.h"

/* IEEE 802: the address of a group of stations, such as broadcast. */
#define MAC_GROUP 1

/* Whether a packet may be answered: one to this host alone, no fragment, no reset. */
static __always_inline int may_reject(const struct xdp_md *ctx, const struct flow *flow)
{
	const __u8 *frame = frame_at(ctx, 0);

	if (flow->fragment || flow->tcp_flags & TCP_RST || !has_single_source(flow))
		return 0;
	return (const void *)frame + ETH_HLEN <= frame_end(ctx) && !(*frame & MAC_GROUP);
}

/* Sequence number, acknowledgement number and flags of a reset, in the order of the header. */
struct reset {
	__be32 sequence;
	__be32 acknowledged;
	__be32 flags;
};

/* The reset for a segment of a connection that does not exist: RFC 9293 §3.10.7.1. */
static __always_inline struct reset reset_for(const struct flow *flow, const struct tcphdr *tcp)
{
	__u32 segment = flow->length - (flow->transport - flow->network), header = tcp->doff * 4;
	__u32 end = bpf_ntohl(tcp->seq) + (segment > header ? segment - header : 0) + tcp->syn + tcp->fin;
	struct reset reset = { .flags = bpf_htonl(5u << 28 | TCP_RST << 16) };

	if (tcp->ack) {
		reset.sequence = tcp->ack_seq;
	} else {
		reset.acknowledged = bpf_htonl(end);
		reset.flags |= bpf_htonl(TCP_ACK << 16);
	}
	return reset;
}

/* Writes the TCP header of a reset. `sum`: of the addresses. */
static __always_inline void write_reset(__be32 *tcp, const struct flow *flow, const struct reset *reset, __u64 sum)
{
	__be32 ports = bpf_htonl(flow->ports << 16 | flow->ports >> 16);
	__be16 *last = (void *)&tcp[4];

	/* The sum of these words, and not of the packet: clang would derive another pointer for it. */
	sum += (__u64)ports + reset->sequence + reset->acknowledged + reset->flags;
	sum += bpf_htons(TCP_HEADER) + bpf_htons(IPPROTO_TCP);
	tcp[0] = ports;
	tcp[1] = reset->sequence;
	tcp[2] = reset->acknowledged;
	tcp[3] = reset->flags;
	last[0] = ~fold(sum);
	last[1] = 0;
}

/*
 * Writes an IPv4 header with the addresses exchanged over the one there. `size`: of the TCP segment behind it. Returns the sum
 * of the addresses.
 */
static __always_inline __u64 write_ip4(struct iphdr *ip, __u32 size)
{
	__be16 *halves = (void *)ip;

	swap_words(&ip->saddr, &ip->daddr);
	halves[0] = bpf_htons(0x4500);
	halves[1] = bpf_htons(sizeof(*ip) + size);
	halves[2] = 0;
	halves[3] = bpf_htons(IP_DONT_FRAGMENT);
	halves[4] = bpf_htons(ANSWER_TTL << 8 | IPPROTO_TCP);
	halves[5] = 0;
	ip->check = ~fold(sum_words((void *)ip, sizeof(*ip) / 4));
	return (__u64)ip->saddr + ip->daddr;
}

static __always_inline __u64 write_ip6(struct ipv6hdr *ip, __u32 size)
{
	*(__be32 *)ip = bpf_htonl(6u << 28);
	ip->payload_len = bpf_htons(size);
	ip->nexthdr = IPPROTO_TCP;
	ip->hop_limit = ANSWER_TTL;
#pragma unroll
	for (int i = 0; i < 4; i++)
		swap_words(&ip->saddr.in6_u.u6_addr32[i], &ip->daddr.in6_u.u6_addr32[i]);
	return sum_words((void *)&ip->saddr, 8);
}

/*
 * Turns a segment into the reset that answers it, without options and extension headers. 1: sent; 0: not, and the packet
 * may be damaged. A global function, so that the caller has its stack for errors.
 */
__noinline int answer_reset(struct xdp_md *ctx, const struct flow *flow)
{
	__u32 size = sizeof(struct iphdr) + TCP_HEADER;
	const struct tcphdr *tcp;
	struct reset reset;
	void *data, *ip;

	if (!flow || !may_answer(flow))
		return 0;
	data = frame_at(ctx, 0);
	ip = frame_at(ctx, flow->network);
	tcp = frame_at(ctx, flow->transport);
	if ((const void *)(tcp + 1) > frame_end(ctx) || (const void *)data + ETH_HLEN > frame_end(ctx))
		return 0;
	reset = reset_for(flow, tcp);
	if (flow_is_ipv6(flow)) {
		size = sizeof(struct ipv6hdr) + TCP_HEADER;
		if ((const void *)ip + sizeof(struct ipv6hdr) + TCP_HEADER > frame_end(ctx))
			return 0;
		write_reset(ip + sizeof(struct ipv6hdr), flow, &reset, write_ip6(ip, TCP_HEADER));
	} else {
		if ((const void *)ip + sizeof(struct iphdr) + TCP_HEADER > frame_end(ctx))
			return 0;
		write_reset(ip + sizeof(struct iphdr), flow, &reset, write_ip4(ip, TCP_HEADER));
	}
	write_macs(data, exchanged(read_macs(data)));
	return !bpf_xdp_adjust_tail(ctx, (int)(flow->network + size - bpf_xdp_get_buff_len(ctx)));
}

/* Answers a packet that no backend takes. A global function, because few packets come here. */
__noinline __u32 reject(struct xdp_md *ctx, const struct flow *flow)
{
	__u16 kind = ICMP_KIND(ICMP_UNREACHABLE, ICMP_PORT_UNREACHABLE);

	if (!flow || !may_reject(ctx, flow))
		return REASON_NO_BACKEND;
	if (flow->protocol == IPPROTO_TCP)
		return answer_reset(ctx, flow) ? REASON_REJECTED : REASON_NO_BACKEND;
	if (flow_is_ipv6(flow))
		kind = ICMP_KIND(ICMPV6_UNREACHABLE, ICMPV6_PORT_UNREACHABLE);
	return answer_error(ctx, flow, kind, 0) ? REASON_REJECTED : REASON_NO_BACKEND;
}

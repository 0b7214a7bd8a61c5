/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* ICMP messages of the balancer itself: echo replies, and errors about packets that it cannot send on (RFC 792, 1191, 4443). */
#pragma once

#include "checksum.h"
#include "flow.h"
#include "link.h"
#include "pick.h"

/* linux/icmp.h needs a C library: RFC 792 and RFC 4443, which define one layout. */
#define ICMP_HEADER 8
#define ICMP_ECHOREPLY 0
#define ICMP_UNREACHABLE 3
#define ICMP_PORT_UNREACHABLE 3
#define ICMP_FRAGMENTATION_NEEDED 4
#define ICMP_ECHO 8
#define ICMP_TIME_EXCEEDED 11
#define ICMP_PARAMETER_PROBLEM 12
#define ICMPV6_UNREACHABLE 1
#define ICMPV6_PORT_UNREACHABLE 4
#define ICMPV6_TOO_BIG 2
#define ICMPV6_PARAMETER_PROBLEM 4
#define ICMPV6_ECHO_REQUEST 128
#define ICMPV6_ECHO_REPLY 129

/* RFC 792 */
static __always_inline int is_error4(__u8 type)
{
	return type == ICMP_UNREACHABLE || type == ICMP_TIME_EXCEEDED || type == ICMP_PARAMETER_PROBLEM;
}

/* RFC 4443 §2.1: destination unreachable, packet too big, time exceeded, parameter problem. */
static __always_inline int is_error6(__u8 type)
{
	return type >= ICMPV6_UNREACHABLE && type <= ICMPV6_PARAMETER_PROBLEM;
}

struct icmp_header {
	__u8 type;
	__u8 code;
	__be16 checksum;
	__be32 rest;		/* in "packet too big" the MTU; in "fragmentation needed" its lower half */
};

#define ANSWER_TTL 64
#define IP_DONT_FRAGMENT 0x4000
/* RFC 8200 §5: the MTU of every IPv6 link is at least this. */
#define IPV6_LEAST_MTU 1280
/* Not in linux/in.h: RFC 6890 (this network), RFC 1122 §3.2.1.3 (loopback), RFC 5771 (multicast and all above it). */
#define NET_THIS 0
#define NET_LOOPBACK 127
#define NET_MULTICAST 224
/* RFC 4291 §2.7 */
#define MULTICAST6 0xff
/* Bytes of a packet to quote, if available: an error then stays within 576 bytes (RFC 1812 §4.3.2.3). */
#define QUOTE 512

/* Bytes before the quoted packet. */
#define ERROR_HEADERS4 (sizeof(struct iphdr) + ICMP_HEADER)
#define ERROR_HEADERS6 (sizeof(struct ipv6hdr) + ICMP_HEADER)

static __always_inline int is_echo_request(const struct flow *flow)
{
	return flow->ports >> 24 == (flow_is_ipv6(flow) ? ICMPV6_ECHO_REQUEST : ICMP_ECHO);
}

static __always_inline void swap_words(__u32 *a, __u32 *b)
{
	__u32 word = *a;

	*a = *b;
	*b = word;
}

/* Whether the source address belongs to one host: nothing else is answered (RFC 1122 §3.2.2, RFC 4443 §2.4 (e.6)). */
static __always_inline int has_single_source(const struct flow *flow)
{
	__u8 net = flow->source_low >> 24;

	if (flow_is_ipv6(flow))
		return flow->source_high >> 56 != MULTICAST6 && (flow->source_high || flow->source_low > 1);
	return net != NET_THIS && net != NET_LOOPBACK && net < NET_MULTICAST;
}

/* Turns an echo request to a VIP into its reply, and sends it back. */
__noinline __u32 answer_echo(struct xdp_md *ctx, const struct flow *flow)
{
	void *data = frame_at(ctx, 0);
	struct iphdr *ip;
	struct ipv6hdr *ip6;
	__u16 *head, old, *ttl;

	if (!flow || !has_single_source(flow) || data + ETH_HLEN > (void *)frame_end(ctx))
		return NOT_OURS;
	head = frame_at(ctx, flow->transport);
	ip = frame_at(ctx, flow->network);
	ip6 = frame_at(ctx, flow->network);
	if ((const void *)head + ICMP_HEADER > frame_end(ctx))
		return NOT_OURS;
	if (flow_is_ipv6(flow)) {
		if ((const void *)(ip6 + 1) > frame_end(ctx))
			return NOT_OURS;
#pragma unroll
		for (int i = 0; i < 4; i++)
			swap_words(&ip6->saddr.in6_u.u6_addr32[i], &ip6->daddr.in6_u.u6_addr32[i]);
		ip6->hop_limit = ANSWER_TTL;
	} else {
		if ((const void *)(ip + 1) > frame_end(ctx))
			return NOT_OURS;
		swap_words(&ip->saddr, &ip->daddr);
		ttl = (void *)&ip->ttl;
		old = *ttl;
		ip->ttl = ANSWER_TTL;
		ip->check = adjusted(ip->check, replaced16(old, *ttl));
	}
	old = head[0];
	*(__u8 *)head = flow_is_ipv6(flow) ? ICMPV6_ECHO_REPLY : ICMP_ECHOREPLY;
	/* In IPv4 a reply may consist of zeros alone. */
	head[1] = adjusted_nonzero(head[1], replaced16(old, head[0]));
	write_macs(data, exchanged(read_macs(data)));
	return REASON_ECHO;
}

/* Whether a packet that does not fit must be reported to its sender. */
static __always_inline int may_not_fragment(const struct xdp_md *ctx, const struct flow *flow)
{
	const struct iphdr *ip = frame_at(ctx, flow->network);

	if (flow_is_ipv6(flow))
		return 1;
	return (const void *)(ip + 1) <= frame_end(ctx) && ip->frag_off & bpf_htons(IP_DONT_FRAGMENT);
}

/* Whether this CPU may send another error in this tick. */
static __always_inline int may_answer(const struct flow *flow)
{
	struct flow_budget *budget = open_budget(monotonic_now());

	if (!(flow->marks & FLOW_LIVE))
		return 1;
	if (!budget || budget->errors >= ERROR_LIMIT)
		return 0;
	budget->errors++;
	return 1;
}

/* Moves the Ethernet header with its tags, `size` bytes, from offset `shift` of the frame to its start. */
static __always_inline int move_link(struct xdp_md *ctx, __u32 size, __u32 shift)
{
	__u32 *to = frame_at(ctx, ETH_HLEN), *from = frame_at(ctx, shift + ETH_HLEN);
	void *start = frame_at(ctx, 0), *old = frame_at(ctx, shift);

	if ((const void *)from + VLAN_TAGS * VLAN_HEADER > frame_end(ctx))
		return -1;
	write_macs(start, exchanged(read_macs(old)));
	*(__be16 *)(start + ETH_HLEN - 2) = *(__be16 *)(old + ETH_HLEN - 2);
	if (size >= ETH_HLEN + VLAN_HEADER)
		to[0] = from[0];
	if (size >= ETH_HLEN + 2 * VLAN_HEADER)
		to[1] = from[1];
	return 0;
}

/* Type and code of an ICMP message. */
#define ICMP_KIND(type, code) ((type) << 8 | (code))

static __always_inline void write_error4(struct iphdr *ip, const struct iphdr *quoted, __u32 size, __u16 kind, __u32 rest)
{
	struct icmp_header *icmp = (void *)(ip + 1);
	__be16 *halves = (void *)ip;

	halves[0] = bpf_htons(0x4500);
	halves[1] = bpf_htons(ERROR_HEADERS4 + size);
	halves[2] = 0;
	halves[3] = bpf_htons(IP_DONT_FRAGMENT);
	halves[4] = bpf_htons(ANSWER_TTL << 8 | IPPROTO_ICMP);
	halves[5] = 0;
	ip->saddr = quoted->daddr;
	ip->daddr = quoted->saddr;
	ip->check = ~fold(sum_words((void *)ip, sizeof(*ip) / 4));
	icmp->type = kind >> 8;
	icmp->code = kind;
	icmp->checksum = 0;
	icmp->rest = bpf_htonl(rest);
}

/* Returns the sum of the pseudo header. */
static __always_inline __u64 write_error6(struct ipv6hdr *ip, const struct ipv6hdr *quoted, __u32 size, __u16 kind,
					  __u32 rest)
{
	struct icmp_header *icmp = (void *)(ip + 1);

	*(__be32 *)ip = bpf_htonl(6u << 28);
	ip->payload_len = bpf_htons(ICMP_HEADER + size);
	ip->nexthdr = IPPROTO_ICMPV6;
	ip->hop_limit = ANSWER_TTL;
#pragma unroll
	for (int i = 0; i < 4; i++) {
		ip->saddr.in6_u.u6_addr32[i] = quoted->daddr.in6_u.u6_addr32[i];
		ip->daddr.in6_u.u6_addr32[i] = quoted->saddr.in6_u.u6_addr32[i];
	}
	icmp->type = kind >> 8;
	icmp->code = kind;
	icmp->checksum = 0;
	icmp->rest = bpf_htonl(rest);
	return sum_words((void *)&ip->saddr, 8) + bpf_htons(ICMP_HEADER + size) + bpf_htons(IPPROTO_ICMPV6);
}

/* Writes the error in front of the quoted packet, which contains at least its headers. */
static __always_inline int write_error(struct xdp_md *ctx, const struct flow *flow, __u32 size, __u16 kind, __u32 rest)
{
	void *at = frame_at(ctx, flow->network);
	__u32 icmp = flow->network + sizeof(struct iphdr);
	struct icmp_header *header;
	__u64 sum = 0;

	if (flow_is_ipv6(flow)) {
		if ((const void *)at + ERROR_HEADERS6 + sizeof(struct ipv6hdr) > frame_end(ctx))
			return -1;
		sum = write_error6(at, at + ERROR_HEADERS6, size, kind, rest);
		icmp = flow->network + sizeof(struct ipv6hdr);
	} else {
		if ((const void *)at + ERROR_HEADERS4 + sizeof(struct iphdr) > frame_end(ctx))
			return -1;
		write_error4(at, at + ERROR_HEADERS4, size, kind, rest);
	}
	sum += sum_range(ctx, icmp, ICMP_HEADER + size);
	header = frame_at(ctx, icmp);
	if ((const void *)(header + 1) > frame_end(ctx))
		return -1;
	header->checksum = ~fold(sum);
	return 0;
}

/* Number of bytes to quote: QUOTE, or enough to identify the flow. RFC 792: the IP header and eight bytes. */
static __always_inline __u32 quote_size(const struct xdp_md *ctx, const struct flow *flow)
{
	if (flow->length >= QUOTE && (const void *)frame_at(ctx, flow->network) + QUOTE <= frame_end(ctx))
		return QUOTE;
	return flow->transport - flow->network + TRANSPORT_HEADER;
}

/*
 * Turns a packet into an error about it to its sender, with the packet's destination as the source. 1: sent; 0: not, and
 * the packet may be damaged. At most ERROR_LIMIT times per tick.
 */
__noinline int answer_error(struct xdp_md *ctx, const struct flow *flow, __u16 kind, __u32 rest)
{
	__u32 headers, size, whole;

	if (!flow || !may_answer(flow))
		return 0;
	headers = flow_is_ipv6(flow) ? ERROR_HEADERS6 : ERROR_HEADERS4;
	size = quote_size(ctx, flow);
	if ((const void *)frame_at(ctx, flow->network + size) > frame_end(ctx) || bpf_xdp_adjust_head(ctx, -(int)headers))
		return 0;
	whole = flow->network + headers + size;
	return !move_link(ctx, flow->network, headers) && !write_error(ctx, flow, size, kind, rest) &&
	       !bpf_xdp_adjust_tail(ctx, (int)(whole - bpf_xdp_get_buff_len(ctx)));
}

/*
 * Reports the MTU to the sender of a packet, whether or not the packet may be fragmented: XDP cannot do it, and the sender
 * can (see docs/adr/0062). Never about ICMP and later fragments (RFC 1122 §3.2.2).
 */
static __always_inline __u32 answer_too_big(struct xdp_md *ctx, const struct flow *flow, __u32 mtu)
{
	__u16 kind = ICMP_KIND(ICMP_UNREACHABLE, ICMP_FRAGMENTATION_NEEDED);

	if (flow_is_ipv6(flow)) {
		kind = ICMP_KIND(ICMPV6_TOO_BIG, 0);
		if (mtu < IPV6_LEAST_MTU)
			mtu = IPV6_LEAST_MTU;
	}
	if (flow->kind == TRANSPORT_ICMP || is_later_fragment(flow) || flow->length <= mtu || !has_single_source(flow) ||
	    !answer_error(ctx, flow, kind, mtu))
		return REASON_OVERSIZE;
	return REASON_TOO_BIG;
}

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * ICMP errors about flows of the balancer (RFC 792, 4443). Each quotes the packet that caused it, and 8 bytes of its
 * transport header are enough to identify the flow. An error about a packet from a VIP goes to the flow's backend; one
 * about a packet that NAT sent to a backend goes to the client. NAT translates both packets, the quoted one in the
 * opposite direction (RFC 5508 §4).
 */
#pragma once

#include "encap.h"
#include "endpoint.h"
#include "extensions.h"
#include "nat.h"
#include "pick.h"
#include "snat.h"

/* Reads the quoted packet's ports at the transport offset in `quoted`, which describes the flow in the other direction.
 */
static __always_inline int read_quoted_ports(const struct xdp_md *ctx, struct flow *quoted)
{
	const __be32 *head = frame_at(ctx, quoted->transport);
	__u32 ports;

	if (quoted->protocol != IPPROTO_TCP && quoted->protocol != IPPROTO_UDP)
		return -1;
	if ((const void *)head + TRANSPORT_HEADER > frame_end(ctx))
		return -1;
	ports = bpf_ntohl(*head);
	quoted->ports = ports << 16 | ports >> 16;
	quoted->kind = TRANSPORT_PORTS;
	return 0;
}

static __always_inline int read_quoted4(const struct xdp_md *ctx, struct flow *quoted)
{
	const struct iphdr *ip = frame_at(ctx, quoted->network);

	if ((const void *)(ip + 1) > frame_end(ctx) || ip->version != 4 || ip->ihl < 5 ||
	    ip->frag_off & bpf_htons(FRAGMENT_OFFSET))
		return -1;
	quoted->source_low = IPV4_IN_IPV6 | bpf_ntohl(ip->daddr);
	quoted->destination_low = IPV4_IN_IPV6 | bpf_ntohl(ip->saddr);
	quoted->protocol = ip->protocol;
	quoted->transport = quoted->network + ip->ihl * 4;
	return read_quoted_ports(ctx, quoted);
}

static __always_inline int read_quoted6(struct xdp_md *ctx, struct flow *quoted)
{
	struct chain chain = { .offset = quoted->network + sizeof(struct ipv6hdr), .left = ~0u };
	const struct ipv6hdr *ip = frame_at(ctx, quoted->network);
	const __be32 *source = ip->saddr.in6_u.u6_addr32, *destination = ip->daddr.in6_u.u6_addr32;

	if ((const void *)(ip + 1) > frame_end(ctx) || ip->version != 6)
		return -1;
	quoted->source_high = half_of(destination);
	quoted->source_low = half_of(destination + 2);
	quoted->destination_high = half_of(source);
	quoted->destination_low = half_of(source + 2);
	chain.next = ip->nexthdr;
	if (is_extension(chain.next) && walk_extensions(ctx, &chain) != PARSED)
		return -1;
	if (chain.fragment & FRAGMENT_OFFSET)
		return -1;
	quoted->protocol = chain.next;
	quoted->transport = chain.offset;
	return read_quoted_ports(ctx, quoted);
}

/* Reads the packet that an error quotes, as a packet of the flow in the other direction. */
__noinline int read_quoted(struct xdp_md *ctx, const struct flow *flow, struct flow *quoted)
{
	__u8 type;

	if (!flow || !quoted || flow->kind != TRANSPORT_ICMP || flow->fragment)
		return -1;
	type = flow->ports >> 24;
	if (!(flow_is_ipv6(flow) ? is_error6(type) : is_error4(type)))
		return -1;
	__builtin_memset(quoted, 0, sizeof(*quoted));
	quoted->marks = (flow->marks & (FLOW_IPV6 | FLOW_LIVE)) | FLOW_ERROR;
	quoted->device = flow->device;
	quoted->network = flow->transport + ICMP_HEADER;
	quoted->service = NO_SLOT;
	quoted->backend = NO_SLOT;
	quoted->binding = NO_BINDING;
	if (flow_is_ipv6(flow) ? read_quoted6(ctx, quoted) : read_quoted4(ctx, quoted))
		return -1;
	/* All of it must lie in the datagram, not in the padding of the frame. */
	return quoted->transport + TRANSPORT_HEADER <= flow->network + flow->length ? 0 : -1;
}

/* Writes addresses and ports of the quoted packet. Returns the growth of the sum of its bytes. */
__noinline __u64 translate_quoted(struct xdp_md *ctx, const struct flow *flow, const struct flow *quoted,
				  const struct tuple *to)
{
	const void *end;
	struct iphdr *ip;
	struct ipv6hdr *ip6;
	__be16 *ports;
	struct tcphdr *tcp;
	struct udphdr *udp;
	__u64 header, growth;
	__u16 old;

	if (!flow || !quoted || !to)
		return 0;
	end = frame_at(ctx, flow->network + flow->length);
	ip = frame_at(ctx, quoted->network);
	ip6 = (void *)ip;
	ports = frame_at(ctx, quoted->transport);
	tcp = (void *)ports;
	udp = (void *)ports;
	if (flow_is_ipv6(flow)) {
		if ((const void *)(ip6 + 1) > frame_end(ctx))
			return 0;
		header = translate_header6(ip6, to);
		growth = header;
	} else {
		if ((const void *)(ip + 1) > frame_end(ctx))
			return 0;
		old = ip->check;
		header = translate_header4(ip, to);
		growth = header + replaced16(old, ip->check);
	}
	if ((const void *)(udp + 1) > frame_end(ctx))
		return growth;
	header += replaced16(ports[0], to->source_port) + replaced16(ports[1], to->destination_port);
	growth += replaced16(ports[0], to->source_port) + replaced16(ports[1], to->destination_port);
	ports[0] = to->source_port;
	ports[1] = to->destination_port;
	if (quoted->protocol == IPPROTO_UDP) {
		if (!udp->check)
			return growth;
		old = udp->check;
		udp->check = adjusted_nonzero(old, header);
		return growth + replaced16(old, udp->check);
	}
	if ((const void *)&tcp->check + 2 > frame_end(ctx) || (const void *)&tcp->check + 2 > end)
		return growth;
	old = tcp->check;
	tcp->check = adjusted(old, header);
	return growth + replaced16(old, tcp->check);
}

/* Writes the error's own addresses; the sum of the quoted packet grew by `growth`. ICMPv6 covers the addresses too. */
__noinline int finish_error(struct xdp_md *ctx, const struct flow *flow, const struct tuple *to, __u64 growth)
{
	__u64 addresses;
	__u16 *check;

	if (!flow || !to)
		return 0;
	addresses = translate_header(ctx, flow, to);
	if (flow_is_ipv6(flow))
		growth += addresses;
	check = frame_at(ctx, flow->transport + 2);
	if ((const void *)(check + 1) <= frame_end(ctx))
		*check = adjusted(*check, growth);
	return 0;
}

/* The tuple of the quoted packet as it was sent, the opposite direction of `quoted`. */
static __always_inline void keep_quoted(struct tuple *tuple, const struct flow *quoted)
{
	const struct flow sent = {
		.source_high = quoted->destination_high,
		.source_low = quoted->destination_low,
		.destination_high = quoted->source_high,
		.destination_low = quoted->source_low,
		.ports = quoted->ports << 16 | quoted->ports >> 16,
	};

	keep_tuple(tuple, &sent);
}

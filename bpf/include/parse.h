/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The packet parser: one cursor over the linear part of the frame, from Ethernet to the first bytes of the transport
 * header. It describes the packet and never decides on it.
 */
#pragma once

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/* IEEE 802.1Q and 802.1ad allow one tag each; a third one is private stacking. */
#define VLAN_TAGS 2
/* RFC 8200 §4.1 names seven headers in its recommended order, ESP among them, which hides what follows it. */
#define IPV6_EXTENSIONS 8
/* The verifier's bound of the linear part's length: far above any page and any driver's buffer. */
#define LINEAR_LIMIT 0x7fff
/* Not an IP protocol number: the transport protocol is unknown. */
#define PROTOCOL_UNKNOWN 0x100

/* RFC 791 §3.1; for an IPv6 packet this only stores whether they are zero. Any offset: no transport header. */
#define FRAGMENT_OFFSET 0x1fff
#define FRAGMENT_MORE 0x2000
/* RFC 8200 §4.5 */
#define IPV6_OFFSET 0xfff8
#define IPV6_MORE_FRAGMENTS 1

/* RFC 768, 792, 4443, 9293: minimum of bytes for a meaningful header. A first fragment may end after 8. */
#define TRANSPORT_HEADER 8
#define TCP_HEADER 20

enum parsed {
	PARSED,
	PARSED_SHORT,		/* a header lies beyond the linear part */
	PARSED_IMPOSSIBLE,	/* a header contradicts itself or the length of the datagram */
	PARSED_TOO_DEEP,	/* more tags or extension headers than we follow */
};

enum transport {
	TRANSPORT_NONE,		/* another protocol, a later fragment, or beyond the linear part */
	TRANSPORT_PORTS,	/* TCP or UDP: head holds the ports */
	TRANSPORT_ICMP,		/* ICMP in IPv4, ICMPv6 in IPv6: head holds type and code */
};

struct cursor {
	void *pos;
	void *end;		/* of the linear part */
	__u32 left;		/* bytes of the IP datagram from pos on, according to its header */
};

/* Addresses are in host order. */
struct packet {
	__be16 ethertype;	/* after the VLAN tags */
	__u16 protocol;		/* IP protocol number or PROTOCOL_UNKNOWN */
	__u16 fragment;		/* FRAGMENT_OFFSET | FRAGMENT_MORE; 0: a whole datagram */
	__u8 transport;		/* enum transport */
	__u64 not_loopback;	/* 0: source and destination are both loopback addresses */
	__u32 head;		/* first 4 bytes of the transport header as one big-endian number */
	__u32 source4;
	__u64 source6_high;
	__u64 source6_low;
};

struct vlan_tag {
	__be16 control;
	__be16 ethertype;
};

/* Common start of all IPv6 extension headers. */
struct extension {
	__u8 next;
	__u8 length;		/* beyond the first 8 bytes in 8-byte units; AH: beyond the first 8 in 4-byte units */
	__be16 fragment;	/* fragment header only: offset, reserved, more fragments */
	__be32 rest;
};

/* Position of a walk along extension headers. */
struct chain {
	__u32 offset;		/* of the header, from the start of the frame */
	__u32 left;		/* as in struct cursor */
	__u16 next;		/* IP protocol number of the header */
	__u16 fragment;		/* as in struct packet */
};

/*
 * The start of the frame, and the end of its linear part. The context stores them in 32 bits; the empty asm keeps clang
 * from moving them as 32-bit values, which the verifier does not allow for pointers.
 */
static __always_inline void *frame_start(const struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;

	asm("" : "+r"(data));
	return data;
}

static __always_inline const void *frame_end(const struct xdp_md *ctx)
{
	const void *end = (void *)(long)ctx->data_end;

	asm("" : "+r"(end));
	return end;
}

static __always_inline __u32 offset_in(const struct xdp_md *ctx, const void *pos)
{
	return pos - frame_start(ctx);
}

static __always_inline __u16 source_port(const struct packet *packet)
{
	return packet->head >> 16;
}

static __always_inline __u16 destination_port(const struct packet *packet)
{
	return packet->head;
}

static __always_inline __u8 icmp_type(const struct packet *packet)
{
	return packet->head >> 24;
}

static __always_inline int is_ipv4(const struct packet *packet)
{
	return packet->ethertype == bpf_htons(ETH_P_IP);
}

static __always_inline int is_ipv6(const struct packet *packet)
{
	return packet->ethertype == bpf_htons(ETH_P_IPV6);
}

static __always_inline int is_loopback(const struct packet *packet)
{
	return packet->not_loopback == 0;
}

static __always_inline int is_vlan(__be16 ethertype)
{
	return ethertype == bpf_htons(ETH_P_8021Q) || ethertype == bpf_htons(ETH_P_8021AD);
}

/* Steps over Ethernet and its VLAN tags. */
static __always_inline enum parsed parse_ethernet(struct cursor *cursor, struct packet *packet)
{
	struct ethhdr *ethernet = cursor->pos;

	if ((void *)(ethernet + 1) > cursor->end)
		return PARSED_SHORT;
	cursor->pos = ethernet + 1;
	packet->ethertype = ethernet->h_proto;

#pragma unroll
	for (int i = 0; i < VLAN_TAGS; i++) {
		struct vlan_tag *tag = cursor->pos;

		if (!is_vlan(packet->ethertype))
			return PARSED;
		if ((void *)(tag + 1) > cursor->end)
			return PARSED_SHORT;
		cursor->pos = tag + 1;
		packet->ethertype = tag->ethertype;
	}
	return is_vlan(packet->ethertype) ? PARSED_TOO_DEEP : PARSED;
}

/* Steps over an IPv4 header and its options. */
static __always_inline enum parsed parse_ipv4(struct cursor *cursor, struct packet *packet)
{
	struct iphdr *ip = cursor->pos;
	__u32 header, total;

	if ((void *)(ip + 1) > cursor->end)
		return PARSED_SHORT;
	header = ip->ihl * 4;
	total = bpf_ntohs(ip->tot_len);
	if (ip->version != 4 || header < sizeof(*ip) || total < header)
		return PARSED_IMPOSSIBLE;
	cursor->pos += header;
	if (cursor->pos > cursor->end)
		return PARSED_SHORT;
	cursor->left = total - header;

	packet->protocol = ip->protocol;
	packet->source4 = bpf_ntohl(ip->saddr);
	packet->not_loopback = ((packet->source4 ^ INADDR_LOOPBACK) | (bpf_ntohl(ip->daddr) ^ INADDR_LOOPBACK)) >> 24;
	packet->fragment = bpf_ntohs(ip->frag_off) & (FRAGMENT_OFFSET | FRAGMENT_MORE);
	return PARSED;
}

/* Steps over the fixed IPv6 header. protocol is then the first next header. */
static __always_inline enum parsed parse_ipv6(struct cursor *cursor, struct packet *packet)
{
	struct ipv6hdr *ip = cursor->pos;
	const __be32 *source, *destination;

	if ((void *)(ip + 1) > cursor->end)
		return PARSED_SHORT;
	if (ip->version != 6)
		return PARSED_IMPOSSIBLE;
	cursor->pos = ip + 1;
	cursor->left = bpf_ntohs(ip->payload_len);
	packet->protocol = ip->nexthdr;
	/* RFC 2675: the length of a jumbogram is in a hop-by-hop option; the frame bounds it anyway. */
	if (cursor->left == 0 && ip->nexthdr == IPPROTO_HOPOPTS)
		cursor->left = ~0u;

	source = ip->saddr.in6_u.u6_addr32;
	destination = ip->daddr.in6_u.u6_addr32;
	packet->source6_high = (__u64)bpf_ntohl(source[0]) << 32 | bpf_ntohl(source[1]);
	packet->source6_low = (__u64)bpf_ntohl(source[2]) << 32 | bpf_ntohl(source[3]);
	packet->not_loopback = packet->source6_high | (packet->source6_low ^ 1) | destination[0] | destination[1] |
			       destination[2] | (destination[3] ^ bpf_htonl(1));
	return PARSED;
}

static __always_inline int is_extension(__u16 protocol)
{
	return protocol == IPPROTO_HOPOPTS || protocol == IPPROTO_ROUTING || protocol == IPPROTO_FRAGMENT ||
	       protocol == IPPROTO_DSTOPTS || protocol == IPPROTO_AH;
}

/*
 * Walks extension headers to the upper-layer protocol, or to the end of the headers in a later fragment. Any result
 * except PARSED leaves the protocol unknown.
 *
 * A global function, because the verifier checks those once and separately, from an unknown offset; inlined, every
 * possible length of a header would be a separate state.
 */
__noinline int walk_extensions(struct xdp_md *ctx, struct chain *chain)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	__u32 linear = ctx->data_end - ctx->data;

	if (!chain)
		return PARSED_IMPOSSIBLE;
	for (int i = 0; i < IPV6_EXTENSIONS; i++) {
		struct extension *header;
		__u32 size = 8;

		if (!is_extension(chain->next))
			return PARSED;
		if (chain->left < sizeof(*header))
			return PARSED_IMPOSSIBLE;
		if (chain->offset > LINEAR_LIMIT)
			return PARSED_SHORT;
		header = data + chain->offset;
		if ((void *)(header + 1) > end)
			return PARSED_SHORT;
		if (chain->next == IPPROTO_AH)
			size += header->length * 4;
		else if (chain->next != IPPROTO_FRAGMENT)
			size += header->length * 8;
		if (chain->left < size)
			return PARSED_IMPOSSIBLE;
		if (chain->offset + size > linear)
			return PARSED_SHORT;

		if (chain->next == IPPROTO_FRAGMENT && header->fragment & bpf_htons(IPV6_MORE_FRAGMENTS))
			chain->fragment = FRAGMENT_MORE;
		if (chain->next == IPPROTO_FRAGMENT && header->fragment & bpf_htons(IPV6_OFFSET)) {
			chain->fragment = FRAGMENT_OFFSET;
			chain->next = header->next;
			return PARSED;
		}
		chain->offset += size;
		chain->left -= size;
		chain->next = header->next;
	}
	return is_extension(chain->next) ? PARSED_TOO_DEEP : PARSED;
}

/* Skips IPv6 extension headers and stores the upper-layer protocol in packet->protocol, if it is known. */
static __always_inline enum parsed parse_extensions(struct xdp_md *ctx, struct cursor *cursor, struct packet *packet)
{
	void *data = (void *)(long)ctx->data;
	struct chain chain = { .offset = cursor->pos - data, .left = cursor->left, .next = packet->protocol };
	enum parsed parsed;

	if (!is_extension(chain.next))
		return PARSED;
	parsed = walk_extensions(ctx, &chain);
	packet->fragment = chain.fragment;
	packet->protocol = parsed != PARSED || is_extension(chain.next) ? PROTOCOL_UNKNOWN : chain.next;
	if (chain.offset > LINEAR_LIMIT)
		return PARSED_SHORT;
	cursor->pos = data + chain.offset;
	cursor->left = chain.left;
	return parsed;
}

/* Reads the ports or the ICMP type; `icmp` is the family's protocol number. Also PARSED if there is nothing to read. */
static __always_inline enum parsed parse_transport(struct cursor *cursor, struct packet *packet, __u16 icmp)
{
	__u32 need = TRANSPORT_HEADER;
	enum transport kind;

	if (packet->fragment & FRAGMENT_OFFSET)
		return PARSED;
	if (packet->protocol == IPPROTO_TCP || packet->protocol == IPPROTO_UDP)
		kind = TRANSPORT_PORTS;
	else if (packet->protocol == icmp)
		kind = TRANSPORT_ICMP;
	else
		return PARSED;

	if (packet->protocol == IPPROTO_TCP && packet->fragment == 0)
		need = TCP_HEADER;
	if (cursor->left < need)
		return PARSED_IMPOSSIBLE;
	if (cursor->pos + TRANSPORT_HEADER > cursor->end || cursor->pos + need > cursor->end)
		return PARSED_SHORT;
	packet->head = bpf_ntohl(*(__be32 *)cursor->pos);
	packet->transport = kind;
	return PARSED;
}

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The packet parser: it describes the packet and never decides on it. One cursor over the linear part of the frame, from
 * Ethernet to the first bytes of the transport header. parse_apart.h is for frames that it does not read.
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

/* Tags of the fast path and of the balancer: IEEE 802.1Q and 802.1ad allow one each. */
#define VLAN_TAGS 2
/* The bits of a tag with the number of the VLAN; 0: none, only a priority. */
#define VLAN_NUMBER 0x0fff
/* Ethertypes of service tags before 802.1ad, in use by switches. The kernel knows them as no tags. */
#define ETH_P_QINQ_9100 0x9100
#define ETH_P_QINQ_9200 0x9200
#define ETH_P_QINQ_9300 0x9300
/* The verifier's bound of the linear part's length: far above any page and any driver's buffer. */
#define LINEAR_LIMIT 0x7fff
/* The largest datagram whose length fits into an IP header. */
#define IP_LENGTH_LIMIT 0xffff
/* Not an IP protocol number: the transport protocol is unknown. */
#define PROTOCOL_UNKNOWN 0x100

/*
 * RFC 791 §3.1, in units of 8 bytes; those of IPv6 are equal (RFC 8200 §4.5), but FRAGMENT_MORE is of first fragments only.
 * Any offset: no transport header.
 */
#define FRAGMENT_OFFSET 0x1fff
#define FRAGMENT_MORE 0x2000
/* RFC 768, 792, 4443, 9293: minimum of bytes for a meaningful header. A first fragment may end after 8. */
#define TRANSPORT_HEADER 8
#define TCP_HEADER 20
/* RFC 9293 §3.1: the byte of the flags in a TCP header. */
#define TCP_FLAGS 13

enum parsed {
	PARSED,
	PARSED_NOT_IP,		/* another ethertype */
	PARSED_SHORT,		/* a header lies beyond the linear part; from parse_apart, beyond the frame */
	PARSED_IMPOSSIBLE,	/* a header contradicts itself or the length of the datagram */
	PARSED_TAGGED,		/* more tags, or other ones, than the fast path follows */
	PARSED_TOO_DEEP,	/* more tags or extension headers than we follow */
};

enum transport {
	TRANSPORT_NONE,		/* another protocol, a later fragment, or not there */
	TRANSPORT_PORTS,	/* TCP or UDP: head holds the ports */
	TRANSPORT_ICMP,		/* ICMP in IPv4, ICMPv6 in IPv6: head holds type and code */
};

struct cursor {
	void *pos;
	void *end;		/* of the linear part */
	__u32 left;		/* bytes of the IP datagram from pos on, according to its header */
};

/* Addresses are in host order, offsets from the start of the frame. */
struct packet {
	__be16 ethertype;	/* after the VLAN tags */
	__u16 protocol;		/* IP protocol number or PROTOCOL_UNKNOWN */
	__u16 fragment;		/* FRAGMENT_OFFSET | FRAGMENT_MORE; 0: a whole datagram */
	__u8 transport;		/* enum transport */
	__u8 stacked;		/* 1: tags that the balancer does not handle */
	__u64 not_loopback;	/* 0: source and destination are both loopback addresses */
	__u32 head;		/* first 4 bytes of the transport header as one big-endian number */
	__u32 source4;
	__u64 source6_high;
	__u64 source6_low;
	__u16 network;		/* offset of the IP header */
	__u16 behind;		/* offset of the transport header */
	__u32 addressed;	/* 1: the addresses are known */
};

struct vlan_tag {
	__be16 control;
	__be16 ethertype;
};

/* Position of a walk along headers that are copied one by one. */
struct chain {
	__u32 offset;		/* of the header, from the start of the frame */
	__u32 left;		/* as in struct cursor */
	__u16 next;		/* IP protocol number of the header */
	__u16 fragment;		/* as in struct packet */
	__be32 identification;	/* of a fragment (RFC 8200 §4.5) */
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

/* Whether a tag follows that the kernel removes. */
static __always_inline int is_vlan(__be16 ethertype)
{
	return ethertype == bpf_htons(ETH_P_8021Q) || ethertype == bpf_htons(ETH_P_8021AD);
}

/* Whether a tag of any kind follows. */
static __always_inline int is_tag(__be16 ethertype)
{
	return is_vlan(ethertype) || ethertype == bpf_htons(ETH_P_QINQ_9100) ||
	       ethertype == bpf_htons(ETH_P_QINQ_9200) || ethertype == bpf_htons(ETH_P_QINQ_9300);
}

/*
 * The source in a fixed IPv4 header, which is all that most listed sources take. `size`: bytes of the frame from the
 * header on, or 0 if not known yet. Stores the bytes of the datagram behind the header with its options, and returns the
 * size of both; 0: impossible.
 *
 * A receiver merges segments into a datagram whose length does not fit into the header and is 0 there (Big TCP); the
 * kernel takes the frame's (iph_totlen in linux/ip.h).
 */
static __always_inline __u32 read_ipv4(const struct iphdr *ip, __u32 size, struct packet *packet, __u32 *left)
{
	__u32 header = ip->ihl * 4, total = bpf_ntohs(ip->tot_len);

	if (total == 0 && size > IP_LENGTH_LIMIT)
		total = size;
	if (ip->version != 4 || header < sizeof(*ip) || total < header)
		return 0;
	*left = total - header;
	packet->source4 = bpf_ntohl(ip->saddr);
	return header;
}

/* The other facts of the header. */
static __always_inline void read_ipv4_rest(const struct iphdr *ip, struct packet *packet)
{
	packet->protocol = ip->protocol;
	packet->not_loopback = ((packet->source4 ^ INADDR_LOOPBACK) | (bpf_ntohl(ip->daddr) ^ INADDR_LOOPBACK)) >> 24;
	packet->fragment = bpf_ntohs(ip->frag_off) & (FRAGMENT_OFFSET | FRAGMENT_MORE);
}

/* As read_ipv4. */
static __always_inline __u32 read_ipv6(const struct ipv6hdr *ip, __u32 size, struct packet *packet, __u32 *left)
{
	const __be32 *source = ip->saddr.in6_u.u6_addr32;

	if (ip->version != 6)
		return 0;
	*left = bpf_ntohs(ip->payload_len);
	/* RFC 2675: the length of a jumbogram is in a hop-by-hop option; the frame bounds it anyway. */
	if (*left == 0 && ip->nexthdr == IPPROTO_HOPOPTS)
		*left = ~0u;
	else if (*left == 0 && size > IP_LENGTH_LIMIT)
		*left = size - sizeof(*ip);
	packet->source6_high = (__u64)bpf_ntohl(source[0]) << 32 | bpf_ntohl(source[1]);
	packet->source6_low = (__u64)bpf_ntohl(source[2]) << 32 | bpf_ntohl(source[3]);
	return sizeof(*ip);
}

/* The other facts of the header. packet->protocol is then the first next header. */
static __always_inline void read_ipv6_rest(const struct ipv6hdr *ip, struct packet *packet)
{
	const __be32 *destination = ip->daddr.in6_u.u6_addr32;

	packet->protocol = ip->nexthdr;
	packet->not_loopback = packet->source6_high | (packet->source6_low ^ 1) | destination[0] | destination[1] |
			       destination[2] | (destination[3] ^ bpf_htonl(1));
}

/* Bytes of the transport header that must exist; 0: nothing to read. `icmp`: the family's protocol number. */
static __always_inline __u32 transport_size(const struct packet *packet, __u16 icmp)
{
	if (packet->fragment & FRAGMENT_OFFSET)
		return 0;
	if (packet->protocol == IPPROTO_TCP)
		return packet->fragment ? TRANSPORT_HEADER : TCP_HEADER;
	return packet->protocol == IPPROTO_UDP || packet->protocol == icmp ? TRANSPORT_HEADER : 0;
}

/* Stores the ports, or the type and code of ICMP. */
static __always_inline void read_transport(__be32 head, struct packet *packet, __u16 icmp)
{
	packet->head = bpf_ntohl(head);
	packet->transport = packet->protocol == icmp ? TRANSPORT_ICMP : TRANSPORT_PORTS;
}

/* Steps over Ethernet and its tags to the network header. The first header of every frame: here the parser starts. */
static __always_inline enum parsed parse_link(struct cursor *cursor, struct packet *packet)
{
	/* struct ethhdr is packed: clang would read its field byte by byte. */
	const __be16 *type = cursor->pos + ETH_HLEN;

	if ((const void *)type > cursor->end)
		return PARSED_SHORT;
	cursor->pos += ETH_HLEN;
	packet->ethertype = type[-1];

#pragma unroll
	for (int i = 0; i < VLAN_TAGS; i++) {
		struct vlan_tag *tag = cursor->pos;

		if (!is_vlan(packet->ethertype))
			break;
		if ((void *)(tag + 1) > cursor->end)
			return PARSED_SHORT;
		cursor->pos = tag + 1;
		packet->ethertype = tag->ethertype;
	}
	return PARSED;
}

/* The ethertype that an Ethernet header would have before an IP packet, by its version; 0: neither IPv4 nor IPv6. */
static __always_inline __be16 ethertype_of_version(__u8 first)
{
	if (first >> 4 == 4)
		return bpf_htons(ETH_P_IP);
	return first >> 4 == 6 ? bpf_htons(ETH_P_IPV6) : 0;
}

/*
 * Whether the first bytes of a packet without an Ethernet header may be a tag that the kernel removes. The header of the
 * tunnel says so, and this program does not see that one: the protocol of GRE, or the word before each packet of a tun
 * device. The VLAN is 0, because no VLAN device can be on top of such an interface. No IPv4 header begins like this; of IPv6
 * those whose flow label equals an ethertype do.
 */
static __always_inline int may_be_bare_tag(const struct vlan_tag *tag)
{
	return !(tag->control & bpf_htons(VLAN_NUMBER)) &&
	       (is_vlan(tag->ethertype) || tag->ethertype == bpf_htons(ETH_P_IP) ||
		tag->ethertype == bpf_htons(ETH_P_IPV6));
}

/*
 * Begins at the IP header, on devices whose packets have no Ethernet header. Such a packet is IP, or behind tags, or
 * nothing that this parser could judge.
 */
static __always_inline enum parsed parse_bare(const struct cursor *cursor, struct packet *packet)
{
	const struct vlan_tag *tag = cursor->pos;

	if ((const void *)(tag + 1) > cursor->end)
		return PARSED_SHORT;
	if (may_be_bare_tag(tag))
		return PARSED_TAGGED;
	packet->ethertype = ethertype_of_version(*(const __u8 *)cursor->pos);
	return packet->ethertype ? PARSED : PARSED_IMPOSSIBLE;
}

/* Steps over an IPv4 header and its options. */
static __always_inline enum parsed parse_ipv4(struct cursor *cursor, struct packet *packet)
{
	const struct iphdr *ip = cursor->pos;
	__u32 header;

	if ((void *)(ip + 1) > cursor->end)
		return PARSED_SHORT;
	header = read_ipv4(ip, 0, packet, &cursor->left);
	if (!header)
		return PARSED_IMPOSSIBLE;
	cursor->pos += header;
	return cursor->pos > cursor->end ? PARSED_SHORT : PARSED;
}

/* Steps over the fixed IPv6 header. */
static __always_inline enum parsed parse_ipv6(struct cursor *cursor, struct packet *packet)
{
	const struct ipv6hdr *ip = cursor->pos;

	if ((void *)(ip + 1) > cursor->end)
		return PARSED_SHORT;
	cursor->pos += sizeof(*ip);
	return read_ipv6(ip, 0, packet, &cursor->left) ? PARSED : PARSED_IMPOSSIBLE;
}

/* Reads the transport header, if there is one to read. */
static __always_inline enum parsed parse_transport(struct cursor *cursor, struct packet *packet, __u16 icmp)
{
	__u32 size = transport_size(packet, icmp);

	if (!size)
		return PARSED;
	if (cursor->left < size)
		return PARSED_IMPOSSIBLE;
	if (cursor->pos + TRANSPORT_HEADER > cursor->end || cursor->pos + size > cursor->end)
		return PARSED_SHORT;
	read_transport(*(__be32 *)cursor->pos, packet, icmp);
	return PARSED;
}

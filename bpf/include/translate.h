/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Network address translation of one packet: writes the addresses and ports of a tuple, and updates its checksums by
 * the difference (RFC 1624). A UDP checksum of zero stays zero.
 */
#pragma once

#include <linux/tcp.h>
#include <linux/udp.h>
#include "checksum.h"
#include "flow.h"
#include "link.h"
#include "scope.h"

/* Addresses and ports to write: addresses of 16 bytes, of which IPv4 uses the last 4; all in network order. */
struct tuple {
	__be32 source[4];
	__be32 destination[4];
	__be16 source_port;
	__be16 destination_port;
};

/* Answers for a line of full NAT: their tuple and next hop. */
struct answer {
	struct tuple to;
	struct macs macs;
	__u32 ifindex;
	__u16 vlan;
	__u16 service;		/* slot */
	__u16 backend;		/* slot */
	__u16 pad;
};

/* The outer header of a tunnel that a router's report quotes: see path_mtu.h. */
struct tunnel {
	__u64 source_high;
	__u64 source_low;
	__u64 destination_high;
	__u64 destination_low;
	__u32 length;		/* of the datagram in bytes */
	__u32 inner;		/* offset of what follows the header */
	__u32 ports;		/* of GUE, as in struct flow */
	__u8 protocol;
};

/* A walk along rate limits: see rate.h. Addresses are as in struct flow. */
struct rate_walk {
	struct subject subject;
	__u64 source_high;
	__u64 source_low;
	__u64 destination_high;
	__u64 destination_low;
	__be32 words[8];	/* the addresses as on the wire */
	__u32 line;		/* of struct rate_header */
	__u32 found;		/* 1: one of its details matches */
	__u32 sources4;		/* of the limit that is tried */
	__u32 network;		/* offset of the IP header */
	__u32 bytes;		/* of the frame */
	__u32 has_ends;		/* 0: the addresses are not read yet */
	__u64 place;		/* of the packet's key: see rate_ban.h */
	__u64 sourced;		/* limits among whose sources the packet's is: see rate_source.h */
	__u32 class;		/* of its source */
	struct rate_answer answer;
};

/* A packet in whose headers anomalies are looked for; in anomaly.h. */
struct suspect {
	__u32 network;		/* offset of the IP header */
	__u32 behind;		/* offset of the transport header */
	__u32 head;		/* as in struct packet */
	__u32 kind;		/* the lower half of ANOMALY_KIND */
	__u32 fragment;
	__u32 has_sources;	/* 0: any source is right, as on lo */
	__u32 total;		/* bytes of the datagram, from its IP header on */
	__u32 bytes;		/* of the frame */
	__u8 copy[40];
};

/* Fields that rules may ask of a packet besides its source, protocol and ports: see match.h. */
struct traits {
	__u64 destination_high;	/* as in struct flow */
	__u64 destination_low;
	__u32 head;		/* as in struct packet */
	__u32 known;		/* enum trait */
	__u16 length;		/* of the IP datagram in bytes, at most IP_LENGTH_LIMIT */
	__u16 vlan;		/* number in the outer tag, or NO_VLAN */
	__u32 transport;	/* offset of the transport header */
	__u32 line;		/* of the struct match that is compared */
	__u8 ttl;		/* or hop limit */
	__u8 dscp;
	__u8 fragment;		/* one of enum match_fragment */
	__u8 tcp_flags;
	__be32 copy[10];	/* of bytes that are not linear */
};

/* Lists that observe one packet and count its source: of more, it is not one of theirs. */
#define OBSERVERS 4

/* The lists that observe a packet: see observe.h. */
struct observed {
	__u16 list;		/* slot of the first; NOT_OBSERVED: none */
	__u16 scope;		/* of its rule */
	__u16 counted;		/* slot of the list counted last */
	__u16 seen[OBSERVERS];	/* slots of the first lists whose sources count the packet's */
	__u16 lists;		/* of them */
};

/*
 * Data without room on the stack, of which all functions of a call chain share 512 bytes. One per CPU: no other XDP
 * program interrupts one on its CPU.
 */
struct scratch {
	struct flow flow;	/* the packet */
	struct packet packet;	/* one that parse_apart read */
	struct flow quoted;	/* the packet that an ICMP error quotes, in the other direction */
	struct tuple outer;
	struct tuple inner;
	struct answer answer;
	struct bpf_fib_lookup way;
	struct tunnel tunnel;
	struct rate_walk rates;
	struct suspect suspect;
	struct traits traits;
	struct observed observed;
};
_Static_assert(sizeof(struct scratch) <= sizeof(struct scratch_space), "scratch is too small");

static __always_inline struct scratch *open_scratch(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&scratch, &zero);
}

/* Copies the packet's present tuple. */
static __always_inline void keep_tuple(struct tuple *tuple, const struct flow *flow)
{
	tuple->source[0] = bpf_htonl(flow->source_high >> 32);
	tuple->source[1] = bpf_htonl(flow->source_high);
	tuple->source[2] = bpf_htonl(flow->source_low >> 32);
	tuple->source[3] = bpf_htonl(flow->source_low);
	tuple->destination[0] = bpf_htonl(flow->destination_high >> 32);
	tuple->destination[1] = bpf_htonl(flow->destination_high);
	tuple->destination[2] = bpf_htonl(flow->destination_low >> 32);
	tuple->destination[3] = bpf_htonl(flow->destination_low);
	tuple->source_port = bpf_htons(flow->ports >> 16);
	tuple->destination_port = bpf_htons(flow->ports);
}

static __always_inline void copy_address(__be32 *to, const void *from)
{
	const __be32 *words = from;

	to[0] = words[0];
	to[1] = words[1];
	to[2] = words[2];
	to[3] = words[3];
}

/* Writes the addresses of an IPv4 header and adjusts its checksum. Returns the growth of their sum. */
static __always_inline __u64 translate_header4(struct iphdr *ip, const struct tuple *to)
{
	__u64 growth = replaced32(ip->saddr, to->source[3]) + replaced32(ip->daddr, to->destination[3]);

	ip->saddr = to->source[3];
	ip->daddr = to->destination[3];
	ip->check = adjusted(ip->check, growth);
	return growth;
}

static __always_inline __u64 translate_header6(struct ipv6hdr *ip, const struct tuple *to)
{
	__be32 *source = ip->saddr.in6_u.u6_addr32, *destination = ip->daddr.in6_u.u6_addr32;
	__u64 growth = 0;

#pragma unroll
	for (int i = 0; i < 4; i++) {
		growth += replaced32(source[i], to->source[i]) + replaced32(destination[i], to->destination[i]);
		source[i] = to->source[i];
		destination[i] = to->destination[i];
	}
	return growth;
}

/* Writes the ports at `transport`, with `room` bytes available, and as much of the checksum as is available. */
static __always_inline void translate_transport(void *transport, const void *end, __u8 protocol, __u64 growth,
						const struct tuple *to)
{
	__be16 *ports = transport;
	struct tcphdr *tcp = transport;
	struct udphdr *udp = transport;

	if (transport + sizeof(*udp) > end)
		return;
	growth += replaced16(ports[0], to->source_port) + replaced16(ports[1], to->destination_port);
	ports[0] = to->source_port;
	ports[1] = to->destination_port;
	if (protocol == IPPROTO_UDP) {
		if (udp->check)
			udp->check = adjusted_nonzero(udp->check, growth);
	} else if (protocol == IPPROTO_TCP) {
		if ((void *)&tcp->check + sizeof(tcp->check) <= end)
			tcp->check = adjusted(tcp->check, growth);
	}
}

/*
 * Decrements the TTL or hop limit. The caller ensures that it is greater than one. In an IPv4 header, TTL and protocol
 * share one word of the checksum.
 */
static __always_inline void age4(struct iphdr *ip)
{
	__u16 *word = (void *)&ip->ttl;
	__u16 old = *word;

	ip->ttl--;
	ip->check = adjusted(ip->check, replaced16(old, *word));
}

/* The TTL or hop limit of a packet; 0 if its header is out of reach. */
static __always_inline __u8 read_ttl(const struct xdp_md *ctx, const struct flow *flow)
{
	const struct iphdr *ip = frame_at(ctx, flow->network);
	const struct ipv6hdr *ip6 = frame_at(ctx, flow->network);

	if (flow_is_ipv6(flow))
		return (const void *)(ip6 + 1) > frame_end(ctx) ? 0 : ip6->hop_limit;
	return (const void *)(ip + 1) > frame_end(ctx) ? 0 : ip->ttl;
}

/* Decrements the TTL of a packet in transit, and writes the addresses of `to`. Returns the growth of their sum. */
static __always_inline __u64 translate_header(const struct xdp_md *ctx, const struct flow *flow, const struct tuple *to)
{
	struct iphdr *ip = frame_at(ctx, flow->network);
	struct ipv6hdr *ip6 = frame_at(ctx, flow->network);

	if (flow_is_ipv6(flow)) {
		if ((const void *)(ip6 + 1) > frame_end(ctx))
			return 0;
		ip6->hop_limit--;
		return translate_header6(ip6, to);
	}
	if ((const void *)(ip + 1) > frame_end(ctx))
		return 0;
	age4(ip);
	return translate_header4(ip, to);
}

/* Decrements the TTL of a packet in transit, and writes the tuple `to`. */
static __always_inline void translate(const struct xdp_md *ctx, const struct flow *flow, const struct tuple *to)
{
	__u64 growth = translate_header(ctx, flow, to);

	if (!is_later_fragment(flow))
		translate_transport(frame_at(ctx, flow->transport), frame_end(ctx), flow->protocol, growth, to);
}

/* Decrements the TTL of a packet in transit. */
static __always_inline void age(const struct xdp_md *ctx, const struct flow *flow)
{
	struct iphdr *ip = frame_at(ctx, flow->network);
	struct ipv6hdr *ip6 = frame_at(ctx, flow->network);

	if (flow_is_ipv6(flow)) {
		if ((const void *)(ip6 + 1) <= frame_end(ctx))
			ip6->hop_limit--;
	} else if ((const void *)(ip + 1) <= frame_end(ctx)) {
		age4(ip);
	}
}

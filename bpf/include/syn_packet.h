/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The headers of a TCP packet to a protected port, copied once into syn_local, and what they say without a listener: whether one
 * host sent it to another, and whether this host receives it.
 */
#pragma once

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "abi.h"
#include "socketless.h"
#include "syn_answer.h"
#include "syn_count.h"

/* Where the headers of a packet are, as one number: offset of the IP header, that of TCP, and whether it is IPv6. */
#define SYN_PLACE(network, transport, ipv6) ((__u32)(network) & 0x7fff | (__u32)!!(ipv6) << 15 | (__u32)(transport) << 16)

static __always_inline __u32 network_at(__u32 place)
{
	return place & 0x7fff;
}

static __always_inline __u32 transport_at(__u32 place)
{
	return place >> 16;
}

static __always_inline __u32 is_ipv6_at(__u32 place)
{
	return place & 0x8000;
}

static __always_inline int is_host4(__u8 first)
{
	return first != NET_THIS && first != NET_LOOPBACK && first < NET_MULTICAST;
}

static __always_inline int is_host6(const __u64 *address)
{
	return *(const __u8 *)address != MULTICAST6 && (address[0] || address[1] & bpf_cpu_to_be64(~1ull));
}

/* Whether the packet whose headers have been copied is from one host to another: else the kernel drops it. */
static __always_inline int is_between_hosts(const struct syn_local *local, __u32 ipv6)
{
	const __u64 *source = (const void *)&local->tuple, *destination = source + 2;
	const __u8 *bytes = (const void *)source;

	if (!ipv6)
		return is_host4(bytes[0]) && is_host4(bytes[4]) && local->tuple.ipv4.saddr != local->tuple.ipv4.daddr;
	return is_host6(source) && is_host6(destination) &&
	       (source[0] != destination[0] || source[1] != destination[1]);
}

/* Copies bytes of the frame: word by word where they are in its linear part, which costs less than the helper. */
static __always_inline int copy_words(struct xdp_md *ctx, __u32 at, __u8 *to, __u32 size)
{
	const __u32 *from = frame_at(ctx, at);

	if ((const void *)from + size > frame_end(ctx))
		return bpf_xdp_load_bytes(ctx, at, to, size);
#pragma unroll
	for (__u32 i = 0; i < size / 4; i++)
		((__u32 *)to)[i] = from[i];
	return 0;
}

/* Copies the headers, `size` bytes of TCP, and the tuple of the packet. */
static __always_inline int copy_headers(struct xdp_md *ctx, struct syn_local *local, __u32 place, __u32 size)
{
	const __u32 at = transport_at(place);
	__u32 *tuple = (void *)&local->tuple;
	const __u32 *ip = (const void *)local->ip;

	/* Of usual SYNs, the options have this size. */
	if (size == TCP_HEADER) {
		if (copy_words(ctx, at, local->tcp, TCP_HEADER))
			return -1;
	} else if (size == TCP_HEADER + USUAL_OPTIONS) {
		if (copy_words(ctx, at, local->tcp, TCP_HEADER + USUAL_OPTIONS))
			return -1;
	} else if (size < TCP_HEADER || size > TCP_HEADER + TCP_OPTIONS ||
		   bpf_xdp_load_bytes(ctx, at, local->tcp, size)) {
		return -1;
	}
	if (is_ipv6_at(place)) {
		if (copy_words(ctx, network_at(place), local->ip, sizeof(struct ipv6hdr)))
			return -1;
#pragma unroll
		for (int i = 0; i < 8; i++)
			tuple[i] = ip[IPV6_ADDRESSES / 4 + i];
		tuple[8] = *(const __u32 *)local->tcp;
		return 0;
	}
	if (copy_words(ctx, network_at(place), local->ip, sizeof(struct iphdr)))
		return -1;
	tuple[0] = ip[IPV4_ADDRESSES / 4];
	tuple[1] = ip[IPV4_ADDRESSES / 4 + 1];
	tuple[2] = *(const __u32 *)local->tcp;
	/* For mark_of. */
#pragma unroll
	for (int i = 3; i < 9; i++)
		tuple[i] = 0;
	return 0;
}

static __always_inline struct bpf_sock *find_socket(struct xdp_md *ctx, struct syn_local *local, __u32 ipv6)
{
	return ipv6 ? bpf_skc_lookup_tcp(ctx, &local->tuple, sizeof(local->tuple.ipv6), BPF_F_CURRENT_NETNS, 0) :
		      bpf_skc_lookup_tcp(ctx, &local->tuple, sizeof(local->tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
}

/* Whether this host receives the packet whose headers have been copied: its frame is for it, and no route leads it on. */
static __always_inline int is_for_host(struct xdp_md *ctx, struct syn_local *local, __u32 origin, __u32 ipv6)
{
	const struct account account = { .origin = origin };
	struct bpf_fib_lookup *route = &local->route;
	const __u32 *tuple = (const void *)&local->tuple;

	if (!is_received(ctx, &account))
		return 0;
	/* The result is in the place of some fields. */
	__builtin_memset(route, 0, sizeof(*route));
	route->family = ipv6 ? AF_INET6 : AF_INET;
	route->l4_protocol = IPPROTO_TCP;
	route->ifindex = receiving_interface(ctx, origin);
	if (ipv6) {
#pragma unroll
		for (int i = 0; i < 4; i++) {
			route->ipv6_src[i] = tuple[i];
			route->ipv6_dst[i] = tuple[4 + i];
		}
	} else {
		route->ipv4_src = tuple[0];
		route->ipv4_dst = tuple[1];
	}
	return is_kept(bpf_fib_lookup(ctx, route, sizeof(*route), 0));
}

/* Whether the TCP header of the SYN that has been copied ends in its datagram: else the kernel drops it. */
static __always_inline int ends_in_datagram(const struct syn_local *local, __u32 place)
{
	const __be16 *halves = (const void *)local->ip;
	const __u32 total = is_ipv6_at(place) ? bpf_ntohs(halves[2]) + sizeof(struct ipv6hdr) : bpf_ntohs(halves[1]);

	return transport_at(place) + local->options.end <= network_at(place) + total;
}

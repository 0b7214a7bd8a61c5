/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Encapsulation: IP in IP (RFC 2003, 2473, 4213) and GUE as Katran sends it, a UDP header directly followed by the IP
 * packet (variant 1 of draft-ietf-intarea-gue). The inner packet stays unchanged, its TTL too. The outer source address
 * and port depend on the flow, so that a backend's network card spreads the flows over its queues.
 *
 * The outer UDP checksum needs no read of the payload (Documentation/networking/checksum-offloads.rst, "Local Checksum
 * Offload"): the data that an inner checksum covers sums up to the complement of its pseudo header, for any payload.
 */
#pragma once

#include <linux/udp.h>
#include "checksum.h"
#include "flow.h"
#include "link.h"

#define OUTER_TTL 64
/* RFC 6335 §6: the dynamic ports. */
#define DYNAMIC_PORTS 0xc000

/* Bits that do not affect the choice of a backend, and are no secret: they are of the hash without a key. */
static __always_inline __u32 outer_bits(const struct flow *flow)
{
	return flow->outer >> 32;
}

static __always_inline __be32 outer_source4(const struct service *service, const struct flow *flow)
{
	__u32 mask = service->outer4_length ? ~0u << (32 - service->outer4_length & 31) : 0;

	return *(const __be32 *)service->outer4 | bpf_htonl(outer_bits(flow) & ~mask);
}

/* Writes an outer IPv4 header. `length`: of the whole datagram in bytes. */
static __always_inline void write_outer4(struct iphdr *ip, const struct service *service, const struct backend *backend,
					 const struct flow *flow, __u16 length, __u8 protocol)
{
	__be16 *halves = (void *)ip;
	__be32 source = outer_source4(service, flow), destination = ((const __be32 *)backend->address)[3];
	__u16 first = 0x4500 | flow->tos, last = OUTER_TTL << 8 | protocol;

	/* RFC 6864 §4.1: with DF set the identification has no meaning. */
	halves[0] = bpf_htons(first);
	halves[1] = bpf_htons(length);
	halves[2] = 0;
	halves[3] = bpf_htons(0x4000);
	halves[4] = bpf_htons(last);
	halves[5] = ~fold((__u64)bpf_htons(first) + bpf_htons(length) + bpf_htons(0x4000) + bpf_htons(last) + source +
			  destination);
	ip->saddr = source;
	ip->daddr = destination;
}

/* Writes an outer IPv6 header. `length`: of its payload in bytes. */
static __always_inline void write_outer6(struct ipv6hdr *ip, const struct service *service, const struct backend *backend,
					 const struct flow *flow, __u16 length, __u8 protocol)
{
	__u64 *source = (void *)&ip->saddr, *destination = (void *)&ip->daddr;
	const __u64 *address = (const void *)backend->address;

	*(__be32 *)ip = bpf_htonl(6u << 28 | (__u32)flow->tos << 20 | (outer_bits(flow) & 0xfffff));
	ip->payload_len = bpf_htons(length);
	ip->nexthdr = protocol;
	ip->hop_limit = OUTER_TTL;
	source[0] = *(const __u64 *)service->outer6;
	source[1] = bpf_cpu_to_be64(flow->outer);
	destination[0] = address[0];
	destination[1] = address[1];
}

/* IP in IP, for any combination of families. */
static __always_inline __u32 encapsulate_ip(struct xdp_md *ctx, const struct flow *flow, const struct service *service,
					    const struct backend *backend)
{
	__u32 at, size;
	__u8 protocol;
	void *outer;

	protocol = flow_is_ipv6(flow) ? IPPROTO_IPV6 : IPPROTO_IPIP;
	size = backend->flags & BACKEND_IPV6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr);
	at = write_link(ctx, flow->network, size, backend_macs(backend), backend->vlan,
			backend->flags & BACKEND_IPV6 ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP));
	if (!at)
		return REASON_INTERNAL;
	outer = frame_at(ctx, at);
	if ((const void *)outer + sizeof(struct ipv6hdr) > frame_end(ctx))
		return REASON_INTERNAL;
	if (backend->flags & BACKEND_IPV6)
		write_outer6(outer, service, backend, flow, flow->length, protocol);
	else
		write_outer4(outer, service, backend, flow, flow->length + sizeof(struct iphdr), protocol);
	return leave_to(flow, backend);
}

/*
 * The sum of an inner packet at `at` with a correct transport checksum. Its transport part sums up to the complement of
 * its pseudo header, an IPv4 header to zero; addresses that occur in both cancel out.
 */
static __always_inline __u64 sum_inner(struct xdp_md *ctx, const struct flow *flow, __u32 at)
{
	const void *inner = frame_at(ctx, at), *end = frame_end(ctx);
	__u32 header = flow->transport - flow->network;
	__u16 protocol = bpf_htons(flow->protocol), size = bpf_htons(flow->length - header);
	const struct iphdr *ip4 = inner;
	const struct ipv6hdr *ip6 = inner;
	const __be16 *halves = inner;
	__u64 sum;

	if (!flow_is_ipv6(flow)) {
		if (flow->kind == TRANSPORT_ICMP || (const void *)(ip4 + 1) > end)
			return 0;
		return (__u16)~fold((__u64)ip4->saddr + ip4->daddr + protocol + size);
	}
	if ((const void *)(ip6 + 1) > end)
		return 0;
	sum = (__u64)*(const __be32 *)inner + ip6->payload_len + halves[3] + (__u16)~protocol + (__u16)~size;
	if (header > sizeof(*ip6))
		sum += sum_range(ctx, at + sizeof(*ip6), header - sizeof(*ip6));
	return sum;
}

/*
 * Whether the packet has a checksum that gives the sum of its payload. That of UDP leaves out bytes behind the length in
 * its header, where UDP options are (RFC 9868).
 */
static __always_inline int has_checksum(struct xdp_md *ctx, const struct flow *flow, __u32 at)
{
	const struct udphdr *udp = frame_at(ctx, at);
	__u16 size = flow->length - (flow->transport - flow->network);

	if (flow->fragment || flow->kind == TRANSPORT_NONE)
		return 0;
	if (flow->protocol != IPPROTO_UDP)
		return 1;
	return (const void *)(udp + 1) <= frame_end(ctx) && udp->check && udp->len == bpf_htons(size);
}

/*
 * GUE. Without an inner checksum the outer one is left out too, as RFC 768 allows in IPv4, and RFC 6935 in IPv6 for
 * tunnels.
 */
static __always_inline __u32 encapsulate_gue(struct xdp_md *ctx, const struct flow *flow, const struct service *service,
					     const struct backend *backend)
{
	__u32 at, size, header;
	__u16 length, source;
	struct udphdr *udp;
	void *outer;
	__u64 sum;

	header = flow->transport - flow->network;
	size = backend->flags & BACKEND_IPV6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr);
	at = write_link(ctx, flow->network, size + sizeof(*udp), backend_macs(backend), backend->vlan,
			backend->flags & BACKEND_IPV6 ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP));
	if (!at)
		return REASON_INTERNAL;
	outer = frame_at(ctx, at);
	length = flow->length + sizeof(*udp);
	source = DYNAMIC_PORTS | (outer_bits(flow) & ~DYNAMIC_PORTS);
	sum = (__u64)bpf_htons(IPPROTO_UDP) + bpf_htons(length) + bpf_htons(source) + bpf_htons(service->gue_port) +
	      bpf_htons(length);
	/* Both outer headers of IPv6, or both of IPv4 and the start of the inner packet. */
	if ((const void *)outer + sizeof(struct ipv6hdr) + sizeof(*udp) > frame_end(ctx))
		return REASON_INTERNAL;
	udp = outer + size;
	if (backend->flags & BACKEND_IPV6) {
		write_outer6(outer, service, backend, flow, length, IPPROTO_UDP);
		sum += sum_words((void *)&((struct ipv6hdr *)outer)->saddr, 8);
	} else {
		write_outer4(outer, service, backend, flow, length + sizeof(struct iphdr), IPPROTO_UDP);
		sum += sum_words((void *)&((struct iphdr *)outer)->saddr, 2);
	}
	udp->source = bpf_htons(source);
	udp->dest = bpf_htons(service->gue_port);
	udp->len = bpf_htons(length);
	udp->check = 0;
	at += size + sizeof(*udp);
	if (!has_checksum(ctx, flow, at + header))
		return leave_to(flow, backend);
	sum += sum_inner(ctx, flow, at);
	sum = (__u16)~fold(sum);
	udp->check = sum ? sum : 0xffff;
	return leave_to(flow, backend);
}

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Sends a packet of a health check to its backend, as the balancer sends a packet of a client there: with the code of the
 * balancer for DSR, IP in IP and GUE. The source port says which backend it is for.
 */
#pragma once

#include "checksum.h"
#include "encap.h"
#include "translate.h"

/* By port: see struct check_way. User space makes it, and hands it to the loader. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct check_way);
	__uint(max_entries, CHECK_WAYS);
} check_ways SEC(".maps");

/* Reads a packet that the kernel of this host has made: without VLAN tags, options or fragments. -1: another one. */
static __always_inline int read_check(const struct xdp_md *ctx, struct flow *flow)
{
	const __be16 *type = frame_at(ctx, ETH_HLEN - 2);
	const struct iphdr *ip = frame_at(ctx, ETH_HLEN);
	const struct ipv6hdr *ip6 = (const void *)ip;
	const __be16 *ports;

	flow->network = ETH_HLEN;
	if ((const void *)(ip + 1) > frame_end(ctx))
		return -1;
	if (*type == bpf_htons(ETH_P_IP) && ip->version == 4 && ip->ihl == 5) {
		flow->source_low = IPV4_IN_IPV6 | bpf_ntohl(ip->saddr);
		flow->destination_low = IPV4_IN_IPV6 | bpf_ntohl(ip->daddr);
		flow->length = bpf_ntohs(ip->tot_len);
		flow->tos = ip->tos;
		flow->protocol = ip->protocol;
		flow->transport = ETH_HLEN + sizeof(*ip);
	} else if (*type == bpf_htons(ETH_P_IPV6) && (const void *)(ip6 + 1) <= frame_end(ctx)) {
		const __be32 *source = ip6->saddr.in6_u.u6_addr32, *destination = ip6->daddr.in6_u.u6_addr32;

		flow->marks = FLOW_IPV6;
		flow->source_high = half_of(source);
		flow->source_low = half_of(source + 2);
		flow->destination_high = half_of(destination);
		flow->destination_low = half_of(destination + 2);
		flow->length = sizeof(*ip6) + bpf_ntohs(ip6->payload_len);
		flow->tos = bpf_ntohl(*(const __be32 *)ip6) >> 20;
		flow->protocol = ip6->nexthdr;
		flow->transport = ETH_HLEN + sizeof(*ip6);
	} else {
		return -1;
	}
	flow->bytes = ctx->data_end - ctx->data;
	ports = frame_at(ctx, flow->transport);
	if ((flow->protocol != IPPROTO_TCP && flow->protocol != IPPROTO_UDP) || (const void *)(ports + 2) > frame_end(ctx) ||
	    flow->length + ETH_HLEN > flow->bytes)
		return -1;
	flow->kind = TRANSPORT_PORTS;
	flow->ports = (__u32)bpf_ntohs(ports[0]) << 16 | bpf_ntohs(ports[1]);
	return 0;
}

/* The sum of the last bytes of a segment, behind its last whole word. */
static __always_inline __u64 sum_rest(const struct xdp_md *ctx, __u32 at, __u32 count)
{
	const __u8 *bytes = frame_at(ctx, at);
	__u64 sum = 0;

	if (count > 0 && (const void *)(bytes + 1) <= frame_end(ctx))
		sum += bpf_htons(bytes[0] << 8);
	if (count > 1 && (const void *)(bytes + 2) <= frame_end(ctx))
		sum += bpf_htons(bytes[1]);
	if (count > 2 && (const void *)(bytes + 3) <= frame_end(ctx))
		sum += bpf_htons(bytes[2] << 8);
	return sum;
}

/*
 * Computes the checksum of TCP or UDP. The kernel leaves it to the device, and the frame leaves here without passing
 * one that computes it.
 */
static __always_inline int write_checksum(struct xdp_md *ctx, const struct flow *flow)
{
	__u32 size = flow->length - (flow->transport - flow->network), addresses = flow_is_ipv6(flow) ? 32 : 8;
	__u32 at = flow->transport + (flow->protocol == IPPROTO_UDP ? 6 : 16);
	__u32 before = flow->network + (flow_is_ipv6(flow) ? 8 : 12);
	__be16 *check = frame_at(ctx, at);
	__u64 sum;

	if ((void *)(check + 1) > frame_end(ctx))
		return -1;
	*check = 0;
	sum = (__u64)bpf_htons(flow->protocol) + bpf_htons(size) + sum_range(ctx, before, addresses) +
	      sum_range(ctx, flow->transport, size & ~3u) + sum_rest(ctx, flow->transport + (size & ~3u), size & 3);
	check = frame_at(ctx, at);
	if ((void *)(check + 1) > frame_end(ctx))
		return -1;
	*check = ~fold(sum);
	if (flow->protocol == IPPROTO_UDP && !*check)
		*check = 0xffff;
	return 0;
}

static __always_inline int is_destination(const struct flow *flow, const __u8 *address)
{
	const __be32 *words = (const void *)address;

	return half_of(words) == flow->destination_high && half_of(words + 2) == flow->destination_low;
}

/* Sends the packet on its way. Returns the reason. */
static __always_inline __u32 send_on(struct xdp_md *ctx, struct flow *flow, const struct check_way *way)
{
	const struct backend *backend = &way->backend;
	const struct service *service = &way->service;
	__u32 network;

	flow->outer = hash_flow(flow, service->flags & SERVICE_SOURCE_HASH);
	if (service->forwarding == FORWARDING_IPIP)
		return encapsulate_ip(ctx, flow, service, backend);
	if (service->forwarding == FORWARDING_GUE)
		return encapsulate_gue(ctx, flow, service, backend);
	network = write_link(ctx, flow->network, 0, backend_macs(backend), backend->vlan,
			     flow_is_ipv6(flow) ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP));
	if (!network)
		return REASON_INTERNAL;
	flow->network = network;
	age(ctx, flow);
	return leave_to(flow, backend);
}

/* Handles a packet from the namespace of the checks: nothing else leaves it. */
static __always_inline int send_check(struct xdp_md *ctx)
{
	struct flow flow = { .source_high = 0 };
	const struct check_way *way;
	__u32 number;

	if (read_check(ctx, &flow))
		return XDP_DROP;
	number = ((flow.ports >> 16) - CHECK_FIRST_PORT) / CHECK_PORTS_A_WAY;
	way = bpf_map_lookup_elem(&check_ways, &number);
	if (!way || !way->backend.ifindex || !is_destination(&flow, way->service.vip))
		return XDP_DROP;
	if (write_checksum(ctx, &flow))
		return XDP_DROP;
	flow.device = ctx->ingress_ifindex;
	return send_on(ctx, &flow, way) == REASON_BALANCED_AWAY ? XDP_REDIRECT : XDP_DROP;
}

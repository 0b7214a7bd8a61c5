/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The path MTU to backends of tunnels (RFC 1191, RFC 8201). A router on the way to a backend reports it to the outer source
 * of a packet that did not fit. Nobody but this program can use such a report, since it made the outer header: it
 * remembers the MTU for the backend, and reports the size that fits to the senders of larger packets.
 *
 * A report counts only if the packet that it quotes is one of ours: its inner packet belongs to a flow to a VIP, its
 * destination is the backend of that flow, and its source (with GUE its ports too) are those that the flow's hash gives.
 * These can be known to others, so it must also arrive where the route to the backend leads: see docs/adr/0057.
 */
#pragma once

#include "arrival.h"
#include "encap.h"
#include "extensions.h"
#include "icmp.h"
#include "icmp_way.h"
#include "send.h"

/* One map for all CPUs, by backend slot. Sized by user space. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct path_mtu);
	__uint(max_entries, 1);
} path_mtus SEC(".maps");

/* The upper half of an entry's `bound`: an entry of another backend, which had the slot before, has another one. */
static __always_inline __u64 bound_of(const struct backend *backend)
{
	const __u32 *address = (const void *)backend->address;

	return (__u64)(address[0] ^ address[1] ^ address[2] ^ address[3]) << 32;
}

/* The MTU towards a backend: that of its next hop, or of its path if a router reported a smaller one. */
static __always_inline __u32 mtu_towards(const struct backend *backend, __u32 slot)
{
	const struct path_mtu *known = bpf_map_lookup_elem(&path_mtus, &slot);
	__u64 bound = known ? known->bound : 0;
	__u32 mtu = bound;

	if (!mtu || mtu >= backend->mtu || (bound ^ bound_of(backend)) >> 32 || known->until <= monotonic_now())
		return backend->mtu;
	return mtu;
}

/* The MTU in "fragmentation needed" or "packet too big", at least the bound of the family; 0: another message, or none. */
static __always_inline __u32 reported_mtu(const struct xdp_md *ctx, const struct flow *flow)
{
	const struct icmp_header *icmp = frame_at(ctx, flow->transport);
	__u32 mtu;

	if ((const void *)(icmp + 1) > frame_end(ctx))
		return 0;
	mtu = bpf_ntohl(icmp->rest);
	if (flow_is_ipv6(flow)) {
		if (icmp->type != ICMPV6_TOO_BIG)
			return 0;
		return mtu < IPV6_LEAST_MTU ? IPV6_LEAST_MTU : mtu;
	}
	if (icmp->type != ICMP_UNREACHABLE || icmp->code != ICMP_FRAGMENTATION_NEEDED)
		return 0;
	mtu &= 0xffff;
	return mtu && mtu < IPV4_LEAST_PATH_MTU ? IPV4_LEAST_PATH_MTU : mtu;
}

/* Reads the outer header that a report quotes. */
static __always_inline int read_outer(const struct xdp_md *ctx, const struct flow *flow, struct tunnel *outer)
{
	const void *quoted = frame_at(ctx, flow->transport + ICMP_HEADER);
	const struct iphdr *ip = quoted;
	const struct ipv6hdr *ip6 = quoted;
	const __be32 *source = ip6->saddr.in6_u.u6_addr32, *destination = ip6->daddr.in6_u.u6_addr32, *ports;

	outer->inner = flow->transport + ICMP_HEADER + (flow_is_ipv6(flow) ? sizeof(*ip6) : sizeof(*ip));
	if (flow_is_ipv6(flow)) {
		if ((const void *)(ip6 + 1) > frame_end(ctx) || ip6->version != 6)
			return -1;
		outer->source_high = half_of(source);
		outer->source_low = half_of(source + 2);
		outer->destination_high = half_of(destination);
		outer->destination_low = half_of(destination + 2);
		outer->length = sizeof(*ip6) + bpf_ntohs(ip6->payload_len);
		outer->protocol = ip6->nexthdr;
	} else {
		/* We send no options and no fragments. */
		if ((const void *)(ip + 1) > frame_end(ctx) || ip->version != 4 || ip->ihl != 5 ||
		    ip->frag_off & bpf_htons(FRAGMENT_OFFSET | FRAGMENT_MORE))
			return -1;
		outer->source_low = IPV4_IN_IPV6 | bpf_ntohl(ip->saddr);
		outer->destination_low = IPV4_IN_IPV6 | bpf_ntohl(ip->daddr);
		outer->length = bpf_ntohs(ip->tot_len);
		outer->protocol = ip->protocol;
	}
	if (outer->protocol != IPPROTO_UDP)
		return outer->protocol == IPPROTO_IPIP || outer->protocol == IPPROTO_IPV6 ? 0 : -1;
	ports = frame_at(ctx, outer->inner);
	if ((const void *)ports + sizeof(struct udphdr) > frame_end(ctx))
		return -1;
	outer->ports = bpf_ntohl(*ports);
	outer->inner += sizeof(struct udphdr);
	return 0;
}

static __always_inline void exchange(__u64 *a, __u64 *b)
{
	__u64 word = *a;

	*a = *b;
	*b = word;
}

/* Reads the inner packet, as a packet of its flow. All of it that identifies the flow must be in the datagram. */
static __always_inline int read_inner(struct xdp_md *ctx, const struct flow *flow, const struct tunnel *outer,
				      struct flow *inner)
{
	const __u8 *first = frame_at(ctx, outer->inner);
	int ipv6;

	if ((const void *)(first + 1) > frame_end(ctx))
		return -1;
	ipv6 = *first >> 4 == 6;
	if (outer->protocol != IPPROTO_UDP && ipv6 != (outer->protocol == IPPROTO_IPV6))
		return -1;
	__builtin_memset(inner, 0, sizeof(*inner));
	inner->marks = (ipv6 ? FLOW_IPV6 : 0) | (flow->marks & FLOW_LIVE) | FLOW_ERROR;
	inner->network = outer->inner;
	inner->service = NO_SLOT;
	inner->backend = NO_SLOT;
	if (ipv6 ? read_quoted6(ctx, inner) : read_quoted4(ctx, inner))
		return -1;
	/* These functions read a packet in the other direction. */
	exchange(&inner->source_high, &inner->destination_high);
	exchange(&inner->source_low, &inner->destination_low);
	inner->ports = inner->ports << 16 | inner->ports >> 16;
	return inner->transport + TRANSPORT_HEADER <= flow->network + flow->length ? 0 : -1;
}

/* Whether the outer header is the one that this flow's packets to the backend get: see encap.h. */
static __always_inline int is_own_outer(const struct tunnel *outer, const struct service *service,
					const struct backend *backend, const struct flow *inner)
{
	const __be32 *address = (const void *)backend->address;
	const __be32 *prefix = (const void *)service->outer6;
	__u32 port = DYNAMIC_PORTS | (outer_bits(inner) & ~DYNAMIC_PORTS & 0xffff);

	if (half_of(address) != outer->destination_high || half_of(address + 2) != outer->destination_low)
		return 0;
	if (service->forwarding == FORWARDING_GUE ? outer->protocol != IPPROTO_UDP : outer->protocol == IPPROTO_UDP)
		return 0;
	if (service->forwarding == FORWARDING_GUE && outer->ports != (port << 16 | service->gue_port))
		return 0;
	if (backend->flags & BACKEND_IPV6)
		return outer->source_high == half_of(prefix) && outer->source_low == inner->outer;
	return (__u32)outer->source_low == bpf_ntohl(outer_source4(service, inner));
}

/* Remembers a path MTU. It only falls, until it expires. */
static __always_inline void remember_mtu(const struct backend *backend, __u32 slot, __u32 mtu)
{
	struct path_mtu *known = bpf_map_lookup_elem(&path_mtus, &slot);

	if (!known || mtu >= mtu_towards(backend, slot))
		return;
	known->until = 0;
	known->bound = bound_of(backend) | mtu;
	known->until = monotonic_now() + PATH_MTU_LIFETIME * NANOSECONDS;
}

/*
 * Reads a report into this CPU's scratch: `quoted` is the inner packet. Returns the MTU; 0: it is no report, or about a
 * packet that fits. A global function like the next ones, because they share the stack with those that find the backend.
 */
__noinline __u32 read_report(struct xdp_md *ctx, const struct flow *flow)
{
	struct scratch *scratch = open_scratch();
	__u32 mtu;

	if (!flow || !scratch)
		return 0;
	mtu = reported_mtu(ctx, flow);
	__builtin_memset(&scratch->tunnel, 0, sizeof(scratch->tunnel));
	if (!mtu || read_outer(ctx, flow, &scratch->tunnel) || read_inner(ctx, flow, &scratch->tunnel, &scratch->quoted))
		return 0;
	return scratch->tunnel.length > mtu ? mtu : 0;
}

/* Completes the inner packet by the service that its flow belongs to. -1: none that sends through tunnels. */
__noinline int find_reported_service(const struct balance *tables)
{
	struct scratch *scratch = open_scratch();
	const struct endpoint *endpoint;
	const struct service *service;
	struct flow *inner;
	__u32 number;

	if (!tables || !scratch)
		return -1;
	inner = &scratch->quoted;
	endpoint = find_endpoint(tables, inner->destination_high, inner->destination_low);
	number = endpoint ? lookup_destination(tables, endpoint, inner->protocol, inner->ports) : 0;
	service = number ? lookup_service(tables, number - 1) : 0;
	if (!service || !encapsulates(service))
		return -1;
	inner->service = number - 1;
	inner->outer = hash_flow(inner, service->flags & SERVICE_SOURCE_HASH);
	return 0;
}

/* Whether the report in this CPU's scratch is about a packet that this host sent to the backend, and may come from there. */
__noinline int is_own_report(struct xdp_md *ctx, const struct flow *flow, const struct service *service,
			     const struct backend *backend)
{
	struct scratch *scratch = open_scratch();

	if (!flow || !service || !backend || !scratch || !(backend->flags & BACKEND_IPV6) != !flow_is_ipv6(flow))
		return 0;
	return is_own_outer(&scratch->tunnel, service, backend, &scratch->quoted) &&
	       arrives_from(ctx, flow, service, backend);
}

/*
 * Handles a report of a router on the way to a backend. NOT_OURS: it is none, or about a packet that is not ours. Its
 * destination is an outer source, so the stack can do nothing with it.
 */
__noinline __u32 learn_path_mtu(struct xdp_md *ctx, struct flow *flow, const struct balance *tables)
{
	struct scratch *scratch = open_scratch();
	const struct service *service;
	const struct backend *backend;
	__u32 mtu, slot;

	if (!flow || !tables || !scratch)
		return NOT_OURS;
	mtu = read_report(ctx, flow);
	if (!mtu || find_reported_service(tables))
		return NOT_OURS;
	service = lookup_service(tables, scratch->quoted.service);
	slot = service ? find_error_backend(tables, service, &scratch->quoted) : NO_SLOT;
	backend = slot == NO_SLOT ? 0 : lookup_backend(tables, slot);
	if (!backend || !is_own_report(ctx, flow, service, backend))
		return NOT_OURS;
	flow->service = scratch->quoted.service;
	flow->backend = slot;
	if (flow->marks & FLOW_LIVE)
		remember_mtu(backend, slot, mtu);
	return REASON_PATH_MTU;
}

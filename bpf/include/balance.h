/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The balancer: maps a packet that passed the filter to the reason for its verdict, or to NOT_OURS. It sends a packet
 * to a VIP to a backend of the service on its port; a packet from a backend may be a reply to translate back. It leaves
 * all other packets alone, including fragments and packets with options, because it looks up the VIP before it judges
 * any of them.
 *
 * The entry points are global functions: the verifier checks them once and separately, not for every path through the
 * parser. The code for most packets of services is inlined below them, because a return is expensive where the kernel
 * disables its prediction (Documentation/admin-guide/hw-vuln/srso.rst); see docs/adr/0039.
 */
#pragma once

#include "arrival.h"
#include "check_answer.h"
#include "fragment.h"
#include "icmp_way.h"
#include "parts.h"
#include "path_mtu.h"
#include "reject.h"
#include "send.h"
#include "snat.h"

/* Optional: policies without services do not need it. */
const volatile __u32 part_balancer = 1;

/* Length of a datagram without a length in its header (see read_ipv4); 0: the frame is not that large. */
static __always_inline __u32 large_length(const struct flow *flow)
{
	__u32 length = flow->bytes - flow->network;

	return length > IP_LENGTH_LIMIT ? length : 0;
}

/* The balancer's facts of an IPv4 header. */
static __always_inline void note_ipv4(const struct iphdr *ip, struct flow *flow)
{
	flow->source_high = 0;
	flow->source_low = IPV4_IN_IPV6 | bpf_ntohl(ip->saddr);
	flow->destination_high = 0;
	flow->destination_low = IPV4_IN_IPV6 | bpf_ntohl(ip->daddr);
	flow->length = bpf_ntohs(ip->tot_len);
	flow->tos = ip->tos;
}

/* Those of an IPv6 header. -1: an IPv4 address, which is not valid in IPv6 on the wire (RFC 4291 §2.5.5.2). */
static __always_inline int note_ipv6(const struct ipv6hdr *ip, struct flow *flow)
{
	const __be32 *source = ip->saddr.in6_u.u6_addr32, *destination = ip->daddr.in6_u.u6_addr32;

	flow->source_high = half_of(source);
	flow->source_low = half_of(source + 2);
	flow->destination_high = half_of(destination);
	flow->destination_low = half_of(destination + 2);
	flow->length = sizeof(*ip) + bpf_ntohs(ip->payload_len);
	flow->tos = bpf_ntohl(*(const __be32 *)ip) >> 20;
	return flow->destination_high == 0 && flow->destination_low >> 32 == 0xffff ? -1 : 0;
}

/* Reads the IP header for the balancer. -1: missing, or its addresses are not valid on the wire. */
static __always_inline int read_addresses(const struct xdp_md *ctx, struct flow *flow)
{
	const void *header = frame_at(ctx, flow->network), *end = frame_end(ctx);
	const struct ipv6hdr *ip6 = header;
	const struct iphdr *ip4 = header;

	if (!flow_is_ipv6(flow)) {
		if ((const void *)(ip4 + 1) > end)
			return -1;
		note_ipv4(ip4, flow);
		if (ip4->tot_len == 0)
			flow->length = large_length(flow);
		return 0;
	}
	if ((const void *)(ip6 + 1) > end || note_ipv6(ip6, flow))
		return -1;
	if (ip6->payload_len == 0 && large_length(flow))
		flow->length = large_length(flow);
	return 0;
}

static __always_inline struct service_counter *service_counter(__u32 slot)
{
	return bpf_map_lookup_elem(&service_stats, &slot);
}

/* Counts a packet sent to a backend. */
static __always_inline void count_balanced(const struct flow *flow, struct service_counter *counter)
{
	__u32 slot = flow->backend;
	struct backend_counter *backend = bpf_map_lookup_elem(&backend_stats, &slot);

	counter->packets++;
	counter->bytes += flow->bytes;
	if (flow->kind == TRANSPORT_ICMP)
		counter->icmp++;
	else if (flow->marks & FLOW_KNOWN)
		counter->hits++;
	else
		counter->misses++;
	if (backend) {
		backend->packets++;
		backend->bytes += flow->bytes;
	}
	if (flow->marks & FLOW_NEW) {
		counter->flows++;
		if (backend)
			backend->flows++;
	}
}

/* Counts a packet of a service by its reason. */
static __always_inline __u32 account_for(const struct flow *flow, __u32 reason)
{
	struct service_counter *counter;

	if (reason == NOT_OURS || !(flow->marks & FLOW_LIVE))
		return reason;
	counter = service_counter(flow->service);
	if (!counter)
		return reason;
	if (reason == REASON_BALANCED || reason == REASON_BALANCED_AWAY)
		count_balanced(flow, counter);
	else if (reason == REASON_NO_BACKEND || reason == REASON_NO_BACKEND_PASS || reason == REASON_REJECTED)
		counter->empty++;
	else if (reason == REASON_TOO_BIG)
		counter->too_big++;
	else if (reason == REASON_REPLY || reason == REASON_REPLY_AWAY || reason == REASON_REPLY_ROUTED)
		counter->replies++;
	else if (reason == REASON_EXHAUSTED)
		counter->exhausted++;
	if (flow->marks & FLOW_UNRESOLVED)
		counter->unresolved++;
	if (flow->marks & FLOW_LIMITED)
		counter->limited++;
	return reason;
}

/*
 * Slot + 1 of the service for a packet to an endpoint; 0: none; FRAGMENTS_DROP: a fragment that no service takes. Without
 * ports, a later fragment goes to a service that needs none.
 */
static __always_inline __u32 find_service(const struct balance *tables, const struct endpoint *endpoint,
					  const struct flow *flow)
{
	if (flow->kind == TRANSPORT_PORTS)
		return lookup_destination(tables, endpoint, flow->protocol, flow->ports);
	if (!is_later_fragment(flow))
		return 0;
	if (flow->protocol == IPPROTO_TCP)
		return endpoint->fragments_tcp;
	return flow->protocol == IPPROTO_UDP ? endpoint->fragments_udp : 0;
}

/* Whether the service can forward a fragment: NAT updates the checksum of TCP, which a first fragment may lack. */
static __always_inline int takes_fragment(const struct xdp_md *ctx, const struct service *service, const struct flow *flow)
{
	return service->forwarding != FORWARDING_NAT || flow->protocol != IPPROTO_TCP || is_later_fragment(flow) ||
	       has_tcp_header(ctx, flow);
}

/* Full NAT sends answers back along the path of the packets, and stores at most one VLAN tag. */
static __always_inline int can_answer(const struct xdp_md *ctx, const struct flow *flow)
{
	const __be16 *type = frame_at(ctx, ETH_HLEN - 2);

	if (flow->network == ETH_HLEN)
		return 1;
	return flow->network == ETH_HLEN + VLAN_HEADER && (const void *)(type + 1) <= frame_end(ctx) &&
	       *type == bpf_htons(ETH_P_8021Q);
}

static __always_inline __u32 no_backend(struct xdp_md *ctx, const struct service *service, const struct flow *flow)
{
	int rejects = service->options & SERVICE_REJECT;

	if ((!rejects && !(service->flags & SERVICE_EMPTY_PASS)) || service_health(flow->service) == SERVICE_FALLBACK_DROP)
		return REASON_NO_BACKEND;
	return rejects ? reject(ctx, flow) : REASON_NO_BACKEND_PASS;
}

/* Handles a packet to a VIP. */
static __always_inline __u32 serve(struct xdp_md *ctx, const struct balance *tables, const struct endpoint *endpoint,
				   struct flow *flow)
{
	__u32 number = find_service(tables, endpoint, flow);
	const struct service *service;
	const struct backend *backend;
	__u32 slot, overhead, mtu;

	if (!number)
		return NOT_OURS;
	if (!is_addressed(ctx, flow))
		return REASON_OTHER_HOST;
	if (number == FRAGMENTS_DROP)
		return REASON_FRAGMENT;
	if (is_cut(flow))
		return REASON_MALFORMED;
	flow->service = number - 1;
	service = lookup_service(tables, flow->service);
	if (!service)
		return REASON_INTERNAL;
	if (flow->fragment && !takes_fragment(ctx, service, flow))
		return REASON_FRAGMENT;
	read_tcp_flags(ctx, flow);
	if (encapsulates(service))
		flow->outer = hash_flow(flow, service->flags & SERVICE_SOURCE_HASH);
	if (service->flags & SERVICE_SNAT) {
		if (!can_answer(ctx, flow))
			return REASON_UNSUPPORTED;
		slot = bind_flow(ctx, tables, service, flow);
		if (flow->binding == NO_BINDING && !takes_port(flow))
			return REASON_NO_FLOW;
		backend = slot == NO_SLOT ? 0 : lookup_backend(tables, slot);
		flow->backend = slot;
	} else {
		backend = assign_backend(tables, service, flow);
	}
	if (!backend)
		return no_backend(ctx, service, flow);
	if (service->flags & SERVICE_SNAT && flow->binding == NO_BINDING)
		return REASON_EXHAUSTED;
	overhead = overhead_of(service, backend);
	mtu = backend->mtu;
	/* Only routers on the way of tunnels report to us, and never less. */
	if (overhead && flow->length + overhead > IPV4_LEAST_PATH_MTU)
		mtu = mtu_towards(backend, flow->backend);
	if (flow->length + overhead > mtu)
		return answer_too_big(ctx, flow, mtu - overhead);
	return send(ctx, flow, service, backend);
}

/* Handles a packet from a backend of plain NAT; may return REPLY_TOO_BIG. A global function for the stack's sake. */
__noinline __u32 serve_reply(struct xdp_md *ctx, const struct balance *tables, struct flow *flow)
{
	const struct endpoint *endpoint;
	const struct service *service;
	const struct backend *backend;
	__u32 number;

	if (!tables || !flow)
		return NOT_OURS;
	endpoint = find_endpoint(tables, flow->source_high, flow->source_low);
	if (!endpoint || !endpoint->source || is_cut(flow))
		return NOT_OURS;
	if (is_later_fragment(flow))
		follow_fragment(ctx, flow);
	/* Without ports, port 0 stands for those of a later fragment, which only a service on any port has. */
	number = lookup_source(tables, endpoint, flow->protocol, flow->ports >> 16);
	backend = number ? lookup_backend(tables, number - 1) : 0;
	service = backend ? lookup_service(tables, backend->service) : 0;
	if (!service || (flow->fragment && !takes_fragment(ctx, service, flow)))
		return NOT_OURS;
	if (!is_addressed(ctx, flow) || !arrives_from(ctx, flow, service, backend))
		return NOT_OURS;
	/* Not before: forged fragments of a backend must not replace its own. */
	if (flow->fragment && !is_later_fragment(flow))
		follow_fragment(ctx, flow);
	flow->service = backend->service;
	flow->backend = number - 1;
	return reply(ctx, flow, service, backend);
}

/* Reports to the backend that its reply exceeds the MTU towards the client, which `reply` has left in the scratch. As serve_reply. */
__noinline __u32 answer_backend(struct xdp_md *ctx, const struct flow *flow)
{
	const struct scratch *scratch = open_scratch();

	return flow && scratch ? answer_too_big(ctx, flow, scratch->way.mtu_result) : REASON_INTERNAL;
}

/* Handles a packet of TCP or UDP, or a fragment. */
__noinline __u32 balance_flow(struct xdp_md *ctx, struct flow *flow)
{
	const struct balance *tables = lookup_balance();
	const struct endpoint *endpoint;
	__u32 reason = NOT_OURS;

	if (!flow || !tables || read_addresses(ctx, flow))
		return NOT_OURS;
	endpoint = find_endpoint(tables, flow->destination_high, flow->destination_low);
	if (endpoint && flow->fragment)
		follow_fragment(ctx, flow);
	if (endpoint && endpoint->pool && is_addressed(ctx, flow))
		reason = unbind(ctx, flow, tables, endpoint->pool - 1);
	if (reason == NOT_OURS && endpoint && endpoint->destination)
		reason = serve(ctx, tables, endpoint, flow);
	else if (reason == NOT_OURS && is_to_check_port(flow))
		reason = answer_check(ctx, tables, flow);
	if (reason == NOT_OURS && !(endpoint && endpoint->destination) && tables->flags & BALANCE_REPLIES)
		reason = serve_reply(ctx, tables, flow);
	if (reason == REPLY_TOO_BIG)
		reason = answer_backend(ctx, flow);
	return account_for(flow, reason);
}

/* Handles a packet of ICMP or ICMPv6. */
__noinline __u32 balance_icmp(struct xdp_md *ctx, struct flow *flow)
{
	const struct balance *tables = lookup_balance();
	struct scratch *scratch = open_scratch();
	const struct endpoint *endpoint;
	__u32 reason = NOT_OURS;
	struct flow *quoted;

	if (!flow || !tables || !scratch || read_addresses(ctx, flow) || is_cut(flow) || flow->fragment)
		return NOT_OURS;
	endpoint = find_endpoint(tables, flow->destination_high, flow->destination_low);
	if (!is_addressed(ctx, flow))
		return endpoint && endpoint->destination && is_echo_request(flow) ? REASON_OTHER_HOST : NOT_OURS;
	if (endpoint && endpoint->destination && is_echo_request(flow))
		return answer_echo(ctx, flow);
	if (learn_path_mtu(ctx, flow, tables) != NOT_OURS)
		return REASON_PATH_MTU;
	quoted = &scratch->quoted;
	if (read_quoted(ctx, flow, quoted))
		return NOT_OURS;
	if (endpoint && endpoint->pool)
		reason = plan_unbind(ctx, flow, quoted, tables, endpoint->pool - 1);
	if (reason == NOT_OURS && endpoint && endpoint->destination)
		reason = steer_error(ctx, tables, flow, quoted, endpoint);
	if (reason == NOT_OURS && tables->flags & BALANCE_REPLIES)
		reason = return_error(ctx, tables, flow, quoted);
	if (reason >= ERROR_FORWARD)
		reason = send_error(ctx, flow, quoted, reason);
	return account_for(flow, reason);
}

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Destination of an ICMP error: the backend of the flow that it is about, or the client. The new content and the next
 * hop are determined first, in the CPU's scratch, and one function writes them into the packet for all cases: nested
 * calls would exceed the stack.
 */
#pragma once

#include "arrival.h"
#include "icmp_error.h"
#include "send.h"

/* Results for an error, besides the reasons. */
#define ERROR_FORWARD 0x100	/* translated, to a backend */
#define ERROR_RETURN 0x101	/* translated, to a client */
#define ERROR_ROUTE 0x102	/* translated, for the stack to route */

/* Prepares forwarding an error about a packet of a VIP to the backend, by NAT. */
__noinline __u32 plan_forward(const struct flow *flow, const struct flow *quoted, const struct service *service,
			      const struct backend *backend)
{
	const struct balance *tables = lookup_balance();
	struct scratch *scratch = open_scratch();
	struct tuple *inner;

	if (!flow || !quoted || !service || !backend || !tables || !scratch)
		return NOT_OURS;
	keep_tuple(&scratch->outer, flow);
	copy_address(scratch->outer.destination, backend->address);
	inner = &scratch->inner;
	keep_quoted(inner, quoted);
	if (service->flags & SERVICE_SNAT)
		read_binding(tables, quoted, inner->destination, &inner->destination_port);
	copy_address(inner->source, backend->address);
	if (backend->port)
		inner->source_port = bpf_htons(backend->port);
	scratch->answer.macs = backend_macs(backend);
	scratch->answer.ifindex = backend->ifindex;
	scratch->answer.vlan = backend->vlan;
	return ERROR_FORWARD;
}

/* The backend of the flow that an error is about. `quoted` describes the flow in the direction of the client's packets.
 */
__noinline __u32 find_error_backend(const struct balance *tables, const struct service *service, struct flow *quoted)
{
	const struct backend *backend;
	struct line *bucket;

	if (!tables || !service || !quoted)
		return NO_SLOT;
	quoted->place = place_flow(quoted, service->flags & SERVICE_SOURCE_HASH);
	bucket = flow_bucket(tables, quoted);
	return bucket ? find_backend(tables, service, quoted, bucket, monotonic_now(), &backend) : NO_SLOT;
}

/* Not inlined, unlike for other packets: errors are rare, and the callers share the stack. */
__noinline __u32 send_steered(struct xdp_md *ctx, struct flow *flow, const struct service *service,
			      const struct backend *backend)
{
	return flow && service && backend ? send(ctx, flow, service, backend) : NOT_OURS;
}

/* An error to a VIP. NOT_OURS: it concerns no flow of a service. */
static __always_inline __u32 steer_error(struct xdp_md *ctx, const struct balance *tables, struct flow *flow,
					 struct flow *quoted, const struct endpoint *endpoint)
{
	__u32 number = lookup_destination(tables, endpoint, quoted->protocol, quoted->ports), slot;
	const struct service *service;
	const struct backend *backend;

	if (!number || quoted->destination_high != flow->destination_high ||
	    quoted->destination_low != flow->destination_low)
		return NOT_OURS;
	quoted->service = number - 1;
	service = lookup_service(tables, quoted->service);
	if (!service)
		return REASON_INTERNAL;
	slot = service->flags & SERVICE_SNAT ? recall_binding(ctx, tables, service, quoted) :
					       find_error_backend(tables, service, quoted);
	backend = slot == NO_SLOT ? 0 : lookup_backend(tables, slot);
	/* In full NAT, a flow without a port does not exist. */
	if (!backend && service->flags & SERVICE_SNAT)
		return NOT_OURS;
	flow->service = quoted->service;
	if (!backend)
		return REASON_NO_BACKEND;
	flow->backend = slot;
	flow->outer = hash_flow(quoted, service->flags & SERVICE_SOURCE_HASH);
	if (flow->length + overhead_of(service, backend) > backend->mtu)
		return REASON_OVERSIZE;
	if (service->forwarding == FORWARDING_NAT)
		return plan_forward(flow, quoted, service, backend);
	return send_steered(ctx, flow, service, backend);
}

/* Prepares returning an error about a packet that full NAT sent to a backend to the client. */
__noinline __u32 plan_unbind(struct xdp_md *ctx, struct flow *flow, const struct flow *quoted,
			     const struct balance *tables, __u32 pool)
{
	struct scratch *scratch = open_scratch();
	struct answer *answer;

	if (!flow || !quoted || !tables || !scratch)
		return NOT_OURS;
	answer = &scratch->answer;
	if (read_answer(tables, binding_of(pool, quoted->protocol, quoted->ports), quoted, answer) ||
	    !answers_from(ctx, tables, flow, answer))
		return NOT_OURS;
	flow->service = answer->service;
	flow->backend = answer->backend;
	copy_address(scratch->outer.source, answer->to.source);
	copy_address(scratch->outer.destination, answer->to.destination);
	copy_address(scratch->inner.source, answer->to.destination);
	copy_address(scratch->inner.destination, answer->to.source);
	scratch->inner.source_port = answer->to.destination_port;
	scratch->inner.destination_port = answer->to.source_port;
	return ERROR_RETURN;
}

/* Prepares returning an error about a packet that NAT sent to a backend to its sender, by the kernel's routes. */
__noinline __u32 plan_reply(struct xdp_md *ctx, const struct flow *flow, const struct flow *quoted,
			    const struct service *service, const struct backend *backend)
{
	struct scratch *scratch = open_scratch();
	long result;

	if (!flow || !quoted || !service || !backend || !scratch)
		return NOT_OURS;
	keep_tuple(&scratch->outer, flow);
	copy_address(scratch->outer.source, service->vip);
	keep_quoted(&scratch->inner, quoted);
	copy_address(scratch->inner.destination, service->vip);
	if (backend->port)
		scratch->inner.destination_port = bpf_htons(service->first_port);
	result = find_way(ctx, flow, &scratch->outer, &scratch->way);
	if (is_no_reply(result))
		return NOT_OURS;
	if (!is_known_way(flow, result, &scratch->way))
		return ERROR_ROUTE;
	scratch->answer.macs = way_macs(&scratch->way);
	scratch->answer.ifindex = scratch->way.ifindex;
	scratch->answer.vlan = 0;
	return ERROR_RETURN;
}

/* An error about a packet that plain NAT sent to a backend. */
static __always_inline __u32 return_error(struct xdp_md *ctx, const struct balance *tables, struct flow *flow,
					  const struct flow *quoted)
{
	const struct endpoint *endpoint = find_endpoint(tables, quoted->source_high, quoted->source_low);
	const struct service *service;
	const struct backend *backend;
	__u32 number;

	if (!endpoint || quoted->destination_high != flow->destination_high ||
	    quoted->destination_low != flow->destination_low)
		return NOT_OURS;
	number = lookup_source(tables, endpoint, quoted->protocol, quoted->ports >> 16);
	backend = number ? lookup_backend(tables, number - 1) : 0;
	service = backend ? lookup_service(tables, backend->service) : 0;
	if (!service || !arrives_from(ctx, flow, service, backend))
		return NOT_OURS;
	flow->service = backend->service;
	flow->backend = number - 1;
	return plan_reply(ctx, flow, quoted, service, backend);
}

/* Executes a plan. */
__noinline __u32 send_error(struct xdp_md *ctx, struct flow *flow, struct flow *quoted, __u32 plan)
{
	struct scratch *scratch = open_scratch();
	__u32 network;

	if (!flow || !quoted || !scratch)
		return NOT_OURS;
	if (read_ttl(ctx, flow) <= 1)
		return REASON_EXPIRED;
	if (plan != ERROR_ROUTE) {
		network = write_link(ctx, flow->network, 0, read_macs(&scratch->answer.macs), scratch->answer.vlan, ethertype_of(flow));
		if (!network)
			return REASON_INTERNAL;
		quoted->transport = quoted->transport - flow->network + network;
		quoted->network = quoted->network - flow->network + network;
		move_flow(flow, network);
	}
	finish_error(ctx, flow, &scratch->outer, translate_quoted(ctx, flow, quoted, &scratch->inner));
	if (plan == ERROR_ROUTE)
		return REASON_REPLY_ROUTED;
	if (plan == ERROR_FORWARD)
		return leave(flow, scratch->answer.ifindex, REASON_BALANCED, REASON_BALANCED_AWAY);
	return leave(flow, scratch->answer.ifindex, REASON_REPLY, REASON_REPLY_AWAY);
}

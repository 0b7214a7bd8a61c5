/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Full NAT: a flow leaves with an address and port of a pool as its source, so that replies return to this host
 * whatever the backend's routes. A line of `snat_ports` stands for a port of the pool, and names the flow that owns it;
 * the flow's hash selects a few candidate lines, and both directions find it without a search.
 */
#pragma once

#include "arrival.h"
#include "binding.h"
#include "endpoint.h"
#include "nat.h"
#include "snat_search.h"
#include "translate.h"

/* Whether a packet without a port may take one: in TCP, only a SYN. */
static __always_inline int takes_port(const struct flow *flow)
{
	return flow->protocol != IPPROTO_TCP || opens(flow);
}

/* Takes flow->binding from the flow that it belonged to, if any. 0: another CPU was faster. */
static __always_inline int take_binding(struct xdp_md *ctx, const struct service *service, const struct flow *flow,
					__u64 now)
{
	struct snat_port *port = lookup_binding(flow->binding);
	__u64 before;

	if (!port)
		return 0;
	before = port->owner;
	/* Its flow may have got packets since the search. */
	if (!is_free(port, service, flow->protocol, now) && !rank_binding(port, flow->protocol, now))
		return 0;
	if (__sync_val_compare_and_swap(&port->owner, before, owner_of(flow)) != before)
		return 0;
	/* Atomic exchanges are barriers in both directions. */
	__sync_lock_test_and_set(&port->ready, 0);
	start_binding(ctx, flow);
	__sync_lock_test_and_set(&port->ready, 1);
	return 1;
}

/* The backend of a flow that keeps its port, or NO_SLOT. */
static __always_inline __u32 continue_binding(struct xdp_md *ctx, const struct balance *tables,
					      const struct service *service, const struct snat_port *port,
					      struct flow *flow)
{
	__u64 now = monotonic_now();
	__u32 slot = port->backend;
	const struct backend *backend = lookup_backend(tables, slot);

	if (!port->ready || restarts(ctx, port, service, flow, now))
		return NO_SLOT;
	if (!backend || !keeps(backend, slot, flow, now))
		return NO_SLOT;
	flow->marks |= FLOW_KNOWN;
	if (flow->marks & FLOW_LIVE && !(flow->marks & FLOW_ERROR))
		follow_client(ctx, flow);
	return slot;
}

/* The backend of a new flow, or NO_SLOT. It keeps flow->binding, or takes a line, or gets NO_BINDING. */
__noinline __u32 begin_binding(struct xdp_md *ctx, const struct balance *tables, const struct service *service,
			       struct flow *flow)
{
	__u32 slot;
	int is_own;

	if (!tables || !service || !flow)
		return NO_SLOT;
	slot = choose(tables, service, flow);
	if (slot == NO_SLOT)
		return NO_SLOT;
	is_own = flow->binding != NO_BINDING;
	if (!is_own)
		flow->binding = vacate(tables, service, flow);
	if (flow->binding == NO_BINDING)
		return slot;
	flow->backend = slot;
	flow->marks |= FLOW_NEW;
	if (!(flow->marks & FLOW_LIVE))
		return slot;
	if (is_own)
		start_binding(ctx, flow);
	else if (!take_binding(ctx, service, flow, monotonic_now()))
		flow->binding = NO_BINDING;
	return slot;
}

/* The backend of a known flow under full NAT, or NO_SLOT. flow->binding is its line, or NO_BINDING. */
__noinline __u32 recall_binding(struct xdp_md *ctx, const struct balance *tables, const struct service *service,
				struct flow *flow)
{
	const struct snat_port *port;

	if (!tables || !service || !flow)
		return NO_SLOT;
	flow->place = place_flow(flow, 0);
	flow->binding = find_binding(tables, service, flow);
	port = lookup_binding(flow->binding);
	return port ? continue_binding(ctx, tables, service, port, flow) : NO_SLOT;
}

/*
 * The backend of a flow under full NAT, or NO_SLOT. flow->binding is its line, or NO_BINDING if no port is free, or if
 * the packet has no port and may not take one. Not for ICMP errors, which begin no flow.
 */
static __always_inline __u32 bind_flow(struct xdp_md *ctx, const struct balance *tables, const struct service *service,
				       struct flow *flow)
{
	__u32 slot = recall_binding(ctx, tables, service, flow);

	if (slot != NO_SLOT || (flow->binding == NO_BINDING && !takes_port(flow)))
		return slot;
	return begin_binding(ctx, tables, service, flow);
}

/* The service of a line's backend if the packet is from that backend, else 0. */
static __always_inline const struct service *bound_service(const struct balance *tables, const struct backend *backend,
							    const struct flow *flow)
{
	const struct service *service = lookup_service(tables, backend->service);
	const __be32 *address = (const void *)backend->address;
	__u16 port = flow->ports >> 16;

	if (!service || !(backend->flags & BACKEND_USED))
		return 0;
	if (half_of(address) != flow->source_high || half_of(address + 2) != flow->source_low)
		return 0;
	if (backend->port)
		return backend->port == port ? service : 0;
	return port >= service->first_port && port <= service->last_port ? service : 0;
}

/*
 * Reads the line of a pool's port that received a packet from a backend. `flow`: from the backend. -1: the line is
 * free, or belongs to a flow of another backend.
 */
__noinline int read_answer(const struct balance *tables, __u32 binding, const struct flow *flow, struct answer *answer)
{
	const struct snat_port *port = lookup_binding(binding);
	const struct backend *backend;
	const struct service *service;

	if (!tables || !flow || !answer || !port || !port->owner || !port->ready)
		return -1;
	backend = lookup_backend(tables, port->backend);
	if (!backend)
		return -1;
	service = bound_service(tables, backend, flow);
	if (!service)
		return -1;
	copy_address(answer->to.source, service->vip);
	answer->to.source_port = bpf_htons(backend->port ? service->first_port : flow->ports >> 16);
	copy_address(answer->to.destination, port->client);
	answer->to.destination_port = port->client_port;
	answer->macs = read_macs(port->macs);
	answer->ifindex = port->ifindex;
	answer->vlan = port->vlan;
	answer->service = backend->service;
	answer->backend = port->backend;
	return 0;
}

/* Whether packets of the answer's backend arrive where this one did. */
static __always_inline int answers_from(const struct xdp_md *ctx, const struct balance *tables, const struct flow *flow,
					const struct answer *answer)
{
	const struct service *service = lookup_service(tables, answer->service);
	const struct backend *backend = lookup_backend(tables, answer->backend);

	return service && backend && arrives_from(ctx, flow, service, backend);
}

/* Handles a packet to an address of a pool. */
__noinline __u32 unbind(struct xdp_md *ctx, struct flow *flow, const struct balance *tables, __u32 pool)
{
	struct scratch *scratch = open_scratch();
	struct answer *answer;
	__u32 network;

	if (!flow || !tables || !scratch || flow->kind != TRANSPORT_PORTS || is_cut(flow))
		return NOT_OURS;
	answer = &scratch->answer;
	flow->binding = binding_of(pool, flow->protocol, flow->ports);
	if (read_answer(tables, flow->binding, flow, answer) || !answers_from(ctx, tables, flow, answer))
		return NOT_OURS;
	if (flow->fragment && flow->protocol == IPPROTO_TCP && !is_later_fragment(flow) && !has_tcp_header(ctx, flow))
		return NOT_OURS;
	if (read_ttl(ctx, flow) <= 1)
		return REASON_EXPIRED;
	flow->service = answer->service;
	flow->backend = answer->backend;
	read_tcp_flags(ctx, flow);
	if (flow->marks & FLOW_LIVE)
		follow_backend(ctx, flow);
	network = write_link(ctx, flow->network, 0, read_macs(&answer->macs), answer->vlan, ethertype_of(flow));
	if (!network)
		return REASON_INTERNAL;
	move_flow(flow, network);
	translate(ctx, flow, &answer->to);
	return leave(flow, answer->ifindex, REASON_REPLY, REASON_REPLY_AWAY);
}

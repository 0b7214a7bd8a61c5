/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Full NAT: a flow leaves with an address and port of a pool as its source, so that replies return to this host
 * whatever the backend's routes. A line of `snat_ports` stands for a port of the pool, and names the flow that owns it;
 * the flow's hash selects a few candidate lines, and both directions find it without a search.
 */
#pragma once

#include "endpoint.h"
#include "link.h"
#include "nat.h"
#include "pick.h"
#include "translate.h"

#define NO_BINDING 0xffffffff
#define SNAT_PORT_COUNT (SNAT_PORTS - SNAT_FIRST_PORT)

static __always_inline struct snat_port *lookup_binding(__u32 binding)
{
	return bpf_map_lookup_elem(&snat_ports, &binding);
}

static __always_inline __u32 binding_of(__u32 pool, __u8 protocol, __u16 port)
{
	return (pool * 2 + (protocol == IPPROTO_UDP)) * SNAT_PORTS + port;
}

/* Idle timeout of a port in seconds. */
static __always_inline __u64 binding_timeout(const struct service *service, __u8 state)
{
	if (service->flags & SERVICE_UDP)
		return service->udp_timeout > SNAT_UDP ? service->udp_timeout : SNAT_UDP;
	return state == SNAT_OPEN ? SNAT_ESTABLISHED : SNAT_TRANSITORY;
}

static __always_inline int is_free(const struct snat_port *port, const struct service *service, __u64 now)
{
	__u64 idle = (__u64)((__u32)(now >> TICK_SHIFT) - port->seen) << TICK_SHIFT;

	return !port->owner || (port->ready && idle > binding_timeout(service, port->state) * NANOSECONDS);
}

static __always_inline int is_client(const struct snat_port *port, const struct flow *flow)
{
	const __be32 *client = (const void *)port->client;

	return client[0] == bpf_htonl(flow->source_high >> 32) && client[1] == bpf_htonl(flow->source_high) &&
	       client[2] == bpf_htonl(flow->source_low >> 32) && client[3] == bpf_htonl(flow->source_low) &&
	       port->client_port == bpf_htons(flow->ports >> 16);
}

/* A search through the candidate lines of a tuple. */
struct binding_search {
	const struct balance *tables;
	const struct service *service;
	const struct flow *flow;
	const struct pool_list *list;
	__u64 owner;
	__u64 now;
	__u32 found;		/* the line that the tuple owns, or NO_BINDING */
	__u32 vacant;		/* the first free line, or NO_BINDING */
};

/* The n-th candidate line of a tuple. */
static __always_inline __u32 candidate(const struct binding_search *search, __u32 index)
{
	__u32 number = (__u32)search->owner + index * ((__u32)(search->owner >> 32) | 1);
	__u32 pool = (__u64)number * search->service->pools >> 32;
	__u16 port = SNAT_FIRST_PORT + (__u16)((__u64)(number * 0x9e3779b1u) * SNAT_PORT_COUNT >> 32);

	return binding_of(search->list->pool[pool % POOL_SLOTS], search->flow->protocol, port);
}

static long try_binding(__u32 index, struct binding_search *search)
{
	__u32 binding = candidate(search, index);
	const struct snat_port *port = lookup_binding(binding);

	if (!port)
		return 1;
	if (port->owner == search->owner && (!port->ready || is_client(port, search->flow))) {
		search->found = binding;
		return 1;
	}
	if (search->vacant == NO_BINDING && is_free(port, search->service, search->now))
		search->vacant = binding;
	/* A line without any previous owner ends the search: the tuple would have taken it. */
	return port->owner == 0;
}

/* Writes the owner of a line that was just taken, or whose flow starts again. */
static __always_inline void write_binding(struct xdp_md *ctx, struct snat_port *port, const struct flow *flow, __u64 now)
{
	const void *frame = frame_at(ctx, 0);
	const struct vlan_tag *tag = frame_at(ctx, ETH_HLEN);
	__be32 *client = (void *)port->client;

	if (frame + ETH_HLEN + VLAN_HEADER > frame_end(ctx))
		return;
	client[0] = bpf_htonl(flow->source_high >> 32);
	client[1] = bpf_htonl(flow->source_high);
	client[2] = bpf_htonl(flow->source_low >> 32);
	client[3] = bpf_htonl(flow->source_low);
	port->client_port = bpf_htons(flow->ports >> 16);
	port->backend = flow->backend;
	write_macs(port->macs, exchanged(read_macs(frame)));
	port->ifindex = flow->device;
	port->vlan = flow->network == ETH_HLEN ? 0 : bpf_ntohs(tag->control) & VLAN_ID;
	port->state = SNAT_OPENING;
	port->seen = now >> TICK_SHIFT;
}

/* Takes a free line. 0: another CPU was faster. */
static __always_inline int take_binding(struct xdp_md *ctx, struct snat_port *port, const struct binding_search *search,
					const struct flow *flow)
{
	__u64 before = port->owner;

	if (!is_free(port, search->service, search->now) ||
	    __sync_val_compare_and_swap(&port->owner, before, search->owner) != before)
		return 0;
	/* Atomic exchanges are barriers in both directions. */
	__sync_lock_test_and_set(&port->ready, 0);
	write_binding(ctx, port, flow, search->now);
	__sync_lock_test_and_set(&port->ready, 1);
	return 1;
}

/* Records a packet of the client; stores its fields only if they changed. */
static __always_inline void refresh_binding(struct snat_port *port, const struct flow *flow, __u64 now)
{
	__u32 tick = now >> TICK_SHIFT;

	if (port->seen != tick)
		port->seen = tick;
	if (closes(flow) && port->state != SNAT_CLOSING)
		port->state = SNAT_CLOSING;
}

/* The backend of a flow under full NAT, or NO_SLOT; flow->binding is its line, or stays NO_BINDING if none is free. */
__noinline __u32 bind_flow(struct xdp_md *ctx, const struct balance *tables, const struct service *service,
			   struct flow *flow)
{
	struct binding_search search = { .found = NO_BINDING, .vacant = NO_BINDING };
	const struct backend *backend;
	struct snat_port *port;
	__u32 slot;

	if (!tables || !service || !flow)
		return NO_SLOT;
	search.tables = tables;
	search.service = service;
	search.flow = flow;
	search.list = (const void *)policy_line(tables->pools + service->pool_list);
	search.owner = hash_flow(flow, 0) | 1;
	search.now = monotonic_now();
	if (!search.list)
		return NO_SLOT;
	bpf_loop(SNAT_PROBES, try_binding, &search, 0);
	flow->binding = search.found != NO_BINDING ? search.found : search.vacant;
	port = lookup_binding(flow->binding);
	if (!port)
		return choose(tables, service, flow);
	if (search.found != NO_BINDING && port->ready && !opens(flow)) {
		slot = port->backend;
		backend = lookup_backend(tables, slot);
		if (backend && keeps(backend, slot, flow, search.now)) {
			flow->marks |= FLOW_KNOWN;
			if (flow->marks & FLOW_LIVE && !(flow->marks & FLOW_ERROR))
				refresh_binding(port, flow, search.now);
			return slot;
		}
	}
	if (flow->marks & FLOW_ERROR)
		return NO_SLOT;
	slot = choose(tables, service, flow);
	if (slot == NO_SLOT)
		return NO_SLOT;
	flow->backend = slot;
	flow->marks |= FLOW_NEW;
	if (!(flow->marks & FLOW_LIVE))
		return slot;
	if (search.found != NO_BINDING)
		write_binding(ctx, port, flow, search.now);
	else if (!take_binding(ctx, port, &search, flow))
		flow->binding = NO_BINDING;
	return slot;
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

/* Records a packet of the backend. */
static __always_inline void refresh_answered(__u32 binding, const struct flow *flow)
{
	__u32 tick = monotonic_now() >> TICK_SHIFT;
	struct snat_port *port = lookup_binding(binding);

	if (!port)
		return;
	if (port->seen != tick)
		port->seen = tick;
	if (closes(flow))
		port->state = SNAT_CLOSING;
	else if (port->state == SNAT_OPENING)
		port->state = SNAT_OPEN;
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
	if (read_answer(tables, flow->binding, flow, answer))
		return NOT_OURS;
	if (flow->fragment && flow->protocol == IPPROTO_TCP && !is_later_fragment(flow) && !has_tcp_header(ctx, flow))
		return NOT_OURS;
	if (read_ttl(ctx, flow) <= 1)
		return REASON_EXPIRED;
	flow->service = answer->service;
	flow->backend = answer->backend;
	read_tcp_flags(ctx, flow);
	if (flow->marks & FLOW_LIVE)
		refresh_answered(flow->binding, flow);
	network = write_link(ctx, flow->network, 0, read_macs(&answer->macs), answer->vlan, ethertype_of(flow));
	if (!network)
		return REASON_INTERNAL;
	move_flow(flow, network);
	translate(ctx, flow, &answer->to);
	return leave(flow, answer->ifindex, REASON_REPLY, REASON_REPLY_AWAY);
}

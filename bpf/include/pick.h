/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The backend of a flow: from the flow table, or else from the service's ring. Health and unresolved next hops never
 * change a ring: a backend that does not take the flow is skipped, and the flow goes to the next one along the ring. So
 * the death of a backend moves only its own flows, to the others by their weights, and its return restores the old
 * assignment.
 */
#pragma once

#include "endpoint.h"
#include "flow.h"

#define RING_SLOTS_PER_LINE 32
/* Number of ring slots to try before the list of all backends. */
#define RING_STEPS 256

/* The part of its share that the backend refuses, of 255; HEALTH_DOWN: all. */
static __always_inline __u8 share_refused(__u32 slot)
{
	__u32 index = slot / LINE_SIZE;
	const __u8 *line = bpf_map_lookup_elem(&health, &index);

	return line ? line[slot % LINE_SIZE] : HEALTH_DOWN;
}

/* enum service_health */
static __always_inline __u8 service_health(__u32 slot)
{
	__u32 index = HEALTH_BACKEND_LINES + slot / LINE_SIZE;
	const __u8 *line = bpf_map_lookup_elem(&health, &index);

	return line ? line[slot % LINE_SIZE] : SERVICE_WELL;
}

/*
 * Whether a backend refuses the flow: always when it is down; in slow start the answer for a flow stays constant until
 * it is accepted.
 */
static __always_inline int refuses(__u8 share, __u64 hash)
{
	return share == HEALTH_DOWN || (__u8)(hash >> 40) < share;
}

/* Whether a backend may get packets of the service at all. */
static __always_inline int serves(const struct backend *backend, __u16 service)
{
	return backend->flags & BACKEND_USED && backend->service == service && backend->ifindex;
}

/* Whether a backend keeps an existing flow. */
static __always_inline int keeps(const struct backend *backend, __u32 slot, const struct flow *flow, __u64 now)
{
	if (!serves(backend, flow->service) || backend->flags & BACKEND_DISABLED)
		return 0;
	if (backend->deadline && backend->deadline * NANOSECONDS <= now)
		return 0;
	return share_refused(slot) != HEALTH_DOWN;
}

/* A search for a backend that takes the flow. */
struct search {
	const struct balance *tables;
	const struct service *service;
	struct flow *flow;
	__u32 first;		/* slot of the ring, or position in the list behind it, at which the search began */
	__u16 found;		/* backend slot, or NO_SLOT */
	__u16 reluctant;	/* first healthy backend that refuses the flow only for its slow start, or NO_SLOT */
};

/* Returns 1 if the search is over. */
static __always_inline long try_backend(struct search *search, __u32 at)
{
	const struct service *service = search->service;
	struct flow *flow = search->flow;
	const __u16 *line = (const void *)policy_line(search->tables->rings + service->ring + at / RING_SLOTS_PER_LINE);
	const struct backend *backend;
	__u16 slot;
	__u8 share;

	if (!line)
		return 1;
	slot = line[at % RING_SLOTS_PER_LINE];
	backend = lookup_backend(search->tables, slot);
	if (!backend)
		return 0;
	if (!serves(backend, flow->service)) {
		flow->marks |= FLOW_UNRESOLVED;
		return 0;
	}
	share = share_refused(slot);
	if (share == HEALTH_DOWN)
		return 0;
	if (!refuses(share, flow->hash)) {
		search->found = slot;
		return 1;
	}
	if (search->reluctant == NO_SLOT)
		search->reluctant = slot;
	return 0;
}

static long try_ring(__u32 index, struct search *search)
{
	__u32 at = search->first + index;

	return try_backend(search, at >= search->service->ring_size ? at - search->service->ring_size : at);
}

static long try_list(__u32 index, struct search *search)
{
	__u32 at = search->first + index;

	at = at >= search->service->takers ? at - search->service->takers : at;
	return try_backend(search, search->service->ring_size + at);
}

/*
 * Walks the ring from a slot on, then the list of its backends, which finds even the last backend of many, or one of
 * little weight. If all healthy backends refuse, the first of them takes the flow nevertheless.
 */
__noinline __u32 search_backend(const struct balance *tables, const struct service *service, struct flow *flow, __u32 slot)
{
	struct search search = { .found = NO_SLOT, .reluctant = NO_SLOT };

	if (!tables || !service || !flow)
		return NO_SLOT;
	search.tables = tables;
	search.service = service;
	search.flow = flow;
	search.first = slot;
	bpf_loop(service->ring_size < RING_STEPS ? service->ring_size : RING_STEPS, try_ring, &search, 0);
	if (search.found == NO_SLOT && service->takers) {
		search.first = ((__u64)(__u32)(flow->hash >> 16) * service->takers) >> 32;
		bpf_loop(service->takers, try_list, &search, 0);
	}
	return search.found != NO_SLOT ? search.found : search.reluctant;
}

/* The backend of a new flow, or NO_SLOT. */
static __always_inline __u32 pick_backend(const struct balance *tables, const struct service *service, struct flow *flow)
{
	/* Fragments of a flow without an entry must not part. */
	int by_chance = service->flags & SERVICE_RANDOM && flow->marks & FLOW_LIVE && !flow->fragment;
	__u32 number = by_chance ? bpf_get_prandom_u32() : flow->hash;
	__u32 at = (__u64)number * service->ring_size >> 32;
	const __u16 *line = (const void *)policy_line(tables->rings + service->ring + at / RING_SLOTS_PER_LINE);
	const struct backend *backend;
	__u16 slot;

	if (!line || !service->ring_size)
		return NO_SLOT;
	slot = line[at % RING_SLOTS_PER_LINE];
	backend = lookup_backend(tables, slot);
	if (backend && serves(backend, flow->service) && !refuses(share_refused(slot), flow->hash))
		return slot;
	return search_backend(tables, service, flow, at);
}

/* The sorry backend if there is one and it is healthy, else NO_SLOT. */
static __always_inline __u32 pick_sorry(const struct balance *tables, const struct service *service, const struct flow *flow)
{
	const struct backend *backend = service->flags & SERVICE_SORRY ? lookup_backend(tables, service->sorry) : 0;

	if (!backend || !serves(backend, flow->service) || share_refused(service->sorry) == HEALTH_DOWN)
		return NO_SLOT;
	return service->sorry;
}

/* The backend of a flow without an entry, by ring and health, or NO_SLOT. */
static __always_inline __u32 choose(const struct balance *tables, const struct service *service, struct flow *flow)
{
	__u8 mode = service_health(flow->service);
	__u32 slot = NO_SLOT;

	if (mode == SERVICE_FALLBACK_DROP)
		return NO_SLOT;
	if (mode == SERVICE_WELL)
		slot = pick_backend(tables, service, flow);
	return slot == NO_SLOT ? pick_sorry(tables, service, flow) : slot;
}

/* Whether this is the first packet of a flow: the ring decides for it, even if the ports belonged to a flow before. */
static __always_inline int opens(const struct flow *flow)
{
	return flow->protocol == IPPROTO_TCP && (flow->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
}

/* Whether the flow ends with this packet, so that it needs no entry. */
static __always_inline int closes(const struct flow *flow)
{
	return flow->protocol == IPPROTO_TCP && flow->tcp_flags & (TCP_FIN | TCP_RST);
}

/* Updates the entry of a live flow, by one store and only if it changes: CPUs share the line. */
static __always_inline void refresh(struct line *bucket, __u32 at, const struct flow *flow, __u64 now)
{
	__u64 entry = bucket->word[at & (FLOWS_A_LINE - 1)];
	__u64 fresh = (entry & ~(__u64)FLOW_SEEN) | tick_of(now);

	if (flow->protocol == IPPROTO_TCP)
		fresh |= FLOW_ESTABLISHED;
	if (fresh != entry && flow->marks & FLOW_LIVE && !(flow->marks & FLOW_ERROR))
		bucket->word[at & (FLOWS_A_LINE - 1)] = fresh;
}

/* The backend in the flow's entry, if it keeps the flow, or NO_SLOT. */
static __always_inline __u32 recall(const struct balance *tables, const struct service *service, struct flow *flow,
				    struct line *bucket, __u64 now)
{
	const struct backend *backend;
	__u32 at, slot;
	__u64 entry;

	at = find_flow(bucket, flow_tag(flow_key(flow)));
	if (at >= FLOWS_A_LINE)
		return NO_SLOT;
	entry = bucket->word[at & (FLOWS_A_LINE - 1)];
	if (flow->protocol == IPPROTO_UDP && flow_age(entry, now) > service->udp_timeout * NANOSECONDS)
		return NO_SLOT;
	slot = entry >> 16 & 0xffff;
	backend = lookup_backend(tables, slot);
	if (!backend || !keeps(backend, slot, flow, now))
		return NO_SLOT;
	refresh(bucket, at, flow, now);
	flow->marks |= FLOW_KNOWN;
	return slot;
}

/* The backend of the flow's packet, or NO_SLOT. */
static __always_inline __u32 find_backend(const struct balance *tables, const struct service *service, struct flow *flow,
					  struct line *bucket, __u64 now)
{
	__u32 slot = opens(flow) ? NO_SLOT : recall(tables, service, flow, bucket, now);

	return slot == NO_SLOT ? choose(tables, service, flow) : slot;
}

/* find_backend, and stores the result in the flow table. */
static __always_inline __u32 assign_backend(const struct balance *tables, const struct service *service, struct flow *flow)
{
	struct line *bucket = flow_bucket(tables, flow_key(flow));
	__u64 now = monotonic_now();
	__u32 slot;

	if (!bucket)
		return NO_SLOT;
	slot = find_backend(tables, service, flow, bucket, now);
	if (slot == NO_SLOT || flow->marks & FLOW_KNOWN)
		return slot;
	flow->backend = slot;
	if (opens(flow) || flow->protocol == IPPROTO_UDP)
		flow->marks |= FLOW_NEW;
	if (flow->marks & FLOW_LIVE && !closes(flow))
		remember_flow(tables, bucket, flow, now);
	return slot;
}

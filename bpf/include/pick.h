/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Which backend a flow goes to: the one that is remembered, or the one that the service's ring says. Health and missing
 * next hops never change a ring; a backend that does not take the flow is passed over, and the flow goes to the next one
 * along the ring. So the death of a backend moves its own flows alone, to the others by their weights, and its return
 * puts everything back.
 */
#pragma once

#include "endpoint.h"
#include "flow.h"

#define RING_SLOTS_PER_LINE 32
/* Slots that are looked at before the list of all backends is. */
#define RING_STEPS 256

/* How much of its share the backend does not take, of 255; HEALTH_DOWN: all. */
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
 * Whether the flow is of the part that a backend refuses: all of them when it is down, and in slow start of a flow always
 * the same answer, until it is over.
 */
static __always_inline int refuses(__u8 share, __u64 hash)
{
	return share == HEALTH_DOWN || (__u8)(hash >> 40) < share;
}

/* Whether a backend may have packets of the service at all. */
static __always_inline int serves(const struct backend *backend, __u16 service)
{
	return backend->flags & BACKEND_USED && backend->service == service && backend->ifindex;
}

/* Whether a backend keeps a flow that went to it before. */
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
	__u32 first;		/* slot of the ring, or place in the list behind it, that the search began at */
	__u16 found;		/* backend slot, or NO_SLOT */
	__u16 reluctant;	/* first one that is well and refuses the flow for its slow start alone, or NO_SLOT */
};

/* Returns 1 where the search is over. */
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
 * Goes along the ring from a slot on, then through the list of its backends, which finds the last one that is left of
 * many or of little weight. Where all that are well refuse, the first of them takes it after all.
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

/* The backend that a new flow goes to, or NO_SLOT. */
static __always_inline __u32 pick_backend(const struct balance *tables, const struct service *service, struct flow *flow)
{
	__u32 number = service->flags & SERVICE_RANDOM && flow->marks & FLOW_LIVE ? bpf_get_prandom_u32() : flow->hash;
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

/* The sorry backend, where there is one and it is well. */
static __always_inline __u32 pick_sorry(const struct balance *tables, const struct service *service, const struct flow *flow)
{
	const struct backend *backend = service->flags & SERVICE_SORRY ? lookup_backend(tables, service->sorry) : 0;

	if (!backend || !serves(backend, flow->service) || share_refused(service->sorry) == HEALTH_DOWN)
		return NO_SLOT;
	return service->sorry;
}

/* The backend of a flow that is not remembered, by ring and health, or NO_SLOT. */
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

/* Whether the first packet of a flow: such a packet goes by the ring, whoever had these ports before. */
static __always_inline int opens(const struct flow *flow)
{
	return flow->protocol == IPPROTO_TCP && (flow->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
}

/* Whether the flow ends with this packet, so that it need not be remembered. */
static __always_inline int closes(const struct flow *flow)
{
	return flow->protocol == IPPROTO_TCP && flow->tcp_flags & (TCP_FIN | TCP_RST);
}

/* Notes that the flow lives, by one store and only if it says something new: CPUs share the line. */
static __always_inline void refresh(struct line *bucket, __u32 at, const struct flow *flow, __u64 now)
{
	__u64 entry = bucket->word[at & (FLOWS_A_LINE - 1)];
	__u64 fresh = (entry & ~(__u64)FLOW_SEEN) | tick_of(now);

	if (flow->protocol == IPPROTO_TCP)
		fresh |= FLOW_ESTABLISHED;
	if (fresh != entry && flow->marks & FLOW_LIVE && !(flow->marks & FLOW_ERROR))
		bucket->word[at & (FLOWS_A_LINE - 1)] = fresh;
}

/* The backend that the flow's bucket remembers and that keeps it, or NO_SLOT. */
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

/* The backend that the flow's packet goes to, or NO_SLOT. */
static __always_inline __u32 find_backend(const struct balance *tables, const struct service *service, struct flow *flow,
					  struct line *bucket, __u64 now)
{
	__u32 slot = opens(flow) ? NO_SLOT : recall(tables, service, flow, bucket, now);

	return slot == NO_SLOT ? choose(tables, service, flow) : slot;
}

/* The same, and remembers it. */
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

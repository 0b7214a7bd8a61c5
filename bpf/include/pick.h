/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The backend of a flow: from the flow table, or else from the service's ring, or else a backup. Health and unresolved next hops never
 * change a ring: a backend that does not take the flow is skipped, and the flow goes to the next one along the ring. So
 * the death of a backend moves only its own flows, to the others by their weights, and its return restores the old
 * assignment.
 */
#pragma once

#include "endpoint.h"
#include "flow.h"
#include "sip_hash.h"

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

/* A search for a backend that takes the flow, in the ring or in the table of the backups. */
struct search {
	const struct balance *tables;
	struct flow *flow;
	__u32 table;		/* its first line in `rings` */
	__u32 size;		/* its slots */
	__u32 takers;		/* its backends */
	__u32 first;		/* slot, or position in the list behind the slots, at which the search began */
	__u16 found;		/* backend slot, or NO_SLOT */
	__u16 reluctant;	/* first healthy backend that refuses the flow only for its slow start, or NO_SLOT */
};

/* Returns 1 if the search is over. */
static __always_inline long try_backend(struct search *search, __u32 at)
{
	struct flow *flow = search->flow;
	const __u16 *line = (const void *)policy_line(search->tables->rings + search->table + at / RING_SLOTS_PER_LINE);
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

	return try_backend(search, at >= search->size ? at - search->size : at);
}

static long try_list(__u32 index, struct search *search)
{
	__u32 at = search->first + index;

	at = at >= search->takers ? at - search->takers : at;
	return try_backend(search, search->size + at);
}

/*
 * Walks the table from `first` on, then the list of its backends, which finds even the last backend of many, or one of
 * little weight. If all healthy backends refuse, the first of them takes the flow nevertheless.
 */
static __always_inline __u32 walk_table(struct search *search)
{
	bpf_loop(search->size < RING_STEPS ? search->size : RING_STEPS, try_ring, search, 0);
	if (search->found == NO_SLOT && search->takers) {
		search->first = ((__u64)(__u32)(search->flow->hash >> 16) * search->takers) >> 32;
		bpf_loop(search->takers, try_list, search, 0);
	}
	return search->found != NO_SLOT ? search->found : search->reluctant;
}

/* Searches the ring from a slot on. */
__noinline __u32 search_backend(const struct balance *tables, const struct service *service, struct flow *flow, __u32 slot)
{
	struct search search = { .found = NO_SLOT, .reluctant = NO_SLOT };

	if (!tables || !service || !flow)
		return NO_SLOT;
	search.tables = tables;
	search.flow = flow;
	search.table = service->ring;
	search.size = service->ring_size;
	search.takers = service->takers;
	search.first = slot;
	return walk_table(&search);
}

/* Where the flow's search in a table begins. */
static __always_inline __u32 table_slot(const struct service *service, const struct flow *flow, __u32 size)
{
	/* Fragments of a flow without an entry must not part. */
	int by_chance = service->flags & SERVICE_RANDOM && flow->marks & FLOW_LIVE && !flow->fragment;
	__u32 number = by_chance ? bpf_get_prandom_u32() : flow->hash;

	return (__u64)number * size >> 32;
}

/* The backup that takes a new flow, or NO_SLOT. Not inlined: rare. */
__noinline __u32 pick_backup(const struct balance *tables, const struct service *service, struct flow *flow)
{
	struct search search = { .found = NO_SLOT, .reluctant = NO_SLOT };

	if (!tables || !service || !flow)
		return NO_SLOT;
	search.tables = tables;
	search.flow = flow;
	search.table = service->ring + (service->ring_size + service->takers + RING_SLOTS_PER_LINE - 1) / RING_SLOTS_PER_LINE;
	search.size = BACKUP_RING_SIZE;
	search.takers = service->backups;
	search.first = table_slot(service, flow, BACKUP_RING_SIZE);
	return walk_table(&search);
}

/* The backend of the ring that takes a new flow, or NO_SLOT. */
static __always_inline __u32 pick_backend(const struct balance *tables, const struct service *service, struct flow *flow)
{
	__u32 at = table_slot(service, flow, service->ring_size);
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

/* The backend of a flow without an entry, by tables and health, or NO_SLOT. */
static __always_inline __u32 choose(const struct balance *tables, const struct service *service, struct flow *flow)
{
	__u8 mode = service_health(flow->service);
	__u32 slot = NO_SLOT;

	if (mode == SERVICE_FALLBACK_DROP)
		return NO_SLOT;
	flow->hash = choice_hash(flow, service->flags & SERVICE_SOURCE_HASH);
	if (mode == SERVICE_WELL)
		slot = pick_backend(tables, service, flow);
	if (slot == NO_SLOT && service->backups)
		slot = pick_backup(tables, service, flow);
	return slot == NO_SLOT ? pick_sorry(tables, service, flow) : slot;
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

/*
 * Whether an entry withstands a packet that claims to open its flow anew. The backend, which knows the connection, judges
 * the packet then (RFC 9293 §3.10.7.4, RFC 5961 §4, RFC 6191): see docs/adr/0057.
 */
static __always_inline int withstands(__u64 entry, __u64 now)
{
	return entry & FLOW_ESTABLISHED && flow_age(entry, now) < FLOW_TIME_WAIT * NANOSECONDS;
}

/* The backend in the flow's entry, if it keeps the flow, or NO_SLOT. Stores its line, too. */
static __always_inline __u32 recall(const struct balance *tables, const struct service *service, struct flow *flow,
				    struct line *bucket, __u64 now, const struct backend **line)
{
	const struct backend *backend;
	__u32 at, slot;
	__u64 entry;

	at = find_flow(bucket, flow_tag(flow));
	if (at >= FLOWS_A_LINE)
		return NO_SLOT;
	entry = bucket->word[at & (FLOWS_A_LINE - 1)];
	if (opens(flow) && !withstands(entry, now))
		return NO_SLOT;
	if (flow->protocol == IPPROTO_UDP && flow_age(entry, now) > service->udp_timeout * NANOSECONDS)
		return NO_SLOT;
	slot = entry >> 16 & 0xffff;
	backend = lookup_backend(tables, slot);
	if (!backend || !keeps(backend, slot, flow, now))
		return NO_SLOT;
	/* An entry must not live on claims. */
	if (!opens(flow))
		refresh(bucket, at, flow, now);
	flow->marks |= FLOW_KNOWN;
	*line = backend;
	return slot;
}

/* The backend of the flow's packet, or NO_SLOT. Stores its line, too. */
static __always_inline __u32 find_backend(const struct balance *tables, const struct service *service, struct flow *flow,
					  struct line *bucket, __u64 now, const struct backend **line)
{
	__u32 slot = recall(tables, service, flow, bucket, now, line);

	if (slot != NO_SLOT)
		return slot;
	slot = choose(tables, service, flow);
	*line = slot == NO_SLOT ? 0 : lookup_backend(tables, slot);
	return slot;
}

/* The line of find_backend, or 0. Stores its slot in the flow and in the flow table. */
static __always_inline const struct backend *assign_backend(const struct balance *tables, const struct service *service,
							    struct flow *flow)
{
	const struct backend *backend = 0;
	__u64 now = monotonic_now();
	struct line *bucket;
	__u32 slot;

	flow->place = place_flow(flow, service->flags & SERVICE_SOURCE_HASH);
	bucket = flow_bucket(tables, flow);
	if (!bucket)
		return 0;
	slot = find_backend(tables, service, flow, bucket, now, &backend);
	flow->backend = slot;
	if (!backend || (flow->marks & FLOW_KNOWN && !opens(flow)))
		return backend;
	if (opens(flow) || flow->protocol == IPPROTO_UDP)
		flow->marks |= FLOW_NEW;
	if (flow->marks & FLOW_LIVE && !(flow->marks & FLOW_KNOWN) && !closes(flow))
		remember_flow(tables, bucket, flow, now);
	return backend;
}

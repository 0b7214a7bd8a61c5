/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The port of a flow under full NAT. The flow's place gives SNAT_PROBES numbers; a number gives a port, and an address of
 * the pool by rendezvous hashing: the one with the greatest weight for the number. A new flow takes the first free
 * candidate.
 *
 * A known flow must be found after the pool got more addresses. Its address had the greatest weight among those of the
 * time, so in a list by age, it weighs more than all before it. The search looks at every address of which that is true,
 * from the greatest weight down: of a pool of n addresses, ln n + 0.6 on average.
 */
#pragma once

#include "binding.h"
#include "endpoint.h"

#define SNAT_PORT_COUNT (SNAT_PORTS - SNAT_FIRST_PORT)

/* The candidates of a tuple. */
struct candidates {
	const struct pool_list *list;
	__u64 owner;
	__u32 pools;
	__u8 protocol;
};

static __always_inline void list_candidates(struct candidates *of, const struct balance *tables,
					    const struct service *service, const struct flow *flow)
{
	of->list = (const void *)policy_line(tables->pools + service->pool_list);
	of->owner = owner_of(flow);
	of->pools = service->pools;
	of->protocol = flow->protocol;
}

/* The finalizer of MurmurHash3. */
static __always_inline __u32 mixed32(__u32 number)
{
	number = (number ^ number >> 16) * 0x85ebca6bu;
	number = (number ^ number >> 13) * 0xc2b2ae35u;
	return number ^ number >> 16;
}

/* The n-th number of the tuple. Mixed, because those of a progression may all give ports of one range. */
static __always_inline __u32 number_at(const struct candidates *of, __u32 probe)
{
	__u32 first = of->owner;

	return probe ? mixed32(first + probe * ((__u32)(of->owner >> 32) | 1)) : first;
}

/*
 * Position in a list of the address with the greatest weight for a number, among the first `end` ones. Without branches,
 * because weights are unpredictable.
 */
__noinline __u32 heaviest(const struct pool_list *list, __u32 number, __u32 end)
{
	__u64 best = 0;

	if (!list)
		return 0;
	for (__u32 i = 0; i < POOL_SLOTS && i < end; i++) {
		__u64 weight = (__u64)mixed32(number ^ (list->pool[i] + 1) * 0x9e3779b1u) * POOL_SLOTS + i;

		best ^= (best ^ weight) & -((best - weight) >> 63);
	}
	return best & (POOL_SLOTS - 1);
}

/* The line of a number at an address of the list. */
static __always_inline __u32 candidate(const struct candidates *of, __u32 number, __u32 at)
{
	__u16 port = SNAT_FIRST_PORT + (__u16)((__u64)(number * 0x9e3779b1u) * SNAT_PORT_COUNT >> 32);

	return binding_of(of->list->pool[at & (POOL_SLOTS - 1)], of->protocol, port);
}

/* The line of the n-th number for a new flow. */
static __always_inline __u32 candidate_at(const struct candidates *of, __u32 probe)
{
	__u32 number = number_at(of, probe);

	return candidate(of, number, of->pools > 1 ? heaviest(of->list, number, of->pools) : 0);
}

/* Whether sockets of this host use the port of a line. */
static __always_inline int is_of_host(__u32 binding)
{
	const struct balance *tables = lookup_balance();
	const struct pool *pool;
	__u16 port = binding;

	if (!tables)
		return 1;
	pool = (const void *)policy_line(tables->pools + binding / SNAT_PORTS / 2);
	return !pool || (port >= pool->host_first && port <= pool->host_last);
}

/* A search for the line that a tuple owns. */
struct binding_search {
	struct candidates of;
	const struct flow *flow;
	__u32 probe;		/* of the number */
	__u32 end;		/* addresses left to compare: all of them, or those before the last one found */
	__u32 is_used;		/* some line of this number had an owner, or is not for flows */
	__u32 found;		/* or NO_BINDING */
};

/* Looks at one line; returns 1 if the search is over. */
static long try_binding(__u32 index, struct binding_search *search)
{
	__u32 number = number_at(&search->of, search->probe);
	__u32 at = search->end > 1 ? heaviest(search->of.list, number, search->end) : 0;
	__u32 binding = candidate(&search->of, number, at);
	const struct snat_port *port = lookup_binding(binding);

	if (!port)
		return 1;
	if (port->owner == search->of.owner && (!port->ready || is_client(port, search->flow))) {
		search->found = binding;
		return 1;
	}
	if (port->owner || is_of_host(binding))
		search->is_used = 1;
	search->end = at;
	if (at)
		return 0;
	/* The tuple would have taken one of the lines if it had a port: none of them ever had an owner. */
	if (!search->is_used)
		return 1;
	search->is_used = 0;
	search->end = search->of.pools;
	return ++search->probe >= SNAT_PROBES;
}

/* The line that the flow owns, or NO_BINDING. */
static __always_inline __u32 find_binding(const struct balance *tables, const struct service *service,
					  const struct flow *flow)
{
	struct binding_search search = { .found = NO_BINDING };

	list_candidates(&search.of, tables, service, flow);
	if (!search.of.list)
		return NO_BINDING;
	search.flow = flow;
	search.end = search.of.pools;
	bpf_loop(SNAT_PROBES * POOL_SLOTS, try_binding, &search, 0);
	return search.found;
}

/* A search for a line that a new flow may take. */
struct vacancy_search {
	struct candidates of;
	const struct service *service;
	__u32 best;		/* the line to take, or NO_BINDING */
	__u32 rank;		/* of its flow: see rank_binding */
	__u32 cell;		/* for try_own */
};

/* How soon the flow of a port gives way: half-open ones first, then, in UDP, open ones; those idle longest. 0: never. */
static __always_inline __u32 rank_binding(const struct snat_port *port, __u8 protocol, __u64 now)
{
	if (!port->ready)
		return 0;
	if (is_half_open(port))
		return 1u << 31 | idle_of(port, now);
	return protocol == IPPROTO_UDP ? idle_of(port, now) : 0;
}

/* Takes the flow of a line for the one that gives way, if it ranks above the one so far. */
static __always_inline void offer_binding(struct vacancy_search *search, __u32 binding, const struct snat_port *port,
					  __u64 now)
{
	__u32 rank = rank_binding(port, search->of.protocol, now);

	if (rank > search->rank) {
		search->best = binding;
		search->rank = rank;
	}
}

/* Looks for a free line, and for the flow that gives way first. */
static long try_vacant(__u32 index, struct vacancy_search *search)
{
	__u32 binding = candidate_at(&search->of, index);
	const struct snat_port *port = lookup_binding(binding);
	__u64 now = monotonic_now();

	if (!port)
		return 1;
	if (is_of_host(binding))
		return 0;
	if (is_free(port, search->service, search->of.protocol, now)) {
		search->best = binding;
		return 1;
	}
	offer_binding(search, binding, port, now);
	return 0;
}

/* Looks for the oldest half-open flow that is counted in `cell`. */
static long try_own(__u32 index, struct vacancy_search *search)
{
	__u32 binding = candidate_at(&search->of, index);
	const struct snat_port *port = lookup_binding(binding);
	__u64 now = monotonic_now();

	if (!port)
		return 1;
	if (!port->owner || !is_half_open(port) || cell_of_port(port, binding) != search->cell)
		return 0;
	if (!is_of_host(binding))
		offer_binding(search, binding, port, now);
	return 0;
}

/* The line that a new flow may take, or NO_BINDING: a free one, or that of the flow that has to give way. */
__noinline __u32 find_vacancy(const struct balance *tables, const struct service *service, const struct flow *flow)
{
	struct vacancy_search search = { .best = NO_BINDING };

	if (!tables || !service || !flow)
		return NO_BINDING;
	list_candidates(&search.of, tables, service, flow);
	if (!search.of.list)
		return NO_BINDING;
	search.service = service;
	bpf_loop(SNAT_PROBES, try_vacant, &search, 0);
	return search.best;
}

/* The line of the oldest half-open flow that is counted in `cell` and has to give way, or NO_BINDING. */
__noinline __u32 find_own(const struct balance *tables, const struct service *service, const struct flow *flow,
			  __u32 cell)
{
	struct vacancy_search search = { .best = NO_BINDING };

	if (!tables || !service || !flow)
		return NO_BINDING;
	list_candidates(&search.of, tables, service, flow);
	if (!search.of.list)
		return NO_BINDING;
	search.service = service;
	search.cell = cell;
	bpf_loop(SNAT_PROBES, try_own, &search, 0);
	return search.best;
}

/* The line that a new flow takes, or NO_BINDING. */
static __always_inline __u32 vacate(const struct balance *tables, const struct service *service,
				    const struct flow *flow)
{
	__u32 binding = find_vacancy(tables, service, flow), cell;

	if (binding == NO_BINDING)
		return NO_BINDING;
	cell = source_cell(flow->source_high, flow->source_low, binding / SNAT_PORTS);
	if (count_half_open(cell, monotonic_now() >> TICK_SHIFT) < SNAT_SOURCE_LIMIT)
		return binding;
	return find_own(tables, service, flow, cell);
}

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Maps an address to its endpoint, and (protocol, port) to a service or backend. */
#pragma once

#include "abi.h"
#include "addr.h"
#include "flow.h"

/*
 * The endpoint of an address, or 0; src/tables/services/endpoints.ts implements the hash too. IPv4 is ::ffff:a.b.c.d; an
 * IPv6 address of that form is never ours.
 */
static __always_inline const struct endpoint *find_endpoint(const struct balance *tables, __u64 high, __u64 low)
{
	__u64 hash = (high * tables->multiplier ^ low) * tables->multiplier >> 32;
	__u32 cell = hash * tables->cells >> 32;
	const struct endpoint_cells *cells = (const void *)policy_line(tables->index + cell / ENDPOINT_CELLS);
	__u32 number = cells ? cells->first[cell % ENDPOINT_CELLS] : 0;

	for (int i = 0; i < ENDPOINT_CHAIN && number; i++) {
		const struct endpoint *endpoint = (const void *)policy_line(tables->endpoints + number - 1);

		if (!endpoint)
			return 0;
		if (endpoint->high == high && endpoint->low == low)
			return endpoint;
		number = endpoint->next;
	}
	return 0;
}

/*
 * Maps a protocol's destination port: a service slot + 1, or 0. A search in a tree is a chain of loads, each of which waits
 * for the one before, so the first ports of services on single ones lie in the line of the endpoint.
 */
static __always_inline __u32 lookup_destination(const struct balance *tables, const struct endpoint *endpoint,
						__u8 protocol, __u16 port)
{
	const __u32 key = (__u32)protocol << 16 | port;
	__u64 class = 0;

#pragma unroll
	for (int i = 0; i < EXACT_PORTS; i++)
		class |= endpoint->exact[i] & mask_small_zero(endpoint->exact_key[i] ^ key);
	return class ? class : lookup_tree(tables->ports, endpoint->destination, key);
}

/* Maps a protocol's source port of a reply: a backend slot + 1, or 0. */
static __always_inline __u32 lookup_source(const struct balance *tables, const struct endpoint *endpoint, __u8 protocol,
					   __u16 port)
{
	return lookup_tree(tables->ports, endpoint->source, (__u32)protocol << 16 | port);
}

static __always_inline const struct service *lookup_service(const struct balance *tables, __u32 slot)
{
	return (const struct service *)policy_line(tables->services + slot);
}

static __always_inline const struct backend *lookup_backend(const struct balance *tables, __u32 slot)
{
	return slot < tables->backend_lines ? (const struct backend *)policy_line(tables->backends + slot) : 0;
}

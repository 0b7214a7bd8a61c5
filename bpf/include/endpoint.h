/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Maps an address to its endpoint, and (protocol, port) to a service or backend. */
#pragma once

#include "abi.h"
#include "addr.h"
#include "flow.h"

/* Number + 1 of the endpoint that may have the address; 0: none. src/tables/services/endpoints.ts implements the hash
 * too.
 */
static __always_inline __u32 find_endpoint_number(const struct balance *tables, __u64 high, __u64 low)
{
	__u64 folded = high * tables->multiplier ^ low;
	__u64 hash = folded * tables->multiplier >> 32;
	__u32 tag = (__u32)(folded >> 32) ^ (__u32)folded;

	return search_hosts(tables->hash + (__u32)(hash * tables->hash_lines >> 32), tag);
}

/* The endpoint of an address, or 0. IPv4 is ::ffff:a.b.c.d; an IPv6 address of that form is never ours. */
static __always_inline const struct endpoint *find_endpoint(const struct balance *tables, __u64 high, __u64 low)
{
	__u32 number = find_endpoint_number(tables, high, low);
	const struct endpoint *endpoint;

	if (!number)
		return 0;
	endpoint = (const struct endpoint *)policy_line(tables->endpoints + number - 1);
	return endpoint && endpoint->high == high && endpoint->low == low ? endpoint : 0;
}

/* Maps a protocol's port by a value of an endpoint: a slot + 1, or 0. */
static __always_inline __u32 lookup_port(const struct balance *tables, __u32 value, __u8 protocol, __u16 port)
{
	return lookup_tree(tables->ports, value, (__u32)protocol << 16 | port);
}

static __always_inline const struct service *lookup_service(const struct balance *tables, __u32 slot)
{
	return (const struct service *)policy_line(tables->services + slot);
}

static __always_inline const struct backend *lookup_backend(const struct balance *tables, __u32 slot)
{
	return slot < tables->backend_lines ? (const struct backend *)policy_line(tables->backends + slot) : 0;
}

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Half-open flows of full NAT by source prefix: a /24 of IPv4, a /56 of IPv6 (RFC 6177: no less than a site has), at each
 * pool address and protocol.
 *
 * Prefixes share a fixed number of counters. A forged source can fill the counter of any prefix, so a full one denies
 * nothing: a new flow of it takes the port of the oldest half-open flow of the same counter among its candidates. At the
 * limit these flows have half of all ports, so that one candidate of 65,536 new flows is none of them.
 *
 * A counter holds the flows of two windows of time, the present one and the one before; older ones are forgotten, so
 * that nothing has to find the flows that ended in silence. Generations start from zero.
 */
#pragma once

#include "flow.h"

#define SOURCE_LINES 2048
#define SOURCES_A_LINE 8
/* 2^5 ticks = 34 s, longer than SNAT_HALF_OPEN. */
#define SOURCE_WINDOW_SHIFT 5

/* A word: window << 32 | flows of the window before << 16 | flows of the window. Not used by user space. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct line);
	__uint(max_entries, SOURCE_LINES);
} snat_sources SEC(".maps");

static __always_inline __u32 source_window(__u32 tick)
{
	return tick >> SOURCE_WINDOW_SHIFT;
}

/* Number of the counter of a prefix. `block`: of SNAT_PORTS lines, one for each pool address and protocol. */
static __always_inline __u32 source_cell(__u64 high, __u64 low, __u32 block)
{
	__u64 prefix = high ? high >> 8 : low >> 8;
	__u64 hash = (prefix ^ (__u64)block << 56) * HASH_SOURCE_HIGH;

	hash = (hash ^ hash >> 32) * HASH_SECOND;
	return (hash ^ hash >> 32) & (SOURCE_LINES * SOURCES_A_LINE - 1);
}

static __always_inline __u64 *source_counter(__u32 cell)
{
	__u32 line = cell / SOURCES_A_LINE;
	struct line *counters = bpf_map_lookup_elem(&snat_sources, &line);

	return counters ? &counters->word[cell % SOURCES_A_LINE] : 0;
}

/* A counter as of a window. */
static __always_inline __u64 count_as_of(__u64 word, __u32 window)
{
	__u32 passed = window - (__u32)(word >> 32);

	if (passed == 0)
		return word;
	return (__u64)window << 32 | (passed == 1 ? (word & 0xffff) << 16 : 0);
}

/* Number of half-open flows; an upper bound, except in the first minute of a generation. */
static __always_inline __u32 count_half_open(__u32 cell, __u32 tick)
{
	const __u64 *counter = source_counter(cell);
	__u64 word = counter ? count_as_of(*counter, source_window(tick)) : 0;

	return (word & 0xffff) + (word >> 16 & 0xffff);
}

/* Counts a flow that is half-open from this tick on. A change that another CPU overtakes is lost. */
static __always_inline int count_opened(__u32 cell, __u32 tick)
{
	__u64 *counter = source_counter(cell), word, before;

	if (!counter)
		return 0;
	before = *counter;
	word = count_as_of(before, source_window(tick));
	if ((word & 0xffff) != 0xffff)
		__sync_val_compare_and_swap(counter, before, word + 1);
	return 0;
}

/* The reverse of count_opened, for a flow that was half-open since `seen`. */
static __always_inline int count_closed(__u32 cell, __u32 seen, __u32 tick)
{
	__u32 passed = source_window(tick) - source_window(seen);
	__u64 *counter = source_counter(cell), word, before;

	if (!counter)
		return 0;
	before = *counter;
	word = count_as_of(before, source_window(tick));
	if (passed == 0 && word & 0xffff)
		__sync_val_compare_and_swap(counter, before, word - 1);
	else if (passed == 1 && word >> 16 & 0xffff)
		__sync_val_compare_and_swap(counter, before, word - (1 << 16));
	return 0;
}

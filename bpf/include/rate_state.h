/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The state of rate limits: the buckets of keys, and what a packet takes from them. */
#pragma once

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "abi.h"
#include "clock.h"
#include "flow.h"
#include "meter.h"
#include "translate.h"

/* Beyond the longest datagram and any header in front of it. */
#define LARGEST_FRAME 0x12000
/* 64 ms in RATE_UNITS: far above the difference of two CPUs' clocks, which move with ticks of 10 ms at most. */
#define CLOCK_SLACK (64ull * 1000000 * RATE_UNITS)

/* Buckets of all limits; struct rate_limit says where its own begin. Sized by user space. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct line);
	__uint(max_entries, 1);
} rate_buckets SEC(".maps");

/* The secret of the places in them; one value, as `flow_keys`. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct flow_keys);
	__uint(max_entries, 1);
} rate_keys SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct rate_counter);
	__uint(max_entries, RATE_LIMITS);
} rate_stats SEC(".maps");

/* The address, without the bits behind its prefix. */
static __always_inline void cut_prefix(__u64 *high, __u64 *low, __u32 length)
{
	if (length <= 64) {
		*low = 0;
		*high = length ? *high & ~0ull << ((64 - length) & 63) : 0;
	} else {
		*low &= ~0ull << ((128 - length) & 63);
	}
}

/* The place of the packet's key in the state of a limit. */
static __always_inline __u64 place_key(const struct rate_walk *walk, const struct rate_limit *limit)
{
	const __u32 length = walk->subject.ipv6 ? limit->prefix6 : 96 + limit->prefix4;
	const __u32 per = limit->flags >> RATE_PER_SHIFT & RATE_PER_MASK;
	const struct flow_keys *keys;
	__u64 high, low, scope = (__u64)(limit->slot + 1) << 32;
	__u32 zero = 0;

	if (per == RATE_ALL)
		return 0;
	keys = bpf_map_lookup_elem(&rate_keys, &zero);
	if (!keys)
		return 0;
	high = per == RATE_SOURCE ? walk->source_high : walk->destination_high;
	low = per == RATE_SOURCE ? walk->source_low : walk->destination_low;
	cut_prefix(&high, &low, length);
	if (per == RATE_SERVICE)
		scope |= (__u32)walk->subject.protocol << 16 |
			 (walk->subject.has_ports ? walk->subject.destination_port : 0);
	return mixed(keyed_product(high, keys->source_high) + keyed_product(low, keys->source_low) +
		     keyed_product(scope, keys->scope));
}

/* One of the two buckets of a key: the first in the lower half of the limit's state, the second in the upper one. */
static __always_inline struct rate_bucket *find_bucket(const struct rate_limit *limit, __u64 place, __u32 second)
{
	const __u32 half = limit->shift ? 1u << ((limit->shift - 1) & 31) : 0;
	const __u32 number = half ? ((__u32)(second ? place >> 32 : place) & (half - 1)) + (second ? half : 0) : 0;
	__u32 line = limit->line + number / RATE_BUCKETS_A_LINE;
	struct rate_bucket *buckets = bpf_map_lookup_elem(&rate_buckets, &line);

	return buckets ? buckets + number % RATE_BUCKETS_A_LINE : 0;
}

static __always_inline __u64 rate_now(const struct rate_limit *limit)
{
	return (limit->flags & RATE_FINE ? bpf_ktime_get_ns() : monotonic_now()) * RATE_UNITS;
}

static __always_inline __u64 byte_cost(const struct rate_limit *limit, __u64 bytes)
{
	return bytes * limit->byte_time >> RATE_BYTE_SHIFT;
}

/* Whether the packet conforms to the rates of a limit. A packet beyond the rate of bits still counts in that of packets. */
static __always_inline int conforms(const struct rate_limit *limit, struct rate_bucket *first,
				    struct rate_bucket *second, __u32 bytes)
{
	const __u64 now = rate_now(limit);

	if (limit->flags & RATE_PACKETS &&
	    !take(&first->packets, &second->packets, now, limit->packet_time, limit->packet_burst, CLOCK_SLACK))
		return 0;
	return !(limit->flags & RATE_BITS) || take(&first->bits, &second->bits, now, byte_cost(limit, bytes),
						   limit->byte_burst,
						   byte_cost(limit, LARGEST_FRAME) + CLOCK_SLACK);
}

/* As conforms, for a bucket that only the packet's own source has. Without a loop, for the verifier. */
static __always_inline int conforms_alone(const struct rate_limit *limit, struct rate_bucket *bucket, __u32 bytes)
{
	const __u64 now = rate_now(limit);

	if (limit->flags & RATE_PACKETS && !take_alone(&bucket->packets, now, limit->packet_time, limit->packet_burst))
		return 0;
	return !(limit->flags & RATE_BITS) || take_alone(&bucket->bits, now, byte_cost(limit, bytes), limit->byte_burst);
}

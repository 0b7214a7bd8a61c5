/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The meter of rate limits: whether a packet conforms to a rate, by two buckets that its key chooses. Each bucket runs the
 * generic cell rate algorithm (ITU-T I.371); together they are a count-min sketch of two rows with conservative update (Estan
 * and Varghese, 2002): the emptier bucket decides, and the fuller one is only raised to what that has become. So a key never
 * gets more than its rate, and loses only what others put into both of its buckets. See docs/adr/0076.
 */
#pragma once

#include <linux/types.h>
#include <bpf/bpf_helpers.h>
#include "abi_rates.h"

/* CPUs that take from a bucket at a time may be this often in each other's way. */
#define METER_TRIES 16

static __always_inline __u64 later(__u64 a, __u64 b)
{
	return a > b ? a : b;
}

static __always_inline __u64 earlier(__u64 a, __u64 b)
{
	return a < b ? a : b;
}

/* How far both buckets are ahead of the clock: what the key has used at most. */
static __always_inline __u64 metered(const __u64 *first, const __u64 *second, __u64 now)
{
	return earlier(later(*(const volatile __u64 *)first, now), later(*(const volatile __u64 *)second, now)) - now;
}

/* Whether a cost exceeds the rate of a bucket that is ahead until `least`. One above the whole burst fits if nothing is used. */
static __always_inline int is_beyond(__u64 least, __u64 now, __u64 cost, __u64 burst)
{
	return least + cost - now > burst && least > now;
}

/*
 * Takes `cost` from a bucket of one key alone. Returns 0 if it exceeds the rate. Of CPUs that take at a time one may take for all:
 * that is to the good of the key.
 */
static __always_inline int take_alone(__u64 *bucket, __u64 now, __u64 cost, __u64 burst)
{
	const __u64 was = *(volatile __u64 *)bucket, least = later(was, now);

	if (is_beyond(least, now, cost, burst))
		return 0;
	__sync_val_compare_and_swap(bucket, was, least + cost);
	return 1;
}

/*
 * Takes `cost` from a key's buckets, which may be one. Returns 0 if it exceeds the rate, and then takes nothing. All in
 * RATE_UNITS; `now`: the clock; `burst`: how far a bucket may be ahead of it.
 *
 * A cost above the whole burst conforms if nothing else is used. A bucket that is further ahead than `burst` and `most` is set
 * back to that: it would wait for what a limit allowed before a change. `most` leaves room for the largest cost, and for
 * CPUs whose clocks differ by ticks.
 *
 * Other CPUs take from the buckets at the same time: every store is a compare-and-swap, and the last one is of the emptier
 * bucket, of two equal ones the first. So of two CPUs that see the same state one begins again, and nothing passes twice. One that
 * has lost METER_TRIES times gives up, as if the rate were exceeded.
 */
static __always_inline int take(__u64 *first, __u64 *second, __u64 now, __u64 cost, __u64 burst, __u64 most)
{
	for (int try = 0; try < METER_TRIES; try++) {
		const __u64 a = *(volatile __u64 *)first, b = *(volatile __u64 *)second;
		const __u64 ahead_a = later(a, now), ahead_b = later(b, now), bound = now + burst + most;
		const int is_first = ahead_a <= ahead_b;
		const __u64 least = is_first ? ahead_a : ahead_b;
		const __u64 next = least + cost;
		__u64 *emptier = is_first ? first : second, *fuller = is_first ? second : first;
		const __u64 was = is_first ? a : b, other = is_first ? b : a;

		if (a > bound || b > bound) {
			if (a > bound)
				__sync_val_compare_and_swap(first, a, bound);
			if (b > bound)
				__sync_val_compare_and_swap(second, b, bound);
			continue;
		}
		if (is_beyond(least, now, cost, burst))
			return 0;
		if (first != second && other < next &&
		    __sync_val_compare_and_swap(fuller, other, next) != other)
			continue;
		if (__sync_val_compare_and_swap(emptier, was, next) == was)
			return 1;
	}
	return 0;
}

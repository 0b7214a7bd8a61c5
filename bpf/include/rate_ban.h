/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Sources that exceed a rate limit for so long that they are banned. The program only keeps watch: `rate_reports` hands
 * those sources to a daemon, which asks the guards and bans. See docs/adr/0083.
 */
#pragma once

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "abi.h"
#include "clock.h"
#include "flow.h"
#include "parts.h"
#include "rate_match.h"
#include "rate_state.h"
#include "translate.h"

const volatile __u32 part_rate_bans = 1;

#define OFFENDER_SETS (RATE_OFFENDERS / RATE_OFFENDERS_A_SET)
/* Bits of a place that choose a set: some of those that choose each bucket, so that senders predict none. */
#define OFFENDER_SHIFT 24
#define MS 1000000ull

struct rate_offenders {
	struct rate_offender of[RATE_OFFENDERS_A_SET];
};

/* Sized by user space: one set without a limit that bans. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct rate_offenders);
	__uint(max_entries, 1);
} rate_offenders SEC(".maps");

/* Whether the packet's source may exceed the limit by itself: most packets do not even read a place of offenders. */
static __always_inline __u32 suspicion_of(struct rate_walk *walk, const struct rate_limit *limit, __u64 place, int exceeds,
					    const struct rate_bucket *first, const struct rate_bucket *second)
{
	const __u64 now = rate_now(limit);

	walk->place = place;
	if (exceeds)
		return RATE_BEYOND;
	if ((limit->flags & RATE_PACKETS &&
		  metered(&first->packets, &second->packets, now) > limit->packet_burst / 2) ||
		 (limit->flags & RATE_BITS && metered(&first->bits, &second->bits, now) > limit->byte_burst / 2))
		return RATE_NEAR;
	return 0;
}

/*
 * Takes a place for the source of the walk, one whose source has not exceeded a limit of late. Places of others stay, so
 * a flood of forged sources takes a place for moments only, and a source that goes on gets the next free one.
 */
static __always_inline struct rate_offender *take_place(struct rate_offenders *set, __u64 owner, __u64 high, __u64 low,
							 __u64 now)
{
	for (int i = 0; i < RATE_OFFENDERS_A_SET; i++) {
		struct rate_offender *place = set->of + i;
		const __u64 seen = place->seen;

		if ((seen && now <= seen + RATE_PAUSE) || __sync_val_compare_and_swap(&place->seen, seen, now) != seen)
			continue;
		__sync_lock_test_and_set(&place->owner, 0);
		place->high = high;
		place->low = low;
		place->own = (struct rate_bucket){};
		place->since = 0;
		place->last = 0;
		__sync_lock_test_and_set(&place->owner, owner);
		return place;
	}
	return 0;
}

/*
 * Measures the source of a suspicious packet by what it sends itself. Its packets count from the first one that exceeded
 * the limit on, at a balance that was full then: no source that keeps to the rate can exceed that, whatever others send. A
 * global function for the verifier's sake, as judge_class.
 */
__noinline int follow_offender(__u32 line, __u32 is_beyond)
{
	const struct rate_limit *limit = (const void *)policy_line(line);
	struct rate_walk *walk = open_walk();
	struct rate_offender *place = 0;
	struct rate_offenders *set;
	__u64 high, low, owner, now;
	__u32 number;

	if (!limit || !walk)
		return 0;
	number = walk->place >> OFFENDER_SHIFT & (OFFENDER_SETS - 1);
	set = bpf_map_lookup_elem(&rate_offenders, &number);
	if (!set)
		return 0;
	high = walk->source_high;
	low = walk->source_low;
	cut_prefix(&high, &low, walk->subject.ipv6 ? limit->prefix6 : 96 + limit->prefix4);
	owner = limit->slot + 1;
	now = monotonic_now();
	for (int i = 0; i < RATE_OFFENDERS_A_SET; i++)
		if (set->of[i].owner == owner && set->of[i].low == low && set->of[i].high == high)
			place = set->of + i;
	if (is_beyond) {
		if (!place)
			place = take_place(set, owner, high, low, now);
		if (place)
			place->seen = now;
	}
	if (!place || conforms_alone(limit, &place->own, walk->bytes))
		return 0;
	if (!place->last || now > place->last + RATE_PAUSE)
		place->since = now;
	place->last = now;
	return 0;
}

/* A run that reports offenders. */
struct report_run {
	struct xdp_md *ctx;
	__u64 now;
	__u32 count;		/* of reports */
	__u32 failed;
};

static __always_inline void report_offender(struct report_run *run, struct rate_offender *place)
{
	const __u64 owner = place->owner, last = place->last, since = place->since;
	struct rate_report report = { .high = place->high, .low = place->low, .slot = owner - 1 };
	__u32 after;

	if (!owner || owner > RATE_LIMITS || !last || run->now > last + RATE_PAUSE || last < since)
		return;
	if (bpf_xdp_load_bytes(run->ctx, offsetof(struct rate_request, after) + report.slot * sizeof(after), &after,
			       sizeof(after))) {
		run->failed = 1;
		return;
	}
	if (!after || last - since < after * MS)
		return;
	report.ms = (last - since) / MS;
	if (bpf_xdp_store_bytes(run->ctx, sizeof(struct rate_request) + run->count * sizeof(report), &report,
				sizeof(report))) {
		run->failed = 1;
		return;
	}
	run->count++;
	place->since = last;
}

static long report_set(__u32 index, struct report_run *run)
{
	struct rate_offenders *set = bpf_map_lookup_elem(&rate_offenders, &index);

	/* What does not fit is for the next run. */
	if (!set || run->failed || run->count > RATE_REPORTS - RATE_OFFENDERS_A_SET)
		return 1;
	for (int i = 0; i < RATE_OFFENDERS_A_SET; i++)
		report_offender(run, set->of + i);
	return 0;
}

static long count_banned(__u32 index, struct report_run *run)
{
	__u32 slot = index, banned;
	struct rate_counter *counter = bpf_map_lookup_elem(&rate_stats, &slot);

	if (!counter ||
	    bpf_xdp_load_bytes(run->ctx, offsetof(struct rate_request, banned) + slot * sizeof(banned), &banned,
			       sizeof(banned))) {
		run->failed = 1;
		return 1;
	}
	counter->bans += banned;
	return 0;
}

/* Data: a struct rate_request with room for its reports. XDP_PASS if all was done, else XDP_ABORTED. */
static __always_inline int report_offenders(struct xdp_md *ctx)
{
	struct report_run run = { .ctx = ctx, .now = monotonic_now() };

	if (bpf_xdp_get_buff_len(ctx) < sizeof(struct rate_request) + RATE_REPORTS * sizeof(struct rate_report))
		return XDP_ABORTED;
	bpf_loop(RATE_LIMITS, count_banned, &run, 0);
	if (!run.failed && PART(rate_bans))
		bpf_loop(OFFENDER_SETS, report_set, &run, 0);
	if (run.failed || bpf_xdp_store_bytes(ctx, 0, &run.count, sizeof(run.count)))
		return XDP_ABORTED;
	return XDP_PASS;
}

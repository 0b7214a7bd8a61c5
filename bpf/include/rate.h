/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Rate limits: of the packets that neither lists nor bans decide, those beyond a rate are dropped. The limits are few and
 * tried one after the other; the state of all keys of a limit is an array of a fixed size, so a flood of sources fills
 * nothing. A packet touches two lines of it for each limit that counts it, one if it has a single bucket.
 */
#pragma once

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "abi.h"
#include "defaults.h"
#include "essential.h"
#include "flow.h"
#include "judge.h"
#include "match.h"
#include "parts.h"
#include "rate_ban.h"
#include "rate_match.h"
#include "rate_state.h"
#include "scope.h"
#include "translate.h"

const volatile __u32 part_rates = 1;

/* The last line of struct directory, and the number in it that is the line of struct rate_header. */
#define RATES_LINE HASH_KEY_LINE
#define RATES_AT 15
_Static_assert(__builtin_offsetof(struct directory, rate_limits) == (RATES_LINE - 3) * LINE_SIZE + RATES_AT * 4,
	       "RATES_AT");

ABI_SIZE(rate_header, LINE_SIZE);
ABI_SIZE(rate_candidates, LINE_SIZE);
ABI_SIZE(rate_limit, LINE_SIZE);
ABI_SIZE(rate_record, 2 * LINE_SIZE);
ABI_SIZE(rate_bucket, LINE_SIZE / RATE_BUCKETS_A_LINE);
ABI_SIZE(rate_counter, 40);
ABI_SIZE(rate_offender, LINE_SIZE);
ABI_SIZE(rate_report, 24);
ABI_SIZE(rate_answer, 8);

/* The share of a burst that is used, in 1/65535; the largest one if there is no room for one more cost. */
static __always_inline __u64 share(__u64 used, __u64 cost, __u64 burst)
{
	const __u64 part = used / ((burst >> 16) + 1);

	return used && used + cost > burst ? 0xffff : part < 0xfffe ? part : 0xfffe;
}

/* For a test run, which takes nothing. It may ask about one limit alone. */
static __always_inline void answer_rate(struct rate_walk *walk, const struct rate_limit *limit,
					const struct rate_bucket *first, const struct rate_bucket *second)
{
	const __u32 asked = flags_of(&walk->subject.account) >> TEST_RUN_LIMIT;
	const __u64 now = rate_now(limit);
	__u64 used = 0, bits;

	if (asked && asked != limit->slot + 1u)
		return;
	if (limit->flags & RATE_PACKETS)
		used = share(metered(&first->packets, &second->packets, now), limit->packet_time, limit->packet_burst);
	if (limit->flags & RATE_BITS) {
		bits = share(metered(&first->bits, &second->bits, now), byte_cost(limit, walk->bytes), limit->byte_burst);
		used = bits > used ? bits : used;
	}
	if (!walk->answer.matched || used > walk->answer.used) {
		walk->answer.slot = limit->slot;
		walk->answer.used = used;
	}
	walk->answer.matched++;
}

static __always_inline void count_rate(const struct rate_walk *walk, const struct rate_limit *limit, int exceeds)
{
	__u32 slot = limit->slot;
	struct rate_counter *counter = bpf_map_lookup_elem(&rate_stats, &slot);

	if (!counter)
		return;
	counter->packets++;
	counter->bytes += walk->bytes;
	if (!exceeds)
		return;
	counter->exceeding_packets++;
	counter->exceeding_bytes += walk->bytes;
}

/*
 * Counts the packet of the walk in the limit at a line of the policy, if it is one of its packets; returns enum rate_outcome.
 * `is_one`: match_details has said so. A global function for the verifier's sake, as judge_class.
 */
__noinline __u32 judge_rate(struct xdp_md *ctx, __u32 line, __u32 is_one)
{
	const struct settings *settings = lookup_line(SETTINGS_LINE);
	const struct rate_limit *limit = (const void *)policy_line(line);
	struct rate_walk *walk = open_walk();
	struct rate_bucket *first, *second;
	__u64 place;
	__u32 outcome;
	int exceeds;

	if (!settings || !walk || !limit)
		return 0;
	if (!is_one) {
		outcome = glance_at_rate(ctx, settings, limit, walk);
		if (outcome != RATE_COUNTS)
			return outcome;
	}
	place = place_key(walk, limit);
	first = find_bucket(limit, place, 0);
	second = find_bucket(limit, place, 1);
	if (!first || !second)
		return 0;
	if (!is_live(&walk->subject.account)) {
		answer_rate(walk, limit, first, second);
		if (flags_of(&walk->subject.account) & INTERFACE_EXHAUSTED)
			return RATE_TRIAL;
		return 0;
	}
	exceeds = !conforms(limit, first, second, walk->bytes);
	count_rate(walk, limit, exceeds);
	outcome = exceeds && !(limit->flags & RATE_OBSERVE) ? RATE_DROPS : 0;
	if (PART(rate_bans) && limit->flags & RATE_BAN)
		outcome |= suspicion_of(walk, limit, place, exceeds, first, second);
	return outcome;
}

/* Whether a balance with room for one cost lets one pass, and then no other. */
static __always_inline int holds_one(__u64 now, __u64 cost, __u64 burst)
{
	const __u64 least = burst > cost ? now + burst - cost : now;

	return !is_beyond(least, now, cost, burst) && is_beyond(least + cost, now, cost, burst);
}

/*
 * Whether the limit at a line of the policy drops the packet of a test run that finds its balance used up, and not the one
 * before. Leaves the balances of traffic alone. A global function for the verifier's sake, as judge_class.
 */
__noinline int exceeds_trial(__u32 line)
{
	const struct rate_limit *limit = (const void *)policy_line(line);
	struct rate_walk *walk = open_walk();
	__u64 now;

	if (!walk || !limit || limit->flags & RATE_OBSERVE)
		return 0;
	now = rate_now(limit);
	return (limit->flags & RATE_PACKETS && holds_one(now, limit->packet_time, limit->packet_burst)) ||
	       (limit->flags & RATE_BITS && holds_one(now, byte_cost(limit, walk->bytes), limit->byte_burst));
}

/* Carries out an outcome of judge_rate; returns whether it drops the packet. Keeps the frames of others off the deepest chain. */
__noinline int settle_rate(__u32 line, __u32 outcome)
{
	if (outcome & RATE_TRIAL)
		return exceeds_trial(line);
	if (PART(rate_bans) && outcome & (RATE_NEAR | RATE_BEYOND))
		follow_offender(line, outcome & RATE_BEYOND);
	return outcome & RATE_DROPS;
}

/*
 * Whether no limit holds up a packet: of the groups without which the host would lose its neighbours and its address, if
 * `policy.essential` has them.
 */
static __always_inline int is_unlimited(__u32 head, __u32 kind)
{
	const struct settings *settings = lookup_line(SETTINGS_LINE);
	const __u32 groups = settings ? essential_groups(settings->flags) : 0, ipv6 = kind & KIND_IPV6;
	const __u8 type = head >> 24;

	if ((__u8)(kind >> 16) == TRANSPORT_ICMP) {
		if (!ipv6)
			return 0;
		if (type >= ND_FIRST && type <= ND_LAST)
			return groups & ESSENTIAL_NEIGHBOR_DISCOVERY;
		return ((type >= MLD_FIRST && type <= MLD_LAST) || type == MLD2_REPORT) && groups & ESSENTIAL_MLD;
	}
	return (__u16)kind == IPPROTO_UDP && !(kind & KIND_LOOPBACK) && groups & ESSENTIAL_DHCP_CLIENT &&
	       head == (ipv6 ? PORTS(DHCP6_SERVER, DHCP6_CLIENT) : PORTS(DHCP4_SERVER, DHCP4_CLIENT));
}

/*
 * Counts a packet in every limit that it matches, up to one that it exceeds; returns whether that one drops it. Of a test
 * run it only keeps the answer. `who`: who_of; `offsets`: as offsets_of; `head`: as in struct packet; `kind`: kind_of. Most packets match no limit: the candidates of their group
 * say so.
 *
 * A global function for the verifier's sake, as judge_class; few arguments for the stack of its callers.
 */
__noinline int exceeds_rate(struct xdp_md *ctx, __u64 who, __u32 offsets, __u32 head, __u32 kind)
{
	const __u32 *words = (const void *)policy_line(RATES_LINE);
	const struct rate_header *header;
	struct rate_walk *walk;
	__u64 candidates;
	__u32 line, outcome;

	line = words ? words[RATES_AT] : 0;
	header = line ? (const void *)policy_line(line) : 0;
	if (!header)
		return 0;
	candidates = candidates_of(header, line, rate_group(head, kind));
	if (!candidates || is_unlimited(head, kind))
		return 0;
	walk = open_walk();
	if (!walk)
		return 0;
	walk->line = line;
	if (PART(rate_sources))
		note_sources(kind & KIND_IPV6);
	if (PART(match))
		read_traits(ctx, offsets, head, kind);
	walk->network = (__u16)offsets;
	walk->bytes = who >> 32;
	walk->has_ends = 0;
	walk->subject.account.origin = who;
	walk->subject.protocol = kind;
	walk->subject.ipv6 = kind >> 24 & 1;
	walk->subject.has_ports = (__u8)(kind >> 16) == TRANSPORT_PORTS;
	walk->subject.source_port = head >> 16;
	walk->subject.destination_port = head;
	for (__u32 i = 0; i < RATE_LIMITS && candidates >> i; i++) {
		if (!(candidates >> i & 1))
			continue;
		outcome = judge_rate(ctx, line + 1 + i, 0);
		if (outcome & (RATE_BY_SOURCES | RATE_BY_RULES))
			outcome = match_details(line + 1 + i, outcome & RATE_BY_SOURCES) ? judge_rate(ctx, line + 1 + i, 1) : 0;
		if (outcome && settle_rate(line + 1 + i, outcome))
			return 1;
	}
	return 0;
}

/* Before a test run: no limit counts its packet. A function of its own for the stack's sake, as the next one. */
__noinline int forget_rate(void)
{
	struct rate_walk *walk = PART(rates) ? open_walk() : 0;

	if (walk)
		walk->answer = (struct rate_answer){ .slot = NO_SLOT };
	return 0;
}

/* After it: rate_limit and rate_used of struct explanation as one number. */
__noinline __u32 read_rate(void)
{
	const struct rate_walk *walk = PART(rates) ? open_walk() : 0;

	return walk ? *(const __u32 *)&walk->answer : NO_SLOT;
}

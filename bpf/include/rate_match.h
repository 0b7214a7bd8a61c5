/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Whether a rate limit counts a packet: by its rules, and by ranges of sources. */
#pragma once

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "abi.h"
#include "flow.h"
#include "judge.h"
#include "match.h"
#include "rate_source.h"
#include "scope.h"
#include "translate.h"

/* The outcome of a limit for a packet, as a set of bits. */
enum rate_outcome {
	RATE_DROPS = 1,
	RATE_NEAR = 2,		/* the buckets of the source are more than half full */
	RATE_BEYOND = 4,	/* the packet exceeds the rate of a limit that bans */
	RATE_TRIAL = 8,		/* a test run asks for a packet beyond the rate */
	RATE_COUNTS = 16,
	RATE_BY_SOURCES = 32,	/* its first rule matches: its sources decide whether it counts the packet */
	RATE_BY_RULES = 64,	/* its rules decide, and its sources */
};

/* Whether a rule of a limit counts the packet of the walk. */
static __always_inline int counts(const struct settings *settings, const struct rule *rule, const struct rate_walk *walk)
{
	return matches(settings, rule, &walk->subject) &&
	       (!PART(match) || !has_match(rule) || fits_match(rule, walk->line));
}

static long try_rule(__u32 index, __u32 *line)
{
	struct rate_walk *walk = open_walk();
	const struct settings *settings = lookup_line(SETTINGS_LINE);
	const struct rule *rules = (const void *)policy_line(*line + index / RULES_PER_LINE);

	if (!walk || !settings || !rules)
		return 1;
	if (counts(settings, rules + index % RULES_PER_LINE, walk))
		walk->found = 1;
	return walk->found ? 1 : 0;
}

static long try_source(__u32 index, __u32 *line)
{
	struct rate_walk *walk = open_walk();
	const struct address_range *range = (const void *)policy_line(*line + index / 2);

	if (!walk || !range)
		return 1;
	range += index % 2;
	if ((index < walk->sources4) == walk->subject.ipv6)
		return 0;
	if (is_up_to(range->first_high, range->first_low, walk->source_high, walk->source_low) &&
	    is_up_to(walk->source_high, walk->source_low, range->last_high, range->last_low))
		walk->found = 1;
	return walk->found ? 1 : 0;
}

/*
 * Whether the details of the limit at a line match the packet. `is_ruled`: its first rule does. A global function for the
 * verifier's sake, as judge_class.
 */
__noinline int match_details(__u32 number, __u32 is_ruled)
{
	const struct settings *settings = lookup_line(SETTINGS_LINE);
	const struct rate_limit *limit = (const void *)policy_line(number);
	struct rate_walk *walk = open_walk();
	__u32 line;

	if (!settings || !limit || !walk)
		return 0;
	line = walk->line + limit->more;
	if (!is_ruled && !counts(settings, &limit->first, walk)) {
		walk->found = 0;
		bpf_loop(limit->rules - 1, try_rule, &line, 0);
		if (!walk->found)
			return 0;
	}
	if (!limit->sources)
		return 1;
	line += (limit->rules + RULES_PER_LINE - 2) / RULES_PER_LINE;
	walk->found = 0;
	walk->sources4 = limit->sources4;
	bpf_loop(limit->sources, try_source, &line, 0);
	return walk->found;
}

/* Reads the addresses of the packet's IP header, wherever it lies in the frame. -1: it is not there. */
static __always_inline int read_ends(struct xdp_md *ctx, struct rate_walk *walk)
{
	const __u32 size = walk->subject.ipv6 ? 32 : 8, at = walk->network + (walk->subject.ipv6 ? 8 : 12);
	const __be32 *words = frame_at(ctx, at);

	if ((const void *)(words + 8) > frame_end(ctx)) {
		if (bpf_xdp_load_bytes(ctx, at, walk->words, 8) ||
		    (size > 8 && bpf_xdp_load_bytes(ctx, at + 8, walk->words + 2, 24)))
			return -1;
		words = walk->words;
	}
	walk->has_ends = 1;
	if (walk->subject.ipv6) {
		walk->source_high = half_of(words);
		walk->source_low = half_of(words + 2);
		walk->destination_high = half_of(words + 4);
		walk->destination_low = half_of(words + 6);
		return 0;
	}
	walk->source_high = 0;
	walk->destination_high = 0;
	walk->source_low = IPV4_IN_IPV6 | bpf_ntohl(words[0]);
	walk->destination_low = IPV4_IN_IPV6 | bpf_ntohl(words[1]);
	return 0;
}

/* The group of a packet among those of struct rate_candidates. `head`: as in struct packet; `kind`: kind_of. */
static __always_inline __u32 rate_group(__u32 head, __u32 kind)
{
	const __u32 port = (__u16)head, protocol = (__u16)kind;

	if ((__u8)(kind >> 16) == TRANSPORT_PORTS)
		return ((port ^ port >> 6 ^ port >> 12) & (RATE_PORTS - 1)) + (protocol == IPPROTO_UDP ? RATE_PORTS : 0);
	return 2 * RATE_PORTS + ((protocol ^ protocol >> 3) & (RATE_PROTOCOLS - 1));
}

/* Bits of the limits that may count packets of a group: all others are not even looked at. */
static __always_inline __u64 candidates_of(const struct rate_header *header, __u32 line, __u32 group)
{
	const struct rate_candidates *candidates;

	if (!header->candidates)
		return header->count < RATE_LIMITS ? (1ull << header->count) - 1 : ~0ull;
	candidates = (const void *)policy_line(line + header->candidates + group / RATE_GROUPS_A_LINE);
	return candidates ? candidates->limits[group % RATE_GROUPS_A_LINE] : 0;
}

/*
 * Whether the first rule of a limit counts the packet of the walk, or may count it by what match_details compares: enum
 * rate_outcome; 0: no. Of a packet that it may count, the addresses are read.
 */
static __always_inline __u32 glance_at_rate(struct xdp_md *ctx, const struct settings *settings, const struct rate_limit *limit,
					    struct rate_walk *walk)
{
	__u32 found, is_first;

	if (PART(rate_sources) && limit->flags & RATE_SOURCED && !is_source(walk, limit))
		return 0;
	/* A struct match is compared by match_details, for the stack's sake. */
	is_first = matches(settings, &limit->first, &walk->subject);
	if (is_first && (!PART(match) || !has_match(&limit->first)))
		found = limit->sources ? RATE_BY_SOURCES : RATE_COUNTS;
	else if (is_first || limit->rules > 1)
		found = RATE_BY_RULES;
	else
		return 0;
	return walk->has_ends || !read_ends(ctx, walk) ? found : 0;
}

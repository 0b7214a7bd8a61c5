/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Walks of all bans, under the lock of the bans as their changes: removal of expired ones, a new filter, their number. */
#pragma once

#include "ban_write.h"

struct ban_walk {
	struct ban_state *state;
	__u64 now;
	__u64 next;		/* earliest expiry of the remaining bans; 0 = none */
	__u32 live;
	__u32 half;		/* of the filter, to fill */
	__u32 words;
};

static long sweep_ban(void *map, struct ban_key *key, struct ban *ban, struct ban_walk *walk)
{
	struct ban_key copy = *key;

	if (ban->expires == 0)
		return 0;
	if (walk->now >= ban->expires) {
		if (!bpf_map_delete_elem(&bans, &copy))
			count_out(walk->state, &copy);
	} else if (walk->next == 0 || ban->expires < walk->next) {
		walk->next = ban->expires;
	}
	return 0;
}

static long clear_line(__u32 index, struct ban_walk *walk)
{
	__u32 number = (walk->half * walk->words) / BAN_WORDS_A_LINE + index;
	struct line *line = bpf_map_lookup_elem(&ban_filter, &number);

	if (!line)
		return 1;
	__builtin_memset(line, 0, sizeof(*line));
	return 0;
}

static long enter_ban(void *map, struct ban_key *key, struct ban *ban, struct ban_walk *walk)
{
	enter_half(key, walk->half, walk->words);
	return 0;
}

/* Fills the half of the filter that is not read, and makes it the one that is. */
static __always_inline void refill_filter(struct ban_walk *walk)
{
	walk->half = !walk->state->half;
	bpf_loop((walk->words + BAN_WORDS_A_LINE - 1) / BAN_WORDS_A_LINE, clear_line, walk, 0);
	bpf_for_each_map_elem(&bans, enter_ban, walk, 0);
	/* An exchange, because it is a barrier too. */
	__sync_lock_test_and_set(&walk->state->half, walk->half);
	walk->state->removed = 0;
}

/*
 * Removes expired bans, and fills the filter again where it is worn; walks nothing before the first ban can have expired.
 * Returns 0.
 */
static __always_inline int sweep_bans(void)
{
	struct ban_walk walk = {
		.state = own_ban_state(),
		.now = bpf_ktime_get_boot_ns(),
		.words = filter_words(bans_shift()),
	};

	if (!walk.state)
		return 0;
	if (may_be_over(walk.state, walk.now)) {
		bpf_for_each_map_elem(&bans, sweep_ban, &walk, 0);
		walk.state->next_expiry = walk.next;
	}
	if (is_worn(walk.state, walk.words))
		refill_filter(&walk);
	return 0;
}

static long count_ban(void *map, struct ban_key *key, struct ban *ban, struct ban_walk *walk)
{
	walk->live += ban->expires == 0 || walk->now < ban->expires;
	return 0;
}

/* Stores the time and the number of unexpired bans in the state. Returns 0. */
static __always_inline int count_bans(void)
{
	struct ban_walk walk = { .state = own_ban_state(), .now = bpf_ktime_get_boot_ns() };

	if (!walk.state)
		return 0;
	if (!may_be_over(walk.state, walk.now))
		walk.live = walk.state->entries;
	else
		bpf_for_each_map_elem(&bans, count_ban, &walk, 0);
	walk.state->live = walk.live;
	walk.state->now = walk.now;
	return 0;
}

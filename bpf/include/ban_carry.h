/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Bans of the previous generation, for a table of another size or a filter that is new. */
#pragma once

#include "ban_write.h"

/* linux/errno.h */
#define ERROR_EXISTS 17

enum ban_carried {
	CARRIED = 0,
	CARRIED_FULL = 1,
	CARRIED_NO_MEMORY = 2,
};

/* As `previous` is the policy of the previous generation: its bans, which may be the same map. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct ban_key);
	__type(value, struct ban);
	__uint(max_entries, 1);
} bans_before SEC(".maps");

struct ban_carry {
	struct ban_state *state;
	__u64 now;
	__u32 words;
	__u32 result;		/* enum ban_carried */
};

/* Bans that were written into both tables meanwhile are the later ones. */
static long carry_ban(void *map, struct ban_key *key, struct ban *ban, struct ban_carry *carry)
{
	struct ban_key copy = *key;
	long error;

	if (ban->expires != 0 && carry->now >= ban->expires)
		return 0;
	error = bpf_map_update_elem(&bans, &copy, ban, BPF_NOEXIST);
	if (error && error != -ERROR_EXISTS) {
		carry->result = error == -ERROR_TOO_BIG ? CARRIED_FULL : CARRIED_NO_MEMORY;
		return 1;
	}
	enter_filter(&copy, carry->words);
	if (error)
		return 0;
	expect_expiry(carry->state, ban->expires);
	count_in(carry->state, &copy);
	return 0;
}

/* Returns an enum ban_carried. */
static __always_inline int carry_bans(void)
{
	struct ban_carry carry = {
		.state = own_ban_state(),
		.now = bpf_ktime_get_boot_ns(),
		.words = filter_words(bans_shift()),
	};

	if (!carry.state)
		return CARRIED_NO_MEMORY;
	bpf_for_each_map_elem(&bans_before, carry_ban, &carry, 0);
	return carry.result;
}

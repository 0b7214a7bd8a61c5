/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Bans, the reading half: whether an address is banned now. A hash lookup for each prefix length in use; where none of
 * the family is in use, one branch. The clock is read on a hit alone.
 */
#pragma once

#include "abi.h"
#include "maps.h"

#define FAMILY_IPV4 4
#define FAMILY_IPV6 6

struct ban_search {
	__u64 high;
	__u64 low;
	const struct ban_state *state;
	__u32 family;
	__u32 found;		/* length + 1 of the prefix that bans; 0 = none */
};

static __always_inline const struct ban_state *lookup_ban_state(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&ban_state, &zero);
}

/* Whether a ban is over. */
static __always_inline int is_over(const struct ban *ban)
{
	return ban->expires != 0 && bpf_ktime_get_boot_ns() >= ban->expires;
}

/* The first `length` bits set, of 64. */
static __always_inline __u64 prefix_mask(__u32 length)
{
	if (length >= 64)
		return ~0ull;
	return length == 0 ? 0 : ~0ull << ((64 - length) & 63);
}

static long search_ban(__u32 index, struct ban_search *search)
{
	const struct ban_state *state = search->state;
	struct ban_key key = { .family = search->family };
	const struct ban *ban;
	__u32 place;

	if (search->family == FAMILY_IPV4) {
		if (index >= BAN_LENGTHS4)
			return 1;
		place = state->lengths4[index];
	} else {
		if (index >= BAN_LENGTHS6)
			return 1;
		place = state->lengths6[index];
	}
	if (place == 0)
		return 0;
	key.length = place - 1;
	key.high = search->high & prefix_mask(key.length);
	key.low = key.length <= 64 ? 0 : search->low & prefix_mask(key.length - 64);
	ban = bpf_map_lookup_elem(&bans, &key);
	if (!ban || is_over(ban))
		return 0;
	search->found = place;
	return 1;
}

/*
 * Length + 1 of a prefix that bans the address, or 0. A global function, because the verifier checks those once and
 * alone.
 */
__noinline __u32 search_bans(__u64 high, __u64 low, __u32 family)
{
	struct ban_search search = { .high = high, .low = low, .family = family, .state = lookup_ban_state() };

	if (!search.state)
		return 0;
	bpf_loop(family == FAMILY_IPV4 ? search.state->places4 : search.state->places6, search_ban, &search, 0);
	return search.found;
}

/* As search_bans, for an address in host order. */
static __always_inline __u32 lookup_ban4(__u32 address)
{
	const struct ban_state *state = lookup_ban_state();

	return state && state->places4 ? search_bans((__u64)address << 32, 0, FAMILY_IPV4) : 0;
}

static __always_inline __u32 lookup_ban6(__u64 high, __u64 low)
{
	const struct ban_state *state = lookup_ban_state();

	return state && state->places6 ? search_bans(high, low, FAMILY_IPV6) : 0;
}

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Lookup of bans: whether an address is banned now. One word of the filter for each prefix length in use, and a hash lookup
 * where its bits are set; one branch if none of the family is in use, and no loop if one is, the most frequent case.
 */
#pragma once

#include "abi.h"
#include "ban_filter.h"
#include "clock.h"
#include "maps.h"

#define FAMILY_IPV4 4
#define FAMILY_IPV6 6

/* Beside the length + 1 of a prefix: its ban only observes, and there is no other. */
#define OBSERVED 0x100

struct ban_search {
	__u64 high;
	__u64 low;
	const struct ban_state *state;
	__u32 family;
	__u32 found;		/* length + 1 of the banned prefix, or of an observed one with OBSERVED; 0 = none */
	__u32 words;		/* of a half of the filter */
};

static __always_inline const struct ban_state *lookup_ban_state(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&ban_state, &zero);
}

/* Whether a ban has expired. */
static __always_inline int is_over(const struct ban *ban)
{
	return ban->expires != 0 && boot_now() >= ban->expires;
}

/* Mask of the first `length` of 64 bits. */
static __always_inline __u64 prefix_mask(__u32 length)
{
	if (length >= 64)
		return ~0ull;
	return length == 0 ? 0 : ~0ull << ((64 - length) & 63);
}

/* `place`, if the prefix of the address with the length in it is banned, with OBSERVED; else 0. `half`: of the filter. */
static __always_inline __u32 find_ban(__u64 high, __u64 low, __u32 family, __u32 place, __u32 half, __u32 words)
{
	struct ban_key key = { .family = family, .length = place - 1 };
	const struct ban *ban;

	if (place == 0)
		return 0;
	key.high = high & prefix_mask(key.length);
	key.low = key.length <= 64 ? 0 : low & prefix_mask(key.length - 64);
	if (!may_be_banned(&key, half, words))
		return 0;
	ban = bpf_map_lookup_elem(&bans, &key);
	if (!ban || is_over(ban))
		return 0;
	return ban->flags & BAN_OBSERVE ? place | OBSERVED : place;
}

/* Whether packets are dropped: the result of a search is a prefix that is banned, not only observed. */
static __always_inline int is_enforced(__u32 banned)
{
	return banned != 0 && !(banned & OBSERVED);
}

static long search_ban(__u32 index, struct ban_search *search)
{
	const struct ban_state *state = search->state;
	__u32 place;

	index++;
	if (search->family == FAMILY_IPV4) {
		if (index >= BAN_LENGTHS4)
			return 1;
		place = state->lengths4[index];
	} else {
		if (index >= BAN_LENGTHS6)
			return 1;
		place = state->lengths6[index];
	}
	place = find_ban(search->high, search->low, search->family, place, state->half, search->words);
	if (place)
		search->found = place;
	return is_enforced(place);
}

/*
 * Length + 1 of a banned prefix that covers the address, with OBSERVED if no ban does more, or 0. A global function, because the verifier checks those
 * once and separately.
 */
__noinline __u32 search_bans(__u64 high, __u64 low, __u32 family)
{
	struct ban_search search = { .high = high, .low = low, .family = family, .state = lookup_ban_state() };
	__u32 places, first;

	if (!search.state)
		return 0;
	search.words = filter_words(bans_shift());
	places = family == FAMILY_IPV4 ? search.state->places4 : search.state->places6;
	first = family == FAMILY_IPV4 ? search.state->lengths4[0] : search.state->lengths6[0];
	search.found = find_ban(high, low, family, first, search.state->half, search.words);
	if (is_enforced(search.found))
		return search.found;
	if (places > 1)
		bpf_loop(places - 1, search_ban, &search, 0);
	return search.found;
}

/* search_bans for an IPv4 address in host order. */
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

/*
 * Counts a packet that an observed ban would have dropped. Atomic, because there is one counter for all CPUs: such packets
 * are few, or the ban is about to be enforced. A global function, because it is rarely needed.
 */
__noinline int count_observed(__u32 bytes)
{
	__u32 zero = 0;
	struct ban_state *state = bpf_map_lookup_elem(&ban_state, &zero);

	if (!state)
		return 0;
	__sync_fetch_and_add(&state->observed_packets, 1);
	__sync_fetch_and_add(&state->observed_bytes, bytes);
	return 0;
}

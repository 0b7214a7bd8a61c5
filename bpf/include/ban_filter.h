/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The filter in front of the bans; see abi_bans.h. */
#pragma once

#include "abi.h"
#include "addr.h"
#include "maps.h"

#define SETTINGS_LINE 0

/* Sized by user space for the size of the table: BPF_F_MMAPABLE as for the policy. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct line);
	__uint(max_entries, 1);
} ban_filter SEC(".maps");

/* The place of a ban in one half of the filter. */
struct ban_place {
	__u32 word;
	__u64 bits;
};

/* The power of two that is the size of the table. */
static __always_inline __u32 bans_shift(void)
{
	const struct settings *settings = (const void *)policy_line(SETTINGS_LINE);

	return settings ? settings->flags >> BANS_SETTING_SHIFT ^ BANS_SHIFT : BANS_SHIFT;
}

/* Words of a half, a power of two. */
static __always_inline __u32 filter_words(__u32 shift)
{
	return 1u << ((shift - BAN_WORDS_SHIFT) & 31);
}

/*
 * A sender who knows the hash gains nothing but the lookup that the filter saves: it needs no secret. The multipliers are
 * odd numbers without a pattern (from the fractional parts of square roots).
 */
static __always_inline struct ban_place place_of(const struct ban_key *key, __u32 words)
{
	__u64 hash = (key->high ^ key->length * 0x9e3779b97f4a7c15ull) * 0xbb67ae8584caa73bull;
	struct ban_place place;

	hash = (hash ^ hash >> 32 ^ key->low) * 0x6a09e667f3bcc909ull;
	hash = (hash ^ hash >> 29) * 0xa54ff53a5f1d36f1ull;
	place.word = hash >> 32 & (words - 1);
	place.bits = 1ull << (hash & 63) | 1ull << (hash >> 6 & 63) | 1ull << (hash >> 12 & 63) | 1ull << (hash >> 18 & 63);
	return place;
}

static __always_inline __u64 *filter_word(__u32 half, __u32 words, __u32 word)
{
	__u32 index = (half ? words : 0) + word;
	__u32 number = index / BAN_WORDS_A_LINE;
	struct line *line = bpf_map_lookup_elem(&ban_filter, &number);

	return line ? &line->word[index % BAN_WORDS_A_LINE] : 0;
}

/* Whether a prefix may be banned. A filter that is not there excludes nothing. */
static __always_inline int may_be_banned(const struct ban_key *key, __u32 half, __u32 words)
{
	const struct ban_place place = place_of(key, words);
	const __u64 *word = filter_word(half, words, place.word);

	return !word || (*word & place.bits) == place.bits;
}

/* Sets the bits of a ban in one half. Other CPUs may set others. */
static __always_inline void enter_half(const struct ban_key *key, __u32 half, __u32 words)
{
	const struct ban_place place = place_of(key, words);
	__u64 *word = filter_word(half, words, place.word);

	if (word)
		__sync_fetch_and_or(word, place.bits);
}

/*
 * Enters a ban that is in the map already: of two that run at once, a walk of the map that fills a half finds it there, or
 * its bits are set after the half was cleared.
 */
static __always_inline void enter_filter(const struct ban_key *key, __u32 words)
{
	enter_half(key, 0, words);
	enter_half(key, 1, words);
}

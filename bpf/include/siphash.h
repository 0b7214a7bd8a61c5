/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * SipHash-1-3 of a few 64-bit words: a keyed hash whose collisions nobody can choose without the key (Aumasson and
 * Bernstein, "SipHash: a fast short-input PRF"; the kernel's HSIPHASH has as many rounds).
 */
#pragma once

#include <linux/types.h>

struct siphash {
	__u64 v0, v1, v2, v3;
};

static __always_inline __u64 rotated(__u64 word, int bits)
{
	return word << bits | word >> (64 - bits);
}

static __always_inline void sip_round(struct siphash *state)
{
	state->v0 += state->v1;
	state->v1 = rotated(state->v1, 13) ^ state->v0;
	state->v0 = rotated(state->v0, 32);
	state->v2 += state->v3;
	state->v3 = rotated(state->v3, 16) ^ state->v2;
	state->v0 += state->v3;
	state->v3 = rotated(state->v3, 21) ^ state->v0;
	state->v2 += state->v1;
	state->v1 = rotated(state->v1, 17) ^ state->v2;
	state->v2 = rotated(state->v2, 32);
}

static __always_inline struct siphash sip_start(__u64 key0, __u64 key1)
{
	struct siphash state = {
		.v0 = key0 ^ 0x736f6d6570736575ull,
		.v1 = key1 ^ 0x646f72616e646f6dull,
		.v2 = key0 ^ 0x6c7967656e657261ull,
		.v3 = key1 ^ 0x7465646279746573ull,
	};

	return state;
}

static __always_inline void sip_add(struct siphash *state, __u64 word)
{
	state->v3 ^= word;
	sip_round(state);
	state->v0 ^= word;
}

/* `size`: bytes that were added, a multiple of 8. */
static __always_inline __u64 sip_end(struct siphash *state, __u64 size)
{
	sip_add(state, size << 56);
	state->v2 ^= 0xff;
	sip_round(state);
	sip_round(state);
	sip_round(state);
	return state->v0 ^ state->v1 ^ state->v2 ^ state->v3;
}

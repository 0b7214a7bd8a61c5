/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * SipHash-1-3 (Aumasson, Bernstein, INDOCRYPT 2012) of 64-bit words, which src/semantics/sip-hash.ts implements too, and the
 * hash that chooses a flow's backend: with the key of the config it stays secret from clients that see which backends they
 * get.
 */
#pragma once

#include "addr.h"
#include "flow.h"

struct sip_state {
	__u64 v0;
	__u64 v1;
	__u64 v2;
	__u64 v3;
};

static __always_inline __u64 rotated(__u64 number, const __u32 bits)
{
	return number << bits | number >> (64 - bits);
}

static __always_inline void sip_round(struct sip_state *state)
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

static __always_inline void sip_add(struct sip_state *state, __u64 word)
{
	state->v3 ^= word;
	sip_round(state);
	state->v0 ^= word;
}

static __always_inline struct sip_state sip_start(__u64 key0, __u64 key1)
{
	struct sip_state state = {
		.v0 = key0 ^ 0x736f6d6570736575ull,
		.v1 = key1 ^ 0x646f72616e646f6dull,
		.v2 = key0 ^ 0x6c7967656e657261ull,
		.v3 = key1 ^ 0x7465646279746573ull,
	};

	return state;
}

/* `size`: bytes that were added, a multiple of 8. */
static __always_inline __u64 sip_end(struct sip_state *state, __u64 size)
{
	sip_add(state, size << 56);
	state->v2 ^= 0xff;
	sip_round(state);
	sip_round(state);
	sip_round(state);
	return state->v0 ^ state->v1 ^ state->v2 ^ state->v3;
}

/* A global function, because only the first packet of a flow needs it, and only with a key. */
__noinline __u64 sip_hash(const struct flow *flow, const struct hash_key *key, int by_source)
{
	struct sip_state state;

	if (!flow || !key)
		return 0;
	state = sip_start(key->word[0], key->word[1]);
	sip_add(&state, flow->source_high);
	sip_add(&state, flow->source_low);
	if (!by_source) {
		sip_add(&state, flow->destination_high);
		sip_add(&state, flow->destination_low);
		sip_add(&state, flow_scope(flow));
	}
	return sip_end(&state, (by_source ? 2 : 5) * sizeof(__u64));
}

/* The key of the config, or 0. */
static __always_inline const struct hash_key *lookup_hash_key(void)
{
	const __u32 *words = (const void *)policy_line(HASH_KEY_LINE);
	__u32 line = words ? words[HASH_KEY_AT] : 0;

	return line ? (const struct hash_key *)policy_line(line) : 0;
}

static __always_inline __u64 choice_hash(const struct flow *flow, int by_source)
{
	const struct hash_key *key = lookup_hash_key();

	return key ? sip_hash(flow, key, by_source) : hash_flow(flow, by_source);
}

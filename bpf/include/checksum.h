/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Internet checksums (RFC 1071), mostly updated by the difference (RFC 1624) instead of recomputed. Sums are kept in 64
 * bits and folded once. Words are used in packet order: the sum is equal in either byte order, as long as its result is
 * stored in that order too.
 */
#pragma once

#include "parse.h"

/* Folds to 16 bits, adding the carries back in. */
static __always_inline __u16 fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* Growth of a sum when a word is replaced. */
static __always_inline __u64 replaced32(__u32 old, __u32 new)
{
	return (__u64)(__u32)~old + new;
}

static __always_inline __u64 replaced16(__u16 old, __u16 new)
{
	return (__u64)(__u16)~old + new;
}

/* The checksum of data whose sum grew: HC' = ~(~HC + ~m + m'), RFC 1624 §3. */
static __always_inline __u16 adjusted(__u16 checksum, __u64 growth)
{
	return ~fold((__u16)~checksum + growth);
}

/*
 * `adjusted` with 0xffff, the other form of the same value, instead of zero: in UDP, zero means "no checksum" (RFC
 * 768), and for data of zeros alone it would be wrong (RFC 1624 §3).
 */
static __always_inline __u16 adjusted_nonzero(__u16 checksum, __u64 growth)
{
	__u16 changed = adjusted(checksum, growth);

	return changed ? changed : 0xffff;
}

static __always_inline __u64 sum_words(const __u32 *words, int count)
{
	__u64 sum = 0;

#pragma unroll
	for (int i = 0; i < count; i++)
		sum += words[i];
	return sum;
}

/* A sum over bytes of a packet, one word per turn. */
struct summing {
	struct xdp_md *ctx;
	__u64 sum;
	__u32 offset;
	__u32 failed;
};

static long sum_packet_word(__u32 index, struct summing *summing)
{
	void *data = frame_start(summing->ctx);
	const void *end = frame_end(summing->ctx);
	__u32 at = summing->offset + index * 4;
	const __u32 *word;

	if (at > LINEAR_LIMIT) {
		summing->failed = 1;
		return 1;
	}
	word = data + at;
	if ((void *)(word + 1) > end) {
		summing->failed = 1;
		return 1;
	}
	summing->sum += *word;
	return 0;
}

/* The sum of `size` bytes of the frame from `at` on, a multiple of 4. For rare paths. */
__noinline __u64 sum_range(struct xdp_md *ctx, __u32 at, __u32 size)
{
	struct summing summing = { .ctx = ctx, .offset = at };

	bpf_loop(size / 4, sum_packet_word, &summing, 0);
	return summing.sum;
}

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Internet checksums (RFC 1071), mostly adjusted by what changed (RFC 1624) instead of summed anew. Sums are kept in 64
 * bits and folded once. Words are taken as they lie in the packet: the sum is the same in either byte order, as long as
 * its result is stored like that too.
 */
#pragma once

#include "parse.h"

/* To 16 bits, with the carries added back in. */
static __always_inline __u16 fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* What a sum grows by when a word is replaced. */
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

/* RFC 768: zero says that there is no checksum, so a sum of zero is sent as its other form. */
static __always_inline __u16 adjusted_udp(__u16 checksum, __u64 growth)
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

/* A sum of bytes of a packet, a word each turn. */
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

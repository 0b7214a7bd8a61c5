/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Work on policy lines inside the kernel: copying those of the previous generation, and computing digests that prove
 * the content of lines. `bpftool prog run … data_in FILE data_out FILE` sends a struct progress with its spans; every
 * such run continues where the previous one stopped. Never attached.
 *
 * Both return XDP_PASS if all spans are done, XDP_TX if there is more to do, XDP_ABORTED after a failure.
 */
#pragma once

#include "abi.h"
#include "maps.h"

struct walker {
	struct xdp_md *ctx;
	struct progress progress;
	struct span span;
};

static __always_inline __u32 rotate(__u32 value, __u32 bits)
{
	return value << bits | value >> (32 - bits);
}

/*
 * Adds a line to a digest. `number`: of the line in its section, so that exchanged lines change the digest. Each of the
 * line's eight words goes through a bijection of the 64-bit lane pair, and the digest is the sum over lines: a single
 * wrong word always changes it, any other damage does except for one chance in 2^64, and user space can subtract a line
 * and add another. 32-bit arithmetic, because it is the only fast one in JavaScript.
 */
static __always_inline void digest_line(const struct line *line, __u32 number, __u32 digest[2])
{
	__u32 a = number * 0x9e3779b1u ^ 0x85ebca6bu;
	__u32 b = number + 0xc2b2ae35u;
	__u64 any = 0;

#pragma unroll
	for (int i = 0; i < 8; i++) {
		__u64 word = line->word[i];

		any |= word;
		a = (a ^ (__u32)word) * 0x85ebca77u;
		b = (b ^ (__u32)(word >> 32)) * 0xc2b2ae3du;
		a += rotate(b, 13);
		b ^= rotate(a, 7);
	}
	/* An empty line counts the same at any position. */
	if (!any)
		return;
	a = (a ^ a >> 15) * 0x2c1b3c6du;
	b = (b ^ b >> 16 ^ a) * 0x297a2d39u;
	a += rotate(b, 11);
	digest[0] += a ^ a >> 15;
	digest[1] += b ^ b >> 16;
}

/* Loads the span to continue with. Returns 1 after the last span. */
static __always_inline int load_span(struct walker *walker)
{
	__u32 offset = sizeof(struct progress) + walker->progress.span * sizeof(struct span);

	if (walker->progress.span >= walker->progress.count)
		return 1;
	if (bpf_xdp_load_bytes(walker->ctx, offset, &walker->span, sizeof(walker->span))) {
		walker->progress.failed = 1;
		return 1;
	}
	return 0;
}

/* Stores the completed span, and loads the next. Returns 1 after the last span. */
static __always_inline int next_span(struct walker *walker)
{
	__u32 offset = sizeof(struct progress) + walker->progress.span * sizeof(struct span);
	struct progress *progress = &walker->progress;

	walker->span.digest[0] = progress->digest[0];
	walker->span.digest[1] = progress->digest[1];
	if (bpf_xdp_store_bytes(walker->ctx, offset, &walker->span, sizeof(walker->span))) {
		progress->failed = 1;
		return 1;
	}
	progress->span++;
	progress->line = 0;
	progress->digest[0] = 0;
	progress->digest[1] = 0;
	return load_span(walker);
}

static long copy_turn(__u32 index, struct walker *walker)
{
	__u32 line = walker->progress.line;
	__u32 to = walker->span.extent.first + line;
	__u32 from = walker->span.origin + line;
	const struct line *source;
	struct line *target;

	if (line >= walker->span.extent.lines)
		return next_span(walker);
	source = bpf_map_lookup_elem(&previous, &from);
	target = bpf_map_lookup_elem(&policy, &to);
	if (!source || !target) {
		walker->progress.failed = 1;
		return 1;
	}
	*target = *source;
	walker->progress.line = line + 1;
	return 0;
}

static long digest_turn(__u32 index, struct walker *walker)
{
	__u32 number = walker->progress.line;
	__u32 key = walker->span.extent.first + number;
	const struct line *line;

	if (number >= walker->span.extent.lines)
		return next_span(walker);
	line = bpf_map_lookup_elem(&policy, &key);
	if (!line) {
		walker->progress.failed = 1;
		return 1;
	}
	digest_line(line, walker->span.origin + number, walker->progress.digest);
	walker->progress.line = number + 1;
	return 0;
}

/* Data: a struct progress and its spans. `turn` processes a line, or ends a span. */
static __always_inline int walk_spans(struct xdp_md *ctx, long (*turn)(__u32, struct walker *))
{
	struct walker walker = { .ctx = ctx };

	if (bpf_xdp_load_bytes(ctx, 0, &walker.progress, sizeof(walker.progress)) || walker.progress.count > WALK_SPANS)
		return XDP_ABORTED;
	if (!walker.progress.failed && !load_span(&walker))
		bpf_loop(WALK_TURNS, turn, &walker, 0);
	if (bpf_xdp_store_bytes(ctx, 0, &walker.progress, sizeof(walker.progress)) || walker.progress.failed)
		return XDP_ABORTED;
	return walker.progress.span < walker.progress.count ? XDP_TX : XDP_PASS;
}

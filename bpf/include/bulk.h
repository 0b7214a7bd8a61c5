/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Bulk I/O of the policy, 64 KiB per test run instead of one system call per line: `bpftool prog run … data_in FILE`
 * sends a transfer line and the policy's lines after it. Never attached.
 *
 * Both return XDP_PASS if every line was copied, else XDP_ABORTED; lines copied before the failure stay.
 */
#pragma once

#include "abi.h"
#include "maps.h"

struct bulk {
	struct xdp_md *ctx;
	__u32 line;		/* next line of the policy */
	__u32 copied;		/* lines so far = position in the data */
	__u32 failed;
};

static __always_inline __u32 bulk_offset(const struct bulk *bulk)
{
	return sizeof(struct transfer) + bulk->copied * LINE_SIZE;
}

/*
 * Stores a line word by word, in ascending order, because the data plane may be reading it: an apply rewrites the next
 * hops of the live generation. The MAC address of a backend lies within one word, which read_macs loads at once, and
 * its `ifindex`, without which it gets no packet, in a later one.
 */
static long bulk_write_line(__u32 index, struct bulk *bulk)
{
	__u32 key = bulk->line;
	struct line *line = bpf_map_lookup_elem(&policy, &key);
	struct line content;

	if (!line || bpf_xdp_load_bytes(bulk->ctx, bulk_offset(bulk), &content, sizeof(content))) {
		bulk->failed = 1;
		return 1;
	}
#pragma unroll
	for (__u32 i = 0; i < LINE_SIZE / sizeof(__u64); i++)
		*(volatile __u64 *)&line->word[i] = content.word[i];
	bulk->line++;
	bulk->copied++;
	return 0;
}

static long bulk_read_line(__u32 index, struct bulk *bulk)
{
	__u32 key = bulk->line;
	struct line *line = bpf_map_lookup_elem(&policy, &key);

	if (!line || bpf_xdp_store_bytes(bulk->ctx, bulk_offset(bulk), line, LINE_SIZE)) {
		bulk->failed = 1;
		return 1;
	}
	bulk->line++;
	bulk->copied++;
	return 0;
}

/* Kernels reject too many loops with a negative error or a positive one, so compare the count. */
static __always_inline void bulk_loop(struct bulk *bulk, __u32 lines, void *copy)
{
	if ((__u32)bpf_loop(lines, copy, bulk, 0) != lines)
		bulk->failed = 1;
}

/* Data: a struct transfer, then the lines of its extents in order. Copies them into the policy. */
static __always_inline int bulk_write(struct xdp_md *ctx)
{
	struct bulk bulk = { .ctx = ctx };
	struct transfer transfer;

	if (bpf_xdp_load_bytes(ctx, 0, &transfer, sizeof(transfer)) || transfer.count > TRANSFER_EXTENTS)
		return XDP_ABORTED;
	for (__u32 i = 0; i < TRANSFER_EXTENTS; i++) {
		if (i >= transfer.count)
			break;
		bulk.line = transfer.extents[i].first;
		bulk_loop(&bulk, transfer.extents[i].lines, bulk_write_line);
	}
	return bulk.failed ? XDP_ABORTED : XDP_PASS;
}

/*
 * Data: a struct transfer, then room for the lines of its extents. Copies the lines there, and stores their number in
 * `result`.
 */
static __always_inline int bulk_read(struct xdp_md *ctx)
{
	struct bulk bulk = { .ctx = ctx };
	struct transfer transfer;

	if (bpf_xdp_load_bytes(ctx, 0, &transfer, sizeof(transfer)) || transfer.count > TRANSFER_EXTENTS)
		return XDP_ABORTED;
	for (__u32 i = 0; i < TRANSFER_EXTENTS; i++) {
		if (i >= transfer.count)
			break;
		bulk.line = transfer.extents[i].first;
		bulk_loop(&bulk, transfer.extents[i].lines, bulk_read_line);
	}
	transfer.result = bulk.copied;
	if (bpf_xdp_store_bytes(ctx, 0, &transfer, sizeof(transfer)))
		return XDP_ABORTED;
	return bulk.failed ? XDP_ABORTED : XDP_PASS;
}

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Many packets in one test run. The kernel hands the packet of a run to each repetition as the one before left it, so the
 * program ends by making it the next one. Before and after a run that repeats, the kernel waits for a grace period (its
 * XDP dispatcher changes), so a run should judge thousands of packets.
 *
 * A packet that the balancer lengthens or shortens ends the batch: the offsets behind it would no longer hold.
 */
#pragma once

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "abi.h"

/* Whether the run is a batch that has ended early. */
static __noinline int has_ended(struct xdp_md *ctx)
{
	const struct test_batch *batch = (void *)(long)ctx->data_meta;

	return (const void *)(batch + 1) <= (void *)(long)ctx->data && !batch->at;
}

/*
 * Stores an explanation in the record of its packet, and makes the packet that of the next record. Returns whether the run
 * is a batch. The checksums stay those of the first packet; no verdict depends on them.
 */
static __noinline int turn_record(struct xdp_md *ctx, struct explanation *explanation)
{
	struct test_batch *batch = (void *)(long)ctx->data_meta;
	struct batch_record next;
	__u32 at, size, offset;

	if (!explanation || (void *)(batch + 1) > (void *)(long)ctx->data)
		return 0;
	at = batch->at;
	size = batch->size;
	offset = batch->offset;
	if (size < sizeof(*explanation) || size > sizeof(next) || bpf_xdp_get_buff_len(ctx) != batch->length ||
	    bpf_xdp_store_bytes(ctx, at, explanation, sizeof(*explanation))) {
		batch->at = 0;
		return 1;
	}
	at += size;
	batch->at = at;
	if (bpf_xdp_load_bytes(ctx, at, &next, size))
		return 1;
	batch->run = next.run;
	bpf_xdp_store_bytes(ctx, offset, next.bytes, size - sizeof(next.run));
	return 1;
}

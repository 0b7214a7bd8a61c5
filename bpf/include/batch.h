/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Many packets in one test run. The kernel hands the packet of a run to each repetition as the one before left it, so the
 * program ends with the next packet in its place. Starting a run for each packet would take a hundred times as long.
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

/* Stores an explanation in the record of its packet, and puts the packet of the next record in its place. */
static __noinline int turn_record(struct xdp_md *ctx, struct explanation *explanation)
{
	struct test_batch *batch = (void *)(long)ctx->data_meta;
	struct batch_record next;
	__u32 at;

	if (!explanation || (void *)(batch + 1) > (void *)(long)ctx->data || !batch->at)
		return 0;
	at = batch->at;
	if (bpf_xdp_get_buff_len(ctx) != batch->length || bpf_xdp_store_bytes(ctx, at, explanation, sizeof(*explanation))) {
		batch->at = 0;
		return 0;
	}
	batch->at = at + sizeof(next);
	if (bpf_xdp_load_bytes(ctx, at + sizeof(next), &next, sizeof(next)))
		return 0;
	batch->run = next.run;
	bpf_xdp_store_bytes(ctx, 0, next.packet, sizeof(next.packet));
	return 0;
}

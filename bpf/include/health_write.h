/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Writes health: runs started by `bpftool prog run`. abi_health.h describes their data and the reasons. */
#pragma once

#include "abi.h"
#include "addr.h"
#include "maps.h"

/* Line of the policy with struct meta. */
#define META_LINE 2

struct health_run {
	struct xdp_md *ctx;
	__u32 failed;
};

static __always_inline struct line *health_line(__u32 index)
{
	return bpf_map_lookup_elem(&health, &index);
}

static long write_health_record(__u32 index, struct health_run *run)
{
	struct health_record record;
	struct line *line = 0;

	if (!bpf_xdp_load_bytes(run->ctx, sizeof(struct health_header) + index * sizeof(record), &record, sizeof(record)) &&
	    record.byte < HEALTH_SERVICES + SERVICE_SLOTS)
		line = health_line(record.byte / LINE_SIZE);
	if (!line) {
		run->failed = 1;
		return 1;
	}
	((__u8 *)line)[record.byte % LINE_SIZE] = record.value;
	return 0;
}

/*
 * Data: a struct health_header and its records. XDP_PASS if all were stored; XDP_DROP if the map belongs to a later
 * generation and nothing was stored; XDP_ABORTED for invalid data.
 */
static __always_inline int write_health(struct xdp_md *ctx)
{
	struct health_state *state = (void *)health_line(HEALTH_STATE_LINE);
	const struct meta *meta = (const void *)policy_line(META_LINE);
	struct health_run run = { .ctx = ctx };
	struct health_header header;

	if (!state || !meta || bpf_xdp_load_bytes(ctx, 0, &header, sizeof(header)) || header.count > HEALTH_RECORDS)
		return XDP_ABORTED;
	if (state->generation > meta->generation)
		return XDP_DROP;
	if (header.op == HEALTH_CLAIM)
		state->generation = meta->generation;
	bpf_loop(header.count, write_health_record, &run, 0);
	return run.failed ? XDP_ABORTED : XDP_PASS;
}

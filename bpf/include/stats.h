/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Reads counters, summed over CPUs in the kernel: dumping every CPU's value of every counter costs user space megabytes
 * of text on a large machine. Never attached.
 *
 * A run disables softirqs, and the values of other CPUs are not in this one's cache: user space requests few counters
 * per run.
 */
#pragma once

#include "abi.h"
#include "abi_stats.h"
#include "maps.h"

#define META_LINE 2

/* Position of a run: the next key to sum, and the offset of its sum in the data. */
struct stats_walk {
	struct xdp_md *ctx;
	struct counter sum;
	__u32 kind;		/* enum stats_kind */
	__u32 key;		/* of verdict_stats or list_stats */
	__u32 line;		/* of the policy; STATS_LISTS */
	__u32 offset;		/* in the data */
	__u32 first_cpu;
	__u32 cpus;
	__u32 records;		/* number of lists so far */
	__u32 failed;
};

static long stats_add_cpu(__u32 index, struct stats_walk *walk)
{
	__u32 key = walk->key;
	__u32 cpu = walk->first_cpu + index;
	const struct counter *counter;

	if (walk->kind == STATS_LISTS)
		counter = bpf_map_lookup_percpu_elem(&list_stats, &key, cpu);
	else
		counter = bpf_map_lookup_percpu_elem(&verdict_stats, &key, cpu);
	if (!counter)
		return 1;
	walk->sum.packets += counter->packets;
	walk->sum.bytes += counter->bytes;
	return 0;
}

/* Writes the sum of the counter at `key` to `offset`. Returns 1 on failure. */
static __always_inline long stats_write_sum(struct stats_walk *walk)
{
	walk->sum.packets = 0;
	walk->sum.bytes = 0;
	bpf_loop(walk->cpus, stats_add_cpu, walk, 0);
	if (bpf_xdp_store_bytes(walk->ctx, walk->offset, &walk->sum, sizeof(walk->sum))) {
		walk->failed = 1;
		return 1;
	}
	walk->offset += sizeof(walk->sum);
	return 0;
}

/* One reason of one interface slot. Numbers without a reason count nothing and stay zero. */
static long stats_read_reason(__u32 index, struct stats_walk *walk)
{
	long failed = 0;

	if (walk->key % REASON_SLOTS < REASONS)
		failed = stats_write_sum(walk);
	else
		walk->offset += sizeof(walk->sum);
	walk->key++;
	return failed;
}

static long stats_read_list(__u32 index, struct stats_walk *walk)
{
	__u32 line = walk->line++;
	const struct list *list = bpf_map_lookup_elem(&policy, &line);

	/* Other code reports damaged tables: this reads the remaining lists. */
	if (!list)
		return 1;
	if (bpf_xdp_store_bytes(walk->ctx, walk->offset, (void *)list, sizeof(*list))) {
		walk->failed = 1;
		return 1;
	}
	walk->key = list->slot;
	walk->offset += sizeof(*list);
	walk->records++;
	return stats_write_sum(walk);
}

/* Number of requested lists that exist; the walk then begins at the first. */
static __always_inline __u32 stats_find_lists(struct stats_walk *walk, const struct stats_request *request)
{
	__u32 key = META_LINE;
	const struct meta *meta = bpf_map_lookup_elem(&policy, &key);
	__u32 left;

	if (!meta || meta->list_count > LIST_SLOTS || request->first >= meta->list_count)
		return 0;
	left = meta->list_count - request->first;
	walk->line = meta->lists + request->first;
	return request->records < left ? request->records : left;
}

/* Returns XDP_PASS if every existing record was written, else XDP_ABORTED. */
static __always_inline int read_stats(struct xdp_md *ctx)
{
	struct stats_walk walk = { .ctx = ctx, .offset = sizeof(struct stats_request) };
	struct stats_request request;

	if (bpf_xdp_load_bytes(ctx, 0, &request, sizeof(request)))
		return XDP_ABORTED;
	walk.kind = request.kind;
	walk.first_cpu = request.first_cpu;
	walk.cpus = request.cpus;
	if (request.kind == STATS_LISTS) {
		bpf_loop(stats_find_lists(&walk, &request), stats_read_list, &walk, 0);
		request.result = walk.records;
	} else if (request.kind == STATS_INTERFACES && request.records <= INTERFACE_SLOTS) {
		walk.key = request.first * REASON_SLOTS;
		request.result = request.records;
		bpf_loop(request.records * REASON_SLOTS, stats_read_reason, &walk, 0);
	} else {
		return XDP_ABORTED;
	}
	if (bpf_xdp_store_bytes(ctx, 0, &request, sizeof(request)))
		return XDP_ABORTED;
	return walk.failed ? XDP_ABORTED : XDP_PASS;
}

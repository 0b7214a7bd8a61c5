/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Listing bans: a hash can only be walked from its start, so one walk copies it into an array, from which test runs
 * then read a page each. A text dump takes ten times as long.
 */
#pragma once

#include "ban_map.h"

/* The copy. User space creates it with one entry per ban, and removes it after reading. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct ban_record);
	__uint(max_entries, 1);
} ban_records SEC(".maps");

struct ban_copy {
	__u32 count;
};

struct ban_page {
	struct xdp_md *ctx;
	__u32 first;
	__u32 failed;
};

static long copy_ban(void *map, struct ban_key *key, struct ban *ban, struct ban_copy *copy)
{
	__u32 number = copy->count;
	struct ban_record *record = bpf_map_lookup_elem(&ban_records, &number);

	if (!record)
		return 1;
	record->key = *key;
	record->ban = *ban;
	copy->count++;
	return 0;
}

/* Returns the number of copied bans. */
static __always_inline int copy_bans(void)
{
	struct ban_copy copy = {};

	bpf_for_each_map_elem(&bans, copy_ban, &copy, 0);
	return copy.count;
}

static long read_ban(__u32 index, struct ban_page *page)
{
	__u32 number = page->first + index;
	struct ban_record *record = bpf_map_lookup_elem(&ban_records, &number);
	__u32 offset = sizeof(struct ban_page_header) + index * sizeof(*record);

	if (!record || bpf_xdp_store_bytes(page->ctx, offset, record, sizeof(*record))) {
		page->failed = 1;
		return 1;
	}
	return 0;
}

/* Data: a struct ban_page_header, and room for its records. XDP_PASS if all were read. */
static __always_inline int read_ban_page(struct xdp_md *ctx)
{
	struct ban_page page = { .ctx = ctx };
	struct ban_page_header header;

	if (bpf_xdp_load_bytes(ctx, 0, &header, sizeof(header)) || header.count > BAN_RECORDS)
		return XDP_ABORTED;
	page.first = header.first;
	bpf_loop(header.count, read_ban, &page, 0);
	return page.failed ? XDP_ABORTED : XDP_PASS;
}

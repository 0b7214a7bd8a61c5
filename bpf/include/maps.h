/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* This file contains every map of the data plane. User space creates them and hands them to the loader by name. */
#pragma once

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "abi.h"

/*
 * One policy generation: settings, tables, classes, rules, lists, each at the line that the settings name. Sized by
 * user space. BPF_F_MMAPABLE page-aligns the content, so that a 64-byte line is one cache line.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct line);
	__uint(max_entries, HEADER_LINES);
} policy SEC(".maps");

/*
 * The policy of the generation before, which table_copy reads. Given to the loader while a generation is built; the pin of
 * table_copy goes when that is done, and with it the hold on this map.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct line);
	__uint(max_entries, 1);
} previous SEC(".maps");

/* Packets and bytes by interface slot and reason: key = slot * REASON_SLOTS + reason. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct counter);
	__uint(max_entries, INTERFACE_SLOTS * REASON_SLOTS);
} verdict_stats SEC(".maps");

/* Packets and bytes that a list decided, by list slot. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct counter);
	__uint(max_entries, LIST_SLOTS);
} list_stats SEC(".maps");

/* ifindex → slot: entry ifindex % INTERFACE_INDEX_SIZE, then up to INTERFACE_PROBES - 1 further ones, wrapping. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct interface_entry);
	__uint(max_entries, INTERFACE_INDEX_SIZE);
} interface_index SEC(".maps");

/* Banned prefixes. Elements are made when they are needed: most hosts have few. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct ban_key);
	__type(value, struct ban);
	__uint(max_entries, BANS);
} bans SEC(".maps");

/* One value: which prefix lengths `bans` has. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct ban_state);
	__uint(max_entries, 1);
} ban_state SEC(".maps");

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* This file contains every map of the data plane. User space creates them and hands them to the loader by name, except for the last but one. */
#pragma once

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "abi.h"
#include "ban_map.h"

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

/* What this CPU did in this tick that is limited. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct flow_budget);
	__uint(max_entries, 1);
} flow_budget SEC(".maps");

/*
 * Which backends flows go to; see abi_balance.h. One map for all CPUs, sized by user space, as are the three after it:
 * without services they have one entry.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct line);
	__uint(max_entries, 1);
} flows SEC(".maps");

/* By service slot. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct service_counter);
	__uint(max_entries, 1);
} service_stats SEC(".maps");

/* By backend slot. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct backend_counter);
	__uint(max_entries, 1);
} backend_stats SEC(".maps");

/* Ports of full NAT; see abi_balance.h. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct snat_port);
	__uint(max_entries, 1);
} snat_ports SEC(".maps");

/* Working memory of this CPU; see struct scratch. Of no interest to user space, which lets the loader make it. */
struct scratch_space {
	struct line lines[7];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct scratch_space);
	__uint(max_entries, 1);
} scratch SEC(".maps");

/* One value: which prefix lengths `bans` has. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct ban_state);
	__uint(max_entries, 1);
} ban_state SEC(".maps");

/* How much of its share each backend does not take now, and what is up with each service: see abi_balance.h. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct line);
	__uint(max_entries, HEALTH_LINES);
} health SEC(".maps");

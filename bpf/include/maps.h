/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Maps of the filter, the balancer and the bans. A header may also define maps that only its code uses, as clock.h and
 * carry.h do. User space creates maps and hands them to the loader by name, unless a map's comment says otherwise.
 */
#pragma once

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "abi.h"
#include "ban_map.h"

/*
 * One policy generation: settings, tables, classes, rules, lists, each at its line in the settings. Sized by user
 * space. BPF_F_MMAPABLE page-aligns the content, so that a 64-byte line is one cache line.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct line);
	__uint(max_entries, HEADER_LINES);
} policy SEC(".maps");

/*
 * The policy of the previous generation, for table_copy. The loader gets it while a generation is built; afterwards the
 * pin of table_copy is removed, and with it the reference to this map.
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

/* Packets and bytes decided by a list, by list slot. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct counter);
	__uint(max_entries, LIST_SLOTS);
} list_stats SEC(".maps");

/*
 * ifindex → slot: entry ifindex % INTERFACE_INDEX_SIZE, then up to INTERFACE_PROBES - 1 further ones, wrapping around.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct interface_entry);
	__uint(max_entries, INTERFACE_INDEX_SIZE);
} interface_index SEC(".maps");

/* Record of each attachment, by interface slot. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct attachment);
	__uint(max_entries, INTERFACE_SLOTS);
} attachments SEC(".maps");

/* The devices stacked on an interface, by interface slot; all zeros while it has no use for them. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct interface_stack);
	__uint(max_entries, INTERFACE_SLOTS);
} interface_stack SEC(".maps");

/* This CPU's count of rate-limited actions in this tick. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct flow_budget);
	__uint(max_entries, 1);
} flow_budget SEC(".maps");

/*
 * The flow table; see abi_balance.h. One map for all CPUs, sized by user space, as are service_stats,
 * backend_stats and snat_ports: without services they have one entry.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct line);
	__uint(max_entries, 1);
} flows SEC(".maps");

/* The secret of the places in `flows` and `snat_ports`; one value. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct flow_keys);
	__uint(max_entries, 1);
} flow_keys SEC(".maps");

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

/* Working memory of this CPU; see struct scratch. Not used by user space, which lets the loader create it. */
struct scratch_space {
	struct line lines[14];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct scratch_space);
	__uint(max_entries, 1);
} scratch SEC(".maps");

/* One value: the prefix lengths in `bans`. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct ban_state);
	__uint(max_entries, 1);
} ban_state SEC(".maps");

/* The part of its share that each backend refuses now, and the mode of each service: see abi_balance.h. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct line);
	__uint(max_entries, HEALTH_LINES);
} health SEC(".maps");

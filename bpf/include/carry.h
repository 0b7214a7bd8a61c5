/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Copies the balancer's counters and ports, and buckets of rate limits, from a map to a larger one; see abi_carry.h. A run keeps softirqs off on its
 * CPU, so that no packet changes a counter of this CPU meanwhile.
 */
#pragma once

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "abi.h"

/* Source and destination maps; user space supplies the real ones. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct service_counter);
	__uint(max_entries, 1);
} service_before SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct service_counter);
	__uint(max_entries, 1);
} service_after SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct backend_counter);
	__uint(max_entries, 1);
} backend_before SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct backend_counter);
	__uint(max_entries, 1);
} backend_after SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct snat_port);
	__uint(max_entries, 1);
} ports_before SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct snat_port);
	__uint(max_entries, 1);
} ports_after SEC(".maps");

/* Buckets of rate limits; see abi_rates.h. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct line);
	__uint(max_entries, 1);
} rates_before SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct line);
	__uint(max_entries, 1);
} rates_after SEC(".maps");

struct carry {
	struct xdp_md *ctx;
	struct carry_header header;
	__u32 slot;
	__u32 failed;
};

static __always_inline void add_words(__u64 *to, const __u64 *from, const __u32 words)
{
#pragma unroll
	for (__u32 i = 0; i < words; i++)
		to[i] += from[i];
}

static long carry_service_cpu(__u32 index, struct carry *carry)
{
	const __u32 slot = carry->slot;
	const __u64 *from = bpf_map_lookup_percpu_elem(&service_before, &slot, carry->header.first_cpu + index);
	__u64 *to = bpf_map_lookup_elem(&service_after, &slot);

	if (!from || !to) {
		carry->failed = 1;
		return 1;
	}
	add_words(to, from, sizeof(struct service_counter) / sizeof(__u64));
	return 0;
}

static long carry_backend_cpu(__u32 index, struct carry *carry)
{
	const __u32 slot = carry->slot;
	const __u64 *from = bpf_map_lookup_percpu_elem(&backend_before, &slot, carry->header.first_cpu + index);
	__u64 *to = bpf_map_lookup_elem(&backend_after, &slot);

	if (!from || !to) {
		carry->failed = 1;
		return 1;
	}
	add_words(to, from, sizeof(struct backend_counter) / sizeof(__u64));
	return 0;
}

/* Kernels reject too many loops with a negative error or a positive one, so compare the count. */
static __always_inline long carry_slot(__u32 index, struct carry *carry, void *each_cpu)
{
	if (bpf_xdp_load_bytes(carry->ctx, sizeof(carry->header) + index * sizeof(__u32), &carry->slot,
			       sizeof(carry->slot)) ||
	    (__u32)bpf_loop(carry->header.cpus, each_cpu, carry, 0) != carry->header.cpus)
		carry->failed = 1;
	return carry->failed ? 1 : 0;
}

static long carry_service(__u32 index, struct carry *carry)
{
	return carry_slot(index, carry, carry_service_cpu);
}

static long carry_backend(__u32 index, struct carry *carry)
{
	return carry_slot(index, carry, carry_backend_cpu);
}

/* If a flow owns the port in the new map by now, it keeps it: the protocol for claiming a port, as in take_binding. */
static long carry_port(__u32 index, struct carry *carry)
{
	const __u32 line = carry->header.first + index;
	const struct snat_port *from = bpf_map_lookup_elem(&ports_before, &line);
	struct snat_port *to = bpf_map_lookup_elem(&ports_after, &line);

	if (!from || !to) {
		carry->failed = 1;
		return 1;
	}
	if (!from->owner || !from->ready || __sync_val_compare_and_swap(&to->owner, 0, from->owner))
		return 0;
	to->seen = from->seen;
	__builtin_memcpy(to->client, from->client, sizeof(*to) - __builtin_offsetof(struct snat_port, client));
	__sync_lock_test_and_set(&to->ready, 1);
	return 0;
}

/* CPUs that take from a bucket at a time may be this often in its way. */
#define RATE_TRIES 8

/* Packets may take from a bucket of either map meanwhile: the one that is further ahead holds more of what has passed. */
static long carry_rate(__u32 index, struct carry *carry)
{
	const __u32 line = carry->header.first + index;
	const __u64 *from = bpf_map_lookup_elem(&rates_before, &line);
	__u64 *to = bpf_map_lookup_elem(&rates_after, &line);

	if (!from || !to) {
		carry->failed = 1;
		return 1;
	}
	for (__u32 i = 0; i < sizeof(struct line) / sizeof(*to); i++) {
		const __u64 value = from[i];

		for (int try = 0; try < RATE_TRIES; try++) {
			const __u64 old = *(volatile __u64 *)(to + i);

			if (value <= old || __sync_val_compare_and_swap(to + i, old, value) == old)
				break;
		}
	}
	return 0;
}

/* Empties buckets whose limit is gone. */
static long clear_rate(__u32 index, struct carry *carry)
{
	const __u32 line = carry->header.first + index;
	__u64 *of = bpf_map_lookup_elem(&rates_after, &line);

	if (!of) {
		carry->failed = 1;
		return 1;
	}
	for (__u32 i = 0; i < sizeof(struct line) / sizeof(*of); i++)
		*(volatile __u64 *)(of + i) = 0;
	return 0;
}

/* XDP_PASS if all was carried, else XDP_ABORTED: nothing was, or only a part. */
static __always_inline int run_carry(struct xdp_md *ctx, const __u32 most, void *each)
{
	struct carry carry = { .ctx = ctx };

	if (bpf_xdp_load_bytes(ctx, 0, &carry.header, sizeof(carry.header)) || carry.header.count > most)
		return XDP_ABORTED;
	if ((__u32)bpf_loop(carry.header.count, each, &carry, 0) != carry.header.count)
		return XDP_ABORTED;
	return carry.failed ? XDP_ABORTED : XDP_PASS;
}

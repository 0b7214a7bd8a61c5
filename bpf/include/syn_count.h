/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The rate of SYNs without completion, and whether it is so high that SYNs are answered. Two levels in one line for all CPUs
 * (see struct syn_state); each CPU adds up to SYN_BATCH packets at a time, or those of a tick of 67 ms, so CPUs are seldom in
 * each other's way, and the state is equal on all. The first level counts SYNs alone: below the threshold nothing else is
 * counted, and no packet of a connection costs anything. Above it, completions are counted too, and the second level takes
 * them off. It fills at the threshold; once SYNs are answered, at half of it, and answers end SYN_HOLD after it was last full.
 */
#pragma once

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "abi.h"
#include "clock.h"
#include "judge.h"
#include "meter.h"
#include "syn_socket.h"

ABI_SIZE(syn_header, LINE_SIZE);
ABI_SIZE(syn_ports, LINE_SIZE);
ABI_SIZE(syn_state, 2 * LINE_SIZE);
ABI_SIZE(syn_counter, 40);

#define TABLE6_AT_SYN 1
#define SYN_BATCH 16
/* Flows whose cookie was right a moment ago, by CPU. */
#define SYN_FLOWS 256
/* Nanoseconds << SYN_TICK: 67 ms. */
#define SYN_TICK 26
#define SYN_BURST (NANOSECONDS / 4)
/* A burst is at least this many SYNs. */
#define SYN_LEAST_BURST 32
#define SYN_HOLD (10 * NANOSECONDS)

/* One value: shared by all CPUs and generations. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct syn_state);
	__uint(max_entries, 1);
} syn_state SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct syn_counter);
	__uint(max_entries, 1);
} syn_stats SEC(".maps");

/* The options of a SYN. */
struct syn_options {
	__be32 timestamp;	/* as on the wire */
	__u32 at;		/* where the next one begins in the TCP header */
	__u32 end;		/* of the header */
	__u8 has_timestamp;
	__u8 has_scale;
	__u8 has_sack;
	__u8 scale;
};

/* The parts of an answer. */
struct syn_answer {
	struct listener listener;
	__be32 words[9];	/* of the TCP header, from the sequence number on */
	__u32 size;		/* of the header in bytes */
};

/* Working memory of this CPU: without room on the stack, as struct scratch. Not used by user space, which lets the loader create it. */
struct syn_local {
	__u64 tick;		/* of the last addition to syn_state */
	__u32 opened;		/* not added yet: SYNs */
	__s32 open;		/* and SYNs less completions */
	struct bpf_sock_tuple tuple;
	__u8 ip[40] __attribute__((aligned(8)));
	__u8 tcp[64];
	struct syn_options options;
	struct syn_answer answer;
	struct bpf_fib_lookup route;
	__u64 flows[SYN_FLOWS];	/* tag << 32 | time in 2^20 ns */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct syn_local);
	__uint(max_entries, 1);
} syn_local SEC(".maps");

static __always_inline struct syn_local *open_syn_local(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&syn_local, &zero);
}

static __always_inline struct syn_state *open_syn_state(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&syn_state, &zero);
}

static __always_inline struct syn_counter *open_syn_counter(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&syn_stats, &zero);
}

/* The settings; 0: none. */
static __always_inline const struct syn_header *lookup_syn(void)
{
	const struct table6 *line = lookup_line(TABLE6_AT_SYN);

	return line && line->syn ? lookup_line(line->syn) : 0;
}

static __always_inline int is_answering(const struct syn_header *header, const struct syn_state *state, __u64 now)
{
	return header->mode == SYN_ALWAYS || *(const volatile __u64 *)&state->answering > now;
}

static __always_inline int is_watching(const struct syn_header *header, const struct syn_state *state, __u64 now)
{
	return *(const volatile __u64 *)&state->watching > now || is_answering(header, state, now);
}

/* Raises a level, to `most` ahead of the clock at most. Returns how far it is ahead. */
static __always_inline __u64 raise_level(__u64 *level, __u64 now, __u64 by, __u64 most)
{
	for (int try = 0; try < METER_TRIES; try++) {
		const __u64 was = *(volatile __u64 *)level, next = earlier(later(was, now) + by, now + most);

		if (__sync_val_compare_and_swap(level, was, next) == was)
			return next - now;
	}
	return 0;
}

static __always_inline void lower_level(__u64 *level, __u64 now, __u64 by)
{
	for (int try = 0; try < METER_TRIES; try++) {
		const __u64 was = *(volatile __u64 *)level;

		if (was <= now || __sync_val_compare_and_swap(level, was, later(was - earlier(by, was), now)) == was)
			return;
	}
}

/* Moves the end of a state to SYN_HOLD from now; not for every packet, because all CPUs read it. */
static __always_inline void extend(__u64 *until, __u64 now)
{
	const __u64 was = *(volatile __u64 *)until;

	if (was < now + SYN_HOLD - SYN_HOLD / 8)
		__sync_val_compare_and_swap(until, was, now + SYN_HOLD);
}

/* Adds what this CPU has counted. A global function for the verifier's sake, as judge_class. */
__noinline int settle_syns(__u64 now)
{
	const struct syn_header *header = lookup_syn();
	struct syn_state *state = open_syn_state();
	struct syn_local *local = open_syn_local();
	__u64 cost, burst, opened, until;
	__s64 open;

	if (!header || !state || !local)
		return 0;
	opened = local->opened;
	open = local->open;
	local->opened = 0;
	local->open = 0;
	local->tick = now >> SYN_TICK;
	cost = header->cost;
	burst = later(SYN_BURST, cost * SYN_LEAST_BURST);
	if (opened && raise_level(&state->opened, now, opened * cost, burst * 2) > burst)
		extend(&state->watching, now);
	if (!is_watching(header, state, now))
		return 0;
	until = *(volatile __u64 *)&state->answering;
	if (until > now)
		cost *= 2;
	if (open < 0) {
		lower_level(&state->open, now, -open * cost);
		return 0;
	}
	if (!open || raise_level(&state->open, now, open * cost, burst * 2) <= burst)
		return 0;
	if (until > now) {
		extend(&state->answering, now);
	} else if (__sync_val_compare_and_swap(&state->answering, until, now + SYN_HOLD) == until) {
		state->since = now;
		__sync_fetch_and_add(&state->times, 1);
	}
	return 0;
}

/* Counts a SYN (1) or a completion (-1). */
static __always_inline void count_open(struct syn_local *local, __u64 now, int open)
{
	local->opened += open > 0;
	local->open += open;
	if (local->tick != now >> SYN_TICK || local->opened >= SYN_BATCH || local->open <= -SYN_BATCH)
		settle_syns(now);
}

/* The place of a flow in syn_local, and what marks it there. */
static __always_inline __u64 mark_of(const struct syn_local *local)
{
	const __u64 *words = (const void *)&local->tuple;

	return mixed(words[0] * HASH_SOURCE_HIGH + words[1] * HASH_SOURCE_LOW + words[2] * HASH_DESTINATION_HIGH +
		     words[3] * HASH_DESTINATION_LOW + *(const __u32 *)(words + 4) * HASH_PORTS);
}

/* Remembers that the cookie of a flow is right: its next segments may come before the kernel has its socket. */
static __always_inline void mark_flow(struct syn_local *local, __u64 mark, __u64 now)
{
	local->flows[mark % SYN_FLOWS] = mark >> 32 << 32 | (__u32)(now >> 20);
}

/* Within about a second. */
static __always_inline int is_marked(const struct syn_local *local, __u64 mark, __u64 now)
{
	const __u64 entry = local->flows[mark % SYN_FLOWS];

	return entry >> 32 == mark >> 32 && (__u32)(now >> 20) - (__u32)entry < 1024;
}

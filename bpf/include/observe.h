/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Entries of blocklists with `action: observe`: what they match is counted apart, and goes on. */
#pragma once

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "abi.h"
#include "abi_stats.h"
#include "flow.h"
#include "parts.h"
#include "scope.h"
#include "translate.h"
#include "verdict.h"

const volatile __u32 part_observe = 1;

/* Stands for no list. */
#define NOT_OBSERVED 0xffff

/* Packets and bytes that a list would have dropped, by list slot. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct counter);
	__uint(max_entries, LIST_SLOTS);
} observe_stats SEC(".maps");

/* Sources that a list would have dropped packets of, by list slot: how many there are follows from the registers. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct source_registers);
	__uint(max_entries, LIST_SLOTS);
} observe_sources SEC(".maps");

/* Before the rules of a class: no list has observed the packet. A global function for the verifier's sake, as the others. */
__noinline int forget_observed(void)
{
	struct scratch *scratch = open_scratch();

	if (scratch)
		scratch->observed = (struct observed){ .list = NOT_OBSERVED, .counted = NOT_OBSERVED };
	return 0;
}

/*
 * Adds a source to those that a list has seen: HyperLogLog, which forgets no source and adds none twice (Flajolet, Fusy,
 * Gandouet and Meunier, 2007). Two CPUs that write one register at once may lose one of two writes, which the next packet of
 * that source repairs.
 */
__noinline int note_source(__u32 list, __u64 source)
{
	struct source_registers *registers = bpf_map_lookup_elem(&observe_sources, &list);
	__u64 hash, rest;
	__u32 number;
	__u8 rank = 1;

	if (!registers)
		return 0;
	hash = mixed(source * HASH_SOURCE_HIGH);
	number = hash % SOURCE_REGISTERS;
	rest = hash / SOURCE_REGISTERS;
	/* Position of the lowest bit that is set, by halves. */
	if (!(__u32)rest) {
		rest >>= 32;
		rank += 32;
	}
	if (!(__u16)rest) {
		rest >>= 16;
		rank += 16;
	}
	if (!(__u8)rest) {
		rest >>= 8;
		rank += 8;
	}
	if (!(rest & 0xf)) {
		rest >>= 4;
		rank += 4;
	}
	if (!(rest & 3)) {
		rest >>= 2;
		rank += 2;
	}
	rank += !(rest & 1);
	if (registers->ranks[number] < rank)
		registers->ranks[number] = rank;
	return 0;
}

/* The first list that observed the packet, and its scope in the upper half; NOT_OBSERVED: none. */
__noinline __u32 read_observed(void)
{
	const struct scratch *scratch = open_scratch();

	return scratch && scratch->observed.list != NOT_OBSERVED ?
		       scratch->observed.list | (__u32)scratch->observed.scope << 16 :
		       NOT_OBSERVED;
}

/*
 * Counts the packet in the list of a rule that observes, once for all of its rules. A global function for the verifier's
 * sake, as judge_class.
 */
__noinline int observe(const struct subject *subject, const struct rule *rule)
{
	struct scratch *scratch = open_scratch();
	__u32 list;

	if (!scratch || !subject || !rule || scratch->observed.counted == rule->list)
		return 0;
	list = rule->list;
	if (scratch->observed.list == NOT_OBSERVED) {
		scratch->observed.list = list;
		scratch->observed.scope = rule->scope;
	}
	scratch->observed.counted = list;
	if (!is_live(&subject->account))
		return 0;
	count(bpf_map_lookup_elem(&observe_stats, &list), &subject->account);
	/* The source of a packet that a ban drops says nothing about the list. */
	if (!subject->banned && scratch->observed.lists < OBSERVERS)
		scratch->observed.seen[scratch->observed.lists++] = list;
	return 0;
}

/* Tags in front of an IP header whose source is read. */
#define SOURCE_TAGS 4

/*
 * The source of an IP packet behind at most SOURCE_TAGS tags: an IPv4 address, or the first half of an IPv6 one;
 * 0: none. Read again, because the verifier of Linux 6.1 would take twice as long over a program that keeps it.
 */
static __always_inline __u64 read_source(struct xdp_md *ctx, __u32 bare)
{
	__u32 offset = bare ? 0 : ETH_HLEN - sizeof(__be16);
	__be32 header[4] = {};
	__be16 ethertype = 0;

	for (int i = 0; !bare && i < SOURCE_TAGS; i++) {
		if (bpf_xdp_load_bytes(ctx, offset, &ethertype, sizeof(ethertype)))
			return 0;
		offset += sizeof(ethertype);
		if (!is_tag(ethertype))
			break;
		offset += sizeof(ethertype);
	}
	if (bpf_xdp_load_bytes(ctx, offset, header, sizeof(header)))
		return 0;
	if (bpf_ntohl(header[0]) >> 28 == 6)
		return (__u64)bpf_ntohl(header[2]) << 32 | bpf_ntohl(header[3]);
	return bpf_ntohl(header[3]);
}

/* Adds the source of the packet to those of the lists that have observed it, once. */
static __always_inline void note_observed(struct xdp_md *ctx, __u32 origin)
{
	const struct account account = { .origin = origin };
	struct scratch *scratch = open_scratch();
	__u64 source;

	if (!scratch || !scratch->observed.lists)
		return;
	source = read_source(ctx, flags_of(&account) & INTERFACE_IP);
	for (__u32 i = 0; i < OBSERVERS && i < scratch->observed.lists; i++)
		note_source(scratch->observed.seen[i], source);
	scratch->observed.lists = 0;
}

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Entries of blocklists with `action: observe`: what they match is counted apart, and goes on. */
#pragma once

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "abi.h"
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

/* Before the rules of a class: no list has observed the packet. A global function for the verifier's sake, as the others. */
__noinline int forget_observed(void)
{
	struct scratch *scratch = open_scratch();

	if (scratch)
		scratch->observed = (struct observed){ .list = NOT_OBSERVED, .counted = NOT_OBSERVED };
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
	if (is_live(&subject->account))
		count(bpf_map_lookup_elem(&observe_stats, &list), &subject->account);
	return 0;
}


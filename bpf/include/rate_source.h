/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Rate limits with more sources than fit in their lines: the sources are in the address tables, as those of lists are, and
 * the class of a source says in one word of which limits it is.
 */
#pragma once

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "abi.h"
#include "judge.h"
#include "parts.h"
#include "translate.h"

const volatile __u32 part_rate_sources = 1;

/* The kernel hands callbacks of loops memory of the stack only. */
static __always_inline struct rate_walk *open_walk(void)
{
	struct scratch *scratch = open_scratch();

	return scratch ? &scratch->rates : 0;
}

static __always_inline __u64 limits_of(const struct settings *settings, __u32 number)
{
	const struct class *class = number ? lookup_class(settings, number) : 0;
	const struct class_sources *sources;

	if (!class || !(class->plain & CLASS_SOURCES))
		return 0;
	sources = (const void *)lookup_rule(settings, class->first_rule + class->rules);
	return sources ? sources->limits : 0;
}

/*
 * Keeps the class of a packet's source for the limits. The functions that search for it do this, because the verifier checks
 * them once, and their callers for every path through the parser.
 */
static __always_inline __u32 note_class(__u32 class)
{
	struct rate_walk *walk = PART(rate_sources) ? open_walk() : 0;

	if (walk)
		walk->class = class;
	return class;
}

/*
 * Notes the limits among whose sources the packet's is. Nothing searches for a class of IPv6 where no table has one. A global
 * function for the stack's sake.
 */
__noinline int note_sources(__u32 ipv6)
{
	const struct settings *settings = lookup_line(SETTINGS_LINE);
	const struct table6 *table = lookup_line(SETTINGS_LINE + 1);
	struct rate_walk *walk = open_walk();

	if (!settings || !table || !walk)
		return 0;
	walk->sourced = !ipv6 || table->flags ? limits_of(settings, walk->class) : 0;
	return 0;
}

/* Whether lists have a say about sources of a class; of others only limits have. */
static __always_inline int has_rules(const struct settings *settings, __u32 number)
{
	const struct class *class = lookup_class(settings, number);

	return !class || class->rules;
}

static __always_inline int is_source(const struct rate_walk *walk, const struct rate_limit *limit)
{
	return walk->sourced >> limit->slot % RATE_LIMITS & 1;
}

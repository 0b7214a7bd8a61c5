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

/* Notes the limits of a packet whose source has this class. A global function for the verifier's sake, as judge_class. */
__noinline int note_sources(__u32 number)
{
	const struct settings *settings = lookup_line(SETTINGS_LINE);
	struct rate_walk *walk = open_walk();

	if (settings && walk)
		walk->sourced = limits_of(settings, number);
	return 0;
}

static __always_inline int is_source(const struct rate_walk *walk, const struct rate_limit *limit)
{
	return walk->sourced >> limit->slot % RATE_LIMITS & 1;
}

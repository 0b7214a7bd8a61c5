/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The rules of the lists that cover a packet's source: whether one matches, and the lists to count. */
#pragma once

#include "abi.h"
#include "maps.h"
#include "match.h"
#include "observe.h"
#include "parse.h"
#include "parts.h"
#include "scope.h"
#include "verdict.h"

#define SETTINGS_LINE 0
#define NO_LIST 0xffff
#define NO_SCOPE 0xffff

#define CLASSES_PER_LINE (LINE_SIZE / sizeof(struct class))
#define RULES_PER_LINE (LINE_SIZE / sizeof(struct rule))

struct decision {
	__u32 reason;		/* enum reason */
	__u32 class;		/* of the source address */
	__u16 list;		/* slot of the first list that decided, or NO_LIST */
	__u16 scope;		/* of that rule, or NO_SCOPE */
	__u16 counted;		/* list counted last, or NO_LIST */
	__u8 broken;		/* 1: a rule was not where the class points */
	__u8 strict;		/* 1: a rule matched that drops connections of this host too */
	__u16 service;		/* slot, or NO_SLOT */
	__u16 backend;		/* slot, or NO_SLOT */
};

static __always_inline struct decision undecided(void)
{
	const struct decision decision = {
		.reason = REASON_INTERNAL,
		.list = NO_LIST,
		.scope = NO_SCOPE,
		.counted = NO_LIST,
		.service = NO_SLOT,
		.backend = NO_SLOT,
	};

	return decision;
}

/* A walk along the rules of a class. */
struct walk {
	const struct settings *settings;
	struct subject *subject;
	struct decision *decision;
};

static __always_inline const void *lookup_line(__u32 index)
{
	return policy_line(index);
}

/* 0: a table is not as the compiler guarantees. */
static __always_inline const struct class *lookup_class(const struct settings *settings, __u32 number)
{
	const struct class *line = lookup_line(settings->classes + number / CLASSES_PER_LINE);

	return line ? line + number % CLASSES_PER_LINE : 0;
}

static __always_inline const struct rule *lookup_rule(const struct settings *settings, __u32 number)
{
	const struct rule *line = lookup_line(settings->rules + number / RULES_PER_LINE);

	return line ? line + number % RULES_PER_LINE : 0;
}

/* Adds the scope to a decision by a plain class, for reports. */
static __always_inline void add_scope(const struct settings *settings, struct decision *decision)
{
	const struct class *class = settings ? lookup_class(settings, decision->class) : 0;
	const struct rule *rule = class ? lookup_rule(settings, class->first_rule) : 0;

	if (rule && class->plain & CLASS_PLAIN && decision->list == rule->list)
		decision->scope = rule->scope;
}

/* Whether a rule of a blocklist drops packets of connections that this host opened too. */
static __always_inline __u32 is_strict(const struct settings *settings, const struct rule *rule)
{
	const __u32 flags = rule->flags & RULE_SOCKET_NONE;

	if (flags || rule->flags & RULE_ALLOW)
		return flags != RULE_ESTABLISHED_PASS;
	return !(settings->flags & SETTINGS_ESTABLISHED);
}

/*
 * Whether a rule that matches otherwise does not match a packet for which this host has a socket, or waits for the answer
 * to that question.
 */
static __always_inline int needs_no_socket(const struct rule *rule, struct subject *subject, __u32 index)
{
	if ((rule->flags & RULE_SOCKET_NONE) != RULE_SOCKET_NONE || subject->socket == SOCKET_NONE)
		return 0;
	if (subject->socket == SOCKET_UNKNOWN) {
		subject->socket = SOCKET_ASKED;
		subject->judged = index;
	}
	return 1;
}

/* Applies one rule of the class. Returns 1 if no further rule can change the result, or if the walk waits for an answer. */
static __always_inline long judge_rule(const struct settings *settings, struct subject *subject, __u32 index,
				       struct decision *decision)
{
	const struct rule *rule = lookup_rule(settings, subject->first_rule + index);
	__u32 reason;

	if (!rule) {
		decision->broken = 1;
		return 1;
	}
	reason = rule->flags & RULE_ALLOW ? REASON_ALLOWLIST : REASON_BLOCKLIST;
	if (subject->banned && reason == REASON_BLOCKLIST)
		return 1;
	if (decision->list != NO_LIST && decision->reason != reason)
		return 1;
	/* A further rule of a list that is counted already can only make the decision strict. */
	if (decision->counted == rule->list && decision->strict && !(PART(observe) && rule->interfaces & RULE_OBSERVE))
		return 0;
	if (!matches(settings, rule, subject))
		return 0;
	if (PART(match) && has_match(rule) && !fits_match(rule, settings->rules))
		return 0;
	if (PART(socketless) && needs_no_socket(rule, subject, index))
		return subject->socket == SOCKET_ASKED;
	if (PART(observe) && rule->interfaces & RULE_OBSERVE) {
		observe(subject, rule);
		return 0;
	}
	if (is_strict(settings, rule))
		decision->strict = 1;
	if (decision->counted == rule->list)
		return 0;
	if (decision->list == NO_LIST) {
		decision->reason = reason;
		decision->list = rule->list;
		decision->scope = rule->scope;
	}
	decision->counted = rule->list;
	count_list(&subject->account, rule->list);
	return 0;
}

static long judge_next_rule(__u32 index, struct walk *walk)
{
	return judge_rule(walk->settings, walk->subject, index, walk->decision);
}

/*
 * Applies the rules of a class. Allow rules come first, so the first match decides the kind; the walk continues, to
 * count every further list of that kind that matches. The rules of a list are adjacent, so comparing with the list
 * counted last counts each once. Returns 0 if no rule matches; if a table
 * is not as the compiler guarantees and nothing matched before, the decision stays REASON_INTERNAL.
 *
 * If a rule depends on the socket of the packet, subject->socket is SOCKET_ASKED afterwards; called again with the answer,
 * the walk goes on at that rule.
 *
 * A global function, because the verifier checks those once and separately; inlined, it would be walked again for every
 * path through the parser. The loop is a bpf_loop for a similar reason: the verifier checks one turn. The first rule takes it
 * too, for the stack's sake.
 */
__noinline int judge_class(const struct settings *settings, struct subject *subject, struct decision *decision)
{
	struct walk walk = { .settings = settings, .subject = subject, .decision = decision };
	const struct class *class;

	if (!settings || !subject || !decision)
		return 0;
	class = lookup_class(settings, decision->class);
	if (!class || class->rules > CLASS_RULES)
		return 1;
	subject->first_rule = class->first_rule;
	subject->rules = class->rules;
	if (PART(socketless) && subject->judged < class->rules) {
		subject->first_rule += subject->judged;
		subject->rules -= subject->judged;
	}
	bpf_loop(subject->rules, judge_next_rule, &walk, 0);
	return decision->list != NO_LIST || decision->broken;
}

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Scopes: whether a rule applies to a packet from an address that it covers. */
#pragma once

#include "abi.h"
#include "addr.h"
#include "verdict.h"

ABI_SIZE(class, 8);
ABI_SIZE(rule, 16);
ABI_SIZE(class_sources, 16);
ABI_SIZE(receiving, LINE_SIZE);
ABI_SIZE(scoped_interface, LINE_SIZE);

/* Input of the rules of a class, and their position. */
struct subject {
	struct account account;
	__u32 first_rule;
	__u16 rules;
	__u16 judged;		/* rules of the class in front of them */
	__u16 protocol;		/* IP protocol number or PROTOCOL_UNKNOWN */
	__u16 source_port;
	__u16 destination_port;
	__u8 ipv6;
	__u8 has_ports;
	__u8 banned;		/* 1: block rules do not apply */
	__u8 socket;		/* enum socket_answer */
	__u8 pad[2];
};

/* Whether this host has a socket for the packet: see socketless.h. */
enum socket_answer {
	SOCKET_UNKNOWN,
	SOCKET_ASKED,	/* the walk along the rules waits for the answer */
	SOCKET_NONE,
	SOCKET_SOME,	/* or the question does not arise */
};

static __always_inline int within(__u16 port, __u16 first, __u16 last)
{
	return port >= first && port <= last;
}

/*
 * Whether a rule applies to packets of the receiving interface. If that is none of ours, it might be any: then block
 * rules apply and allow rules do not.
 */
static __always_inline int on_interface(const struct settings *settings, const struct rule *rule,
					const struct subject *subject)
{
	__u32 slot = slot_of(&subject->account) % INTERFACE_SLOTS;
	const struct scoped_interface *interface = slot ? (const void *)policy_line(settings->interfaces + slot) : 0;

	if (!interface)
		return !(rule->flags & RULE_ALLOW);
	return interface->sets >> rule->interfaces % INTERFACE_SETS & 1;
}

static __always_inline int matches(const struct settings *settings, const struct rule *rule,
				   const struct subject *subject)
{
	__u8 protocol = subject->ipv6 ? rule->protocol6 : rule->protocol4;

	if (!(rule->flags & (RULE_PROTOCOL | RULE_PORTS | RULE_INTERFACES)))
		return 1;
	if ((rule->flags & RULE_INTERFACES) && !on_interface(settings, rule, subject))
		return 0;
	if ((rule->flags & RULE_PROTOCOL) && subject->protocol != protocol)
		return 0;
	if (!(rule->flags & RULE_PORTS))
		return 1;
	return subject->has_ports && within(subject->source_port, rule->source_first, rule->source_last) &&
	       within(subject->destination_port, rule->destination_first, rule->destination_last);
}

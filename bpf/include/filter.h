/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The packet filter: maps a parsed packet and the policy to the reason for its verdict. */
#pragma once

#include "abi.h"
#include "addr.h"
#include "balance.h"
#include "ban.h"
#include "maps.h"
#include "parse.h"
#include "parts.h"
#include "scope.h"
#include "verdict.h"

#define NO_LIST 0xffff
#define NO_SCOPE 0xffff

/* RFC 4861: router solicitation to redirect. Without them, IPv6 does not work at all. */
#define ND_FIRST 133
#define ND_LAST 137
/* RFC 2131, RFC 8415 */
#define DHCP4_SERVER 67
#define DHCP4_CLIENT 68
#define DHCP6_CLIENT 546
#define DHCP6_SERVER 547

#define SETTINGS_LINE 0
#define TABLE6_LINE 1
#define ROLES_LINE 10
#define CLASSES_PER_LINE (LINE_SIZE / sizeof(struct class))
#define RULES_PER_LINE (LINE_SIZE / sizeof(struct rule))

struct decision {
	__u32 reason;		/* enum reason */
	__u32 class;		/* of the source address */
	__u16 list;		/* slot of the first list that decided, or NO_LIST */
	__u16 scope;		/* of that rule, or NO_SCOPE */
	__u16 counted;		/* list counted last, or NO_LIST */
	__u16 broken;		/* 1: a rule was not where the class points */
	__u16 service;		/* slot, or NO_SLOT */
	__u16 backend;		/* slot, or NO_SLOT */
};

/* A walk along the rules of a class. */
struct walk {
	const struct settings *settings;
	const struct subject *subject;
	struct decision *decision;
};

static __always_inline const void *lookup_line(__u32 index)
{
	return policy_line(index);
}

/* The reason of a packet whose headers cannot be parsed completely. */
static __always_inline __u32 unparsed(struct xdp_md *ctx, struct account *account, enum parsed parsed)
{
	add_fragments(ctx, account);
	if (parsed == PARSED_TOO_DEEP)
		return REASON_UNSUPPORTED;
	return parsed == PARSED_SHORT && account->bytes > linear_size(ctx) ? REASON_NONLINEAR : REASON_MALFORMED;
}

/* Applies one rule of the class. Returns 1 if no further rule can change the result. */
static __always_inline long judge_rule(const struct settings *settings, const struct subject *subject, __u32 index,
				       struct decision *decision)
{
	__u32 number = subject->first_rule + index;
	const struct rule *rule = lookup_line(settings->rules + number / RULES_PER_LINE);
	__u32 reason;

	if (!rule) {
		decision->broken = 1;
		return 1;
	}
	rule += number % RULES_PER_LINE;
	reason = rule->flags & RULE_ALLOW ? REASON_ALLOWLIST : REASON_BLOCKLIST;
	if (subject->banned && reason == REASON_BLOCKLIST)
		return 1;
	if (decision->list != NO_LIST && decision->reason != reason)
		return 1;
	if (decision->counted == rule->list || !matches(settings, rule, subject))
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

static long judge_further_rule(__u32 index, struct walk *walk)
{
	return judge_rule(walk->settings, walk->subject, index + 1, walk->decision);
}

/*
 * Applies the rules of a class behind the first.
 *
 * A global function, because the verifier checks those once and separately; inlined, it would be walked again for every
 * path through the parser. The loop is a bpf_loop for a similar reason: the verifier checks one turn.
 */
__noinline int judge_further_rules(const struct settings *settings, const struct subject *subject,
				   struct decision *decision)
{
	struct walk walk = { .settings = settings, .subject = subject, .decision = decision };

	if (!settings || !subject || !decision)
		return 0;
	bpf_loop(subject->rules - 1, judge_further_rule, &walk, 0);
	return 0;
}

/*
 * Applies the rules of a class. Allow rules come first, so the first match decides the kind; the walk continues, to
 * count every further list of that kind that matches. The rules of a list are adjacent, so comparing with the list
 * counted last counts each once. Most classes have one rule and skip the loop. Returns 0 if no rule matches; if a table
 * is not as the compiler guarantees and nothing matched before, the decision stays REASON_INTERNAL.
 *
 * A global function for the verifier's sake, as judge_further_rules.
 */
__noinline int judge_class(const struct settings *settings, struct subject *subject, struct decision *decision)
{
	const struct class *class;

	if (!settings || !subject || !decision)
		return 0;
	class = lookup_line(settings->classes + decision->class / CLASSES_PER_LINE);
	if (!class)
		return 1;
	class += decision->class % CLASSES_PER_LINE;
	if (class->rules > CLASS_RULES)
		return 1;
	subject->first_rule = class->first_rule;
	subject->rules = class->rules;
	if (subject->rules > 0 && !judge_rule(settings, subject, 0, decision) && subject->rules > 1)
		judge_further_rules(settings, subject, decision);
	return decision->list != NO_LIST || decision->broken;
}

/* Judges a packet by the rules of its source's class. */
static __always_inline int judge_packet(const struct settings *settings, const struct packet *packet,
					const struct account *account, __u32 slot, __u32 banned,
					struct decision *decision)
{
	struct subject subject = {
		.account = *account,
		.protocol = packet->protocol,
		.source_port = source_port(packet),
		.destination_port = destination_port(packet),
		.ipv6 = is_ipv6(packet),
		.has_ports = packet->transport == TRANSPORT_PORTS,
		.banned = banned != 0,
		.slot = slot,
	};

	return judge_class(settings, &subject, decision);
}

/* Packets that default drop must pass: without them, not even allowed sources could reach the host. */
static __always_inline int is_essential(const struct packet *packet)
{
	if (is_loopback(packet))
		return 1;
	if (packet->transport == TRANSPORT_ICMP)
		return is_ipv6(packet) && icmp_type(packet) >= ND_FIRST && icmp_type(packet) <= ND_LAST;
	if (packet->transport != TRANSPORT_PORTS || packet->protocol != IPPROTO_UDP)
		return 0;
	if (is_ipv6(packet))
		return source_port(packet) == DHCP6_SERVER && destination_port(packet) == DHCP6_CLIENT;
	return source_port(packet) == DHCP4_SERVER && destination_port(packet) == DHCP4_CLIENT;
}

/* A global function for the verifier's sake, as judge_further_rules. */
__noinline __u32 search_ipv6(const struct table6 *table, __u64 high, __u64 low)
{
	return table ? lookup6(table, high, low) : 0;
}

/* Class of an IPv6 address. Policies without IPv6 addresses skip the call. */
static __always_inline __u32 classify_ipv6(const struct packet *packet)
{
	const struct table6 *table = lookup_line(TABLE6_LINE);

	return table && table->flags ? search_ipv6(table, packet->source6_high, packet->source6_low) : 0;
}

/* enum role bits of the roles that the interface in this slot lacks. */
static __always_inline __u32 lacking_roles(const struct settings *settings, __u32 slot)
{
	const struct roles *roles = settings->flags & SETTINGS_ROLES ? lookup_line(ROLES_LINE) : 0;

	return roles ? roles->lacks[slot % sizeof(roles->lacks)] : 0;
}

/* Passes a packet, accepted by the filter and with its IP header at `network`, to the balancer. */
static __always_inline void balance(struct xdp_md *ctx, const struct account *account, const struct packet *packet,
				    __u32 network, __u32 transport, struct decision *decision)
{
	struct scratch *scratch = open_scratch();
	struct flow *flow;
	__u32 reason;

	if (!scratch)
		return;
	flow = &scratch->flow;
	flow->source_high = 0;
	flow->destination_high = 0;
	flow->ports = packet->head;
	flow->bytes = account->bytes;
	flow->network = network;
	flow->transport = transport;
	flow->fragment = packet->fragment;
	flow->service = NO_SLOT;
	flow->backend = NO_SLOT;
	flow->binding = NO_BINDING;
	flow->protocol = packet->protocol;
	flow->kind = packet->transport;
	flow->tcp_flags = 0;
	flow->marks = (is_ipv6(packet) ? FLOW_IPV6 : 0) | (account->slot ? FLOW_LIVE : 0);
	reason = packet->transport == TRANSPORT_ICMP ? balance_icmp(ctx, flow) : balance_flow(ctx, flow);
	if (reason == NOT_OURS)
		return;
	decision->reason = reason;
	decision->service = flow->service;
	decision->backend = flow->backend;
}

/* Judges one packet received on the interface in `slot`. Counts the lists that decide, unless the account has no slot. */
static __always_inline struct decision filter(struct xdp_md *ctx, struct account *account, __u32 slot)
{
	struct decision decision = {
		.reason = REASON_INTERNAL,
		.list = NO_LIST,
		.scope = NO_SCOPE,
		.counted = NO_LIST,
		.service = NO_SLOT,
		.backend = NO_SLOT,
	};
	struct cursor cursor = { .pos = (void *)(long)ctx->data, .end = (void *)(long)ctx->data_end };
	const struct settings *settings = lookup_line(SETTINGS_LINE);
	__u32 banned = 0, network, transport, lacks, dropping;
	struct packet packet = {};
	enum parsed parsed;

	if (!settings)
		return decision;
	lacks = lacking_roles(settings, slot);
	dropping = settings->flags & SETTINGS_DEFAULT_DROP && !(lacks & ROLE_FILTER);
	parsed = parse_ethernet(&cursor, &packet);
	if (parsed != PARSED)
		goto unparsed;
	if (!is_ipv4(&packet) && !is_ipv6(&packet)) {
		int arp = packet.ethertype == bpf_htons(ETH_P_ARP);

		add_fragments(ctx, account);
		decision.reason = arp && dropping ? REASON_ESSENTIAL : REASON_NOT_IP;
		return decision;
	}
	network = offset_in(ctx, cursor.pos);
	parsed = is_ipv4(&packet) ? parse_ipv4(&cursor, &packet) : parse_ipv6(&cursor, &packet);
	if (parsed != PARSED)
		goto unparsed;
	if (account->bytes >= FULL_BUFFER || cursor.left > cursor.end - cursor.pos)
		add_fragments(ctx, account);

	/* Before the parser continues: otherwise the verifier would walk the tables again for every path through it. */
	if (is_ipv4(&packet)) {
		if (!(lacks & ROLE_FILTER)) {
			decision.class = lookup4(settings, packet.source4);
			banned = lookup_ban4(packet.source4);
		}
		parsed = parse_transport(&cursor, &packet, IPPROTO_ICMP);
	} else {
		if (!(lacks & ROLE_FILTER)) {
			decision.class = classify_ipv6(&packet);
			banned = lookup_ban6(packet.source6_high, packet.source6_low);
		}
		parsed = parse_extensions(ctx, &cursor, &packet);
		if (parsed == PARSED)
			parsed = parse_transport(&cursor, &packet, IPPROTO_ICMPV6);
	}
	transport = offset_in(ctx, cursor.pos);
	if (decision.class != 0 && judge_packet(settings, &packet, account, slot, banned, &decision)) {
		if (decision.reason != REASON_ALLOWLIST)
			return decision;
	} else if (banned) {
		decision.reason = REASON_BAN;
		decision.scope = banned - 1;
		return decision;
	} else if (parsed != PARSED && !(parsed == PARSED_TOO_DEEP && dropping)) {
		/* The stack follows longer chains than we do: under default drop an extra header must not bypass it. */
		goto unparsed;
	} else if (!dropping) {
		decision.reason = REASON_DEFAULT_PASS;
	} else {
		decision.reason = is_essential(&packet) ? REASON_ESSENTIAL : REASON_DEFAULT_DROP;
	}
	if (settings->flags & SETTINGS_SERVICES && parsed == PARSED && PART(balancer) && !(lacks & ROLE_BALANCE))
		balance(ctx, account, &packet, network, transport, &decision);
	return decision;

unparsed:
	decision.reason = unparsed(ctx, account, parsed);
	return decision;
}

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
#include "verdict.h"

#define NO_LIST 0xffff
#define NO_SCOPE 0xffff

/* RFC 4861: router solicitation to redirect. Without them, IPv6 does not work at all. */
#define ND_FIRST 133
#define ND_LAST 137
/* RFC 2710: query, report and done; RFC 3810: report of version 2. */
#define MLD_FIRST 130
#define MLD_LAST 132
#define MLD2_REPORT 143
/* RFC 2131, RFC 8415 */
#define DHCP4_SERVER 67
#define DHCP4_CLIENT 68
#define DHCP6_CLIENT 546
#define DHCP6_SERVER 547
/* Source and destination port as in packet->head. */
#define PORTS(source, destination) ((__u32)(source) << 16 | (destination))

/* IEEE 802.3 §3.2.6: smaller numbers are lengths of LLC frames (STP, CDP …), in which Linux expects no IP. */
#define ETHERTYPE_FIRST 0x0600
/* Ethertypes that linux/if_ether.h lacks: IEEE 802.1Q §10.12 (MMRP), §35 (MSRP), IEEE 802.3 annex 57 (LACP, OAM). */
#define ETH_P_MSRP 0x22ea
#define ETH_P_MMRP 0x88f6
#define ETH_P_SLOW_PROTOCOLS 0x8809

#define SETTINGS_LINE 0
#define TABLE6_LINE 1
#define ROLES_LINE 10
#define CLASSES_PER_LINE (LINE_SIZE / sizeof(struct class))
#define RULES_PER_LINE (LINE_SIZE / sizeof(struct rule))

/* Input of the rules of a class, and their position. */
struct subject {
	struct account account;
	__u32 first_rule;
	__u16 rules;
	__u16 protocol;		/* IP protocol number or PROTOCOL_UNKNOWN */
	__u16 source_port;
	__u16 destination_port;
	__u8 ipv6;
	__u8 has_ports;
	__u8 banned;		/* 1: block rules do not apply */
	__u8 pad;
};

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

/*
 * The rules for a packet, apart from lists, in one register: the flags of the settings, and above them the roles that the
 * interface lacks. One without the role of the filter drops nothing.
 */
#define LACKS(role) ((role) << 16)

static __always_inline int is_filtered(__u32 rules)
{
	return !(rules & LACKS(ROLE_FILTER));
}

static __always_inline int drops_by_default(__u32 rules)
{
	return (rules & (SETTINGS_DEFAULT_DROP | LACKS(ROLE_FILTER))) == SETTINGS_DEFAULT_DROP;
}

static __always_inline int drops_unparsed(__u32 rules)
{
	return (rules & (SETTINGS_UNPARSED_DROP | LACKS(ROLE_FILTER))) == SETTINGS_UNPARSED_DROP;
}

static __always_inline int is_balanced(__u32 rules)
{
	return (rules & (SETTINGS_SERVICES | LACKS(ROLE_BALANCE))) == SETTINGS_SERVICES;
}

/* Ethertypes of protocols of the link, which carry no IP packet to this host; docs/filter.md lists them. */
static __always_inline int is_link_protocol(__u16 ethertype)
{
	switch (ethertype) {
	case ETH_P_ARP:
	case ETH_P_RARP:
	case ETH_P_SLOW_PROTOCOLS:
	case ETH_P_LLDP:
	case ETH_P_PAE:
	case ETH_P_PREAUTH:
	case ETH_P_PPP_DISC:
	case ETH_P_MACSEC:
	case ETH_P_1588:
	case ETH_P_CFM:
	case ETH_P_MSRP:
	case ETH_P_MVRP:
	case ETH_P_MMRP:
	case ETH_P_FCOE:
	case ETH_P_FIP:
	case ETH_P_AOE:
		return 1;
	}
	return ethertype < ETHERTYPE_FIRST;
}

/* The reason of a packet whose headers cannot be parsed completely. */
static __always_inline __u32 unparsed(__u32 rules, __u32 parsed)
{
	if (parsed == PARSED_TOO_DEEP)
		return drops_unparsed(rules) ? REASON_UNSUPPORTED_DROP : REASON_UNSUPPORTED;
	return drops_unparsed(rules) ? REASON_MALFORMED_DROP : REASON_MALFORMED;
}

/*
 * The reason of a packet without known addresses. A global function for the verifier's sake, as judge_further_rules, and
 * because few packets come here.
 */
__noinline __u32 judge_unaddressed(__u32 rules, __u32 parsed, __u32 ethertype)
{
	if (parsed != PARSED_NOT_IP)
		return unparsed(rules, parsed);
	if (ethertype == ETH_P_ARP && drops_by_default(rules))
		return REASON_ESSENTIAL;
	return drops_unparsed(rules) && !is_link_protocol(ethertype) ? REASON_NOT_IP_DROP : REASON_NOT_IP;
}

/* Whether parse_apart may see more of a packet than the parser of the linear part. */
static __always_inline int has_more(struct xdp_md *ctx, struct account *account, enum parsed parsed)
{
	add_fragments(ctx, account);
	if (parsed == PARSED_SHORT)
		return account->bytes > linear_size(ctx);
	return parsed == PARSED_TAGGED || (parsed == PARSED_IMPOSSIBLE && account->bytes > IP_LENGTH_LIMIT);
}

static __always_inline int within(__u16 port, __u16 first, __u16 last)
{
	return port >= first && port <= last;
}

static __always_inline int matches(const struct rule *rule, const struct subject *subject)
{
	__u8 protocol = subject->ipv6 ? rule->protocol6 : rule->protocol4;

	if ((rule->flags & RULE_PROTOCOL) && subject->protocol != protocol)
		return 0;
	if (!(rule->flags & RULE_PORTS))
		return 1;
	return subject->has_ports && within(subject->source_port, rule->source_first, rule->source_last) &&
	       within(subject->destination_port, rule->destination_first, rule->destination_last);
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
	if (decision->counted == rule->list || !matches(rule, subject))
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
					const struct account *account, __u32 banned, struct decision *decision)
{
	struct subject subject = {
		.account = *account,
		.protocol = packet->protocol,
		.source_port = source_port(packet),
		.destination_port = destination_port(packet),
		.ipv6 = is_ipv6(packet),
		.has_ports = packet->transport == TRANSPORT_PORTS,
		.banned = banned != 0,
	};

	return judge_class(settings, &subject, decision);
}

/* enum essential bit of an ICMP message, or 0. */
static __always_inline __u32 essential_icmp(const struct packet *packet)
{
	__u8 type = icmp_type(packet);

	if (!is_ipv6(packet))
		return is_error4(type) ? ESSENTIAL_ICMP_ERRORS : 0;
	if (type >= ND_FIRST && type <= ND_LAST)
		return ESSENTIAL_NEIGHBOR_DISCOVERY;
	if ((type >= MLD_FIRST && type <= MLD_LAST) || type == MLD2_REPORT)
		return ESSENTIAL_MLD;
	return is_error6(type) ? ESSENTIAL_ICMP_ERRORS : 0;
}

/* enum essential bit of a UDP packet, or 0. RFC 2131 §4.1: relay agents use the server's port on both sides. */
static __always_inline __u32 essential_udp(const struct packet *packet)
{
	if (is_ipv6(packet)) {
		if (packet->head == PORTS(DHCP6_SERVER, DHCP6_CLIENT))
			return ESSENTIAL_DHCP_CLIENT;
		return packet->head == PORTS(DHCP6_CLIENT, DHCP6_SERVER) ||
				       packet->head == PORTS(DHCP6_SERVER, DHCP6_SERVER) ?
			       ESSENTIAL_DHCP_SERVER :
			       0;
	}
	if (packet->head == PORTS(DHCP4_SERVER, DHCP4_CLIENT))
		return ESSENTIAL_DHCP_CLIENT;
	return packet->head == PORTS(DHCP4_CLIENT, DHCP4_SERVER) || packet->head == PORTS(DHCP4_SERVER, DHCP4_SERVER) ?
		       ESSENTIAL_DHCP_SERVER :
		       0;
}

/* enum essential bit of the packet's group, or 0: packets without which not even allowed sources could reach the host. */
static __always_inline __u32 essential_group(const struct packet *packet)
{
	if (is_loopback(packet))
		return ESSENTIAL_LOOPBACK;
	if (packet->transport == TRANSPORT_ICMP)
		return essential_icmp(packet);
	return packet->transport == TRANSPORT_PORTS && packet->protocol == IPPROTO_UDP ? essential_udp(packet) : 0;
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

/* enum role bits of the roles that the receiving interface lacks. */
static __always_inline __u32 lacking_roles(const struct settings *settings, const struct account *account)
{
	const struct roles *roles = settings->flags & SETTINGS_ROLES ? lookup_line(ROLES_LINE) : 0;

	return roles ? roles->lacks[slot_of(account) % sizeof(roles->lacks)] : 0;
}

extern int bpf_xdp_pull_data(struct xdp_md *ctx, __u32 size) __ksym __weak;

/*
 * Moves the first `size` bytes of the frame into its linear part, where the balancer reads and writes. -1: the kernel
 * cannot, as before 6.18. A global function, because few packets come here.
 */
__noinline int make_linear(struct xdp_md *ctx, __u32 size)
{
	__u32 whole = bpf_xdp_get_buff_len(ctx);

	if (!bpf_xdp_pull_data)
		return -1;
	return bpf_xdp_pull_data(ctx, size < whole ? size : whole) ? -1 : 0;
}

/* Bytes of the linear part that the balancer needs: an ICMP error quotes a packet (RFC 1812 §4.3.2.3). */
static __always_inline __u32 balanced_size(const struct flow *flow)
{
	return flow->transport + (flow->kind == TRANSPORT_ICMP ? ICMP_HEADER + QUOTE : TCP_HEADER);
}

/* Fills in the balancer's view of a packet that the filter has judged. */
static __always_inline struct flow *open_flow(struct xdp_md *ctx, const struct account *account,
					       const struct packet *packet)
{
	struct scratch *scratch = open_scratch();
	struct flow *flow;

	if (!scratch)
		return 0;
	flow = &scratch->flow;
	flow->source_high = 0;
	flow->destination_high = 0;
	flow->ports = packet->head;
	flow->bytes = account->bytes;
	flow->network = packet->network;
	flow->transport = packet->behind;
	flow->fragment = packet->fragment;
	flow->service = NO_SLOT;
	flow->backend = NO_SLOT;
	flow->binding = NO_BINDING;
	flow->protocol = packet->protocol;
	flow->kind = packet->transport;
	flow->tcp_flags = 0;
	flow->marks = (is_ipv6(packet) ? FLOW_IPV6 : 0) | (is_live(account) ? FLOW_LIVE : 0);
	flow->device = receiving_interface(ctx, account->origin);
	return flow;
}

/* Passes the packet to the balancer. */
static __always_inline void balance(struct xdp_md *ctx, struct flow *flow, __u32 rules, struct decision *decision)
{
	__u32 reason = flow->kind == TRANSPORT_ICMP ? balance_icmp(ctx, flow) : balance_flow(ctx, flow);

	if (reason == NOT_OURS)
		return;
	if (reason == REASON_MALFORMED && drops_unparsed(rules))
		reason = REASON_MALFORMED_DROP;
	if (reason == REASON_UNSUPPORTED && drops_unparsed(rules))
		reason = REASON_UNSUPPORTED_DROP;
	decision->reason = reason;
	decision->service = flow->service;
	decision->backend = flow->backend;
}

/* Looks up the source address of an IPv4 packet: its class, and its ban, as the prefix length + 1. */
static __always_inline __u32 look_up4(const struct settings *settings, const struct packet *packet, __u32 *class)
{
	*class = lookup4(settings, packet->source4);
	return lookup_ban4(packet->source4);
}

static __always_inline __u32 look_up6(const struct packet *packet, __u32 *class)
{
	*class = classify_ipv6(packet);
	return lookup_ban6(packet->source6_high, packet->source6_low);
}

/* Counts all bytes of a packet whose IP header has been parsed. */
static __always_inline void measure(struct xdp_md *ctx, struct account *account, const struct cursor *cursor)
{
	if (account->bytes >= FULL_BUFFER || cursor->left > cursor->end - cursor->pos)
		add_fragments(ctx, account);
}

/* Decides on a packet with known addresses. Returns whether the balancer may take it. */
static __always_inline int decide(const struct settings *settings, const struct packet *packet, enum parsed parsed,
				  const struct account *account, __u32 rules, __u32 banned, struct decision *decision)
{
	if (decision->class != 0 && judge_packet(settings, packet, account, banned, decision)) {
		if (decision->reason != REASON_ALLOWLIST)
			return 0;
	} else if (banned) {
		decision->reason = REASON_BAN;
		decision->scope = banned - 1;
		return 0;
	} else if (parsed != PARSED && (drops_unparsed(rules) || !drops_by_default(rules))) {
		decision->reason = unparsed(rules, parsed);
		return 0;
	} else if (!drops_by_default(rules)) {
		decision->reason = REASON_DEFAULT_PASS;
	} else if (parsed == PARSED && essential_group(packet) & (settings->essential ^ ESSENTIAL_DEFAULT)) {
		decision->reason = REASON_ESSENTIAL;
	} else {
		decision->reason = REASON_DEFAULT_DROP;
	}
	return parsed == PARSED && is_balanced(rules);
}

/*
 * Parses and judges the whole frame, wherever its headers lie. Returns whether the balancer may take it, which then has
 * its view of the packet. A global function, because few packets come here.
 */
__noinline int judge_apart(struct xdp_md *ctx, __u32 origin, __u32 rules, struct decision *decision)
{
	const struct account account = { .origin = origin, .bytes = bpf_xdp_get_buff_len(ctx) };
	const struct settings *settings = lookup_line(SETTINGS_LINE);
	struct packet packet = {};
	__u32 banned = 0;
	int parsed;

	if (!decision || !settings)
		return 0;
	decision->class = 0;
	parsed = parse_apart(ctx, flags_of(&account) & INTERFACE_IP, &packet);
	if (!packet.addressed) {
		decision->reason = judge_unaddressed(rules, parsed, bpf_ntohs(packet.ethertype));
		return 0;
	}
	if (is_filtered(rules))
		banned = is_ipv4(&packet) ? look_up4(settings, &packet, &decision->class) :
					    look_up6(&packet, &decision->class);
	return decide(settings, &packet, parsed, &account, rules, banned, decision) && !packet.stacked && PART(balancer) &&
	       open_flow(ctx, &account, &packet);
}

/* Passes a packet whose headers are not linear to the balancer, which reads and writes them in place. */
static __always_inline void balance_apart(struct xdp_md *ctx, __u32 rules, struct decision *decision)
{
	struct scratch *scratch = open_scratch();

	if (!scratch)
		return;
	if (!make_linear(ctx, balanced_size(&scratch->flow)))
		balance(ctx, &scratch->flow, rules, decision);
	else if (verdict_of(decision->reason) == XDP_PASS)
		decision->reason = REASON_NONLINEAR;
}

/* Judges one packet. Counts the lists that decide, unless it is a test run. */
static __always_inline struct decision filter(struct xdp_md *ctx, struct account *account)
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
	struct packet packet = {};
	__u32 banned = 0, rules;
	enum parsed parsed;
	struct flow *flow;

	if (!settings)
		return decision;
	rules = settings->flags | LACKS(lacking_roles(settings, account));
	/* The balancer writes Ethernet headers. By arithmetic, for the verifier's sake. */
	rules |= flags_of(account) / INTERFACE_IP % 2 * LACKS(ROLE_BALANCE);
	parsed = flags_of(account) & INTERFACE_IP ? parse_bare(&cursor, &packet) : parse_link(&cursor, &packet);
	if (parsed != PARSED)
		goto unaddressed;
	packet.network = offset_in(ctx, cursor.pos);
	/*
	 * The source is looked up as soon as it is known: behind the rest of the parser the verifier would walk the tables
	 * again for every path through it.
	 */
	if (is_ipv4(&packet)) {
		parsed = parse_ipv4(&cursor, &packet);
		if (parsed != PARSED)
			goto unaddressed;
		measure(ctx, account, &cursor);
		if (is_filtered(rules))
			banned = look_up4(settings, &packet, &decision.class);
		parsed = parse_transport(&cursor, &packet, IPPROTO_ICMP);
	} else if (is_ipv6(&packet)) {
		parsed = parse_ipv6(&cursor, &packet);
		if (parsed != PARSED)
			goto unaddressed;
		measure(ctx, account, &cursor);
		if (is_filtered(rules))
			banned = look_up6(&packet, &decision.class);
		parsed = parse_extensions(ctx, &cursor, &packet);
		if (parsed == PARSED)
			parsed = parse_transport(&cursor, &packet, IPPROTO_ICMPV6);
	} else {
		parsed = is_tag(packet.ethertype) ? PARSED_TAGGED : PARSED_NOT_IP;
		goto unaddressed;
	}
	packet.behind = offset_in(ctx, cursor.pos);
	if (parsed != PARSED && has_more(ctx, account, parsed))
		goto apart;
	if (!decide(settings, &packet, parsed, account, rules, banned, &decision) || !PART(balancer))
		return decision;
	flow = open_flow(ctx, account, &packet);
	if (!flow)
		return decision;
	/* Of a first fragment or an ICMP error it reads more than the filter. */
	if (account->bytes > linear_size(ctx) && balanced_size(flow) > linear_size(ctx))
		make_linear(ctx, balanced_size(flow));
	balance(ctx, flow, rules, &decision);
	return decision;

unaddressed:
	if (!has_more(ctx, account, parsed)) {
		decision.reason = judge_unaddressed(rules, parsed, bpf_ntohs(packet.ethertype));
		return decision;
	}
apart:
	if (judge_apart(ctx, account->origin, rules, &decision) && PART(balancer))
		balance_apart(ctx, rules, &decision);
	return decision;
}

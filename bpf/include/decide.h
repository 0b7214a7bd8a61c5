/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The decision on a packet with known addresses: by its source's class and ban, and by default. */
#pragma once

#include "abi.h"
#include "addr.h"
#include "ban.h"
#include "defaults.h"
#include "essential.h"
#include "judge.h"
#include "parse.h"
#include "verdict.h"

#define TABLE6_LINE 1

/* A global function for the verifier's sake, as judge_further_rules. */
__noinline __u32 search_ipv6(const struct table6 *table, __u64 high, __u64 low)
{
	return table ? lookup6(table, high, low) : 0;
}

/* Class of an IPv4 address, for packets that do not go the short way (common.h). A global function likewise. */
__noinline __u32 search_ipv4(const struct settings *settings, __u32 address)
{
	return settings ? lookup4(settings, address) : 0;
}

/* Class of an IPv6 address. Policies without IPv6 addresses skip the call. */
static __always_inline __u32 classify_ipv6(const struct packet *packet)
{
	const struct table6 *table = lookup_line(TABLE6_LINE);

	return table && table->flags ? search_ipv6(table, packet->source6_high, packet->source6_low) : 0;
}

/* Looks up the source address of an IPv4 packet: its class, and its ban, as the prefix length + 1. */
static __always_inline __u32 look_up4(const struct settings *settings, const struct packet *packet, __u32 *class)
{
	*class = search_ipv4(settings, packet->source4);
	return lookup_ban4(packet->source4);
}

static __always_inline __u32 look_up6(const struct packet *packet, __u32 *class)
{
	*class = classify_ipv6(packet);
	return lookup_ban6(packet->source6_high, packet->source6_low);
}

/*
 * Whether a packet whose IP header has been parsed may have fragments. Those that hold nothing of the datagram are looked
 * for only if the linear part has bytes behind it, too.
 */
static __always_inline int may_have_fragments(const struct account *account, const struct cursor *cursor)
{
	const long size = cursor->end - cursor->pos;
	const long left = cursor->left;

	return left > size || (left < size && account->bytes >= FULL_BUFFER);
}

/* Counts all bytes of a packet whose IP header has been parsed. */
static __always_inline void measure(struct xdp_md *ctx, struct account *account, const struct cursor *cursor)
{
	if (may_have_fragments(account, cursor))
		add_fragments(ctx, account);
}

/*
 * Decides on a packet whose source is in a plain class, as most listed sources are: neither the rule nor the rest of the
 * packet matters. Not on banned sources, nor on packets that the balancer may take. The scope stays open; add_scope
 * reads it.
 */
static __always_inline int settle(const struct settings *settings, const struct account *account, __u32 defaults,
				  __u32 banned, struct decision *decision)
{
	const struct class *class = decision->class && !banned ? lookup_class(settings, decision->class) : 0;

	if (!class || !(class->plain & CLASS_PLAIN) || (class->plain & CLASS_ALLOW && is_balanced(defaults)))
		return 0;
	decision->reason = class->plain & CLASS_ALLOW ? REASON_ALLOWLIST : REASON_BLOCKLIST;
	decision->list = class->plain & CLASS_LIST;
	count_list(account, class->plain & CLASS_LIST);
	return 1;
}

/* The reason of a packet with known addresses that neither lists nor bans decide. */
static __always_inline __u32 default_reason(const struct packet *packet, enum parsed parsed, __u32 defaults)
{
	if (parsed != PARSED && (drops_unparsed(defaults) || !drops_by_default(defaults)))
		return unparsed(defaults, parsed);
	if (!drops_by_default(defaults))
		return REASON_DEFAULT_PASS;
	if (parsed == PARSED && essential_group(packet) & essential_groups(defaults))
		return REASON_ESSENTIAL;
	return REASON_DEFAULT_DROP;
}

static __always_inline void decide_ban(__u32 banned, struct decision *decision)
{
	decision->reason = REASON_BAN;
	decision->scope = banned - 1;
}

/* Decides on a packet with known addresses. Returns whether the balancer may take it. */
static __always_inline int decide(const struct settings *settings, const struct packet *packet, enum parsed parsed,
				  const struct account *account, __u32 defaults, __u32 banned, struct decision *decision)
{
	if (decision->class != 0 && judge_packet(settings, packet, account, banned, decision)) {
		if (decision->reason != REASON_ALLOWLIST)
			return 0;
	} else if (banned) {
		decide_ban(banned, decision);
		return 0;
	} else {
		decision->reason = default_reason(packet, parsed, defaults);
	}
	return parsed == PARSED && is_balanced(defaults);
}

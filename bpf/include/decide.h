/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The decision on a packet with known addresses: by its source's class and ban, and by default. */
#pragma once

#include "abi.h"
#include "addr.h"
#include "anomaly.h"
#include "ban.h"
#include "defaults.h"
#include "essential.h"
#include "established.h"
#include "judge.h"
#include "match.h"
#include "observe.h"
#include "parse.h"
#include "parts.h"
#include "rate.h"
#include "rate_source.h"
#include "socketless.h"
#include "syn.h"
#include "verdict.h"

#define TABLE6_LINE 1

/* A global function for the verifier's sake, as judge_class. */
__noinline __u32 search_ipv6(const struct table6 *table, __u64 high, __u64 low)
{
	return table ? note_class(lookup6(table, high, low)) : 0;
}

/* Class of an IPv4 address, for packets that do not go the short way (common.h). A global function likewise. */
__noinline __u32 search_ipv4(const struct settings *settings, __u32 address)
{
	return settings ? note_class(lookup4(settings, address)) : 0;
}

/* Class of an IPv6 address. Policies without IPv6 addresses skip the call. */
static __always_inline __u32 classify_ipv6(const struct packet *packet)
{
	const struct table6 *table = lookup_line(TABLE6_LINE);

	return table && table->flags ? search_ipv6(table, packet->source6_high, packet->source6_low) : 0;
}

/* Looks up the source address of an IPv4 packet: its class, and its ban: see search_bans. */
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
 * The class of the source, if it is plain, as that of most listed sources is, and decides: on packets that neither a ban
 * nor the balancer nor the protection of ports has a say in. Else 0.
 */
static __always_inline const struct class *plain_class(const struct settings *settings, __u32 defaults, __u32 banned,
						       const struct decision *decision)
{
	const struct class *class = decision->class && !banned ? lookup_class(settings, decision->class) : 0;

	if (!class || !(class->plain & CLASS_PLAIN) ||
	    (class->plain & CLASS_ALLOW && (is_balanced(defaults) || PART(syn))))
		return 0;
	return class;
}

/* Whether a plain class passes packets of connections that this host opened, though it drops all others. */
static __always_inline int spares_own(const struct class *class, __u32 defaults)
{
	return PART(established) && defaults & SETTINGS_ESTABLISHED && !(class->plain & CLASS_ALLOW);
}

/* Decides by a plain class: its rule does not matter. The scope stays open; add_scope reads it. */
static __always_inline void decide_plain(const struct account *account, const struct class *class,
					 struct decision *decision)
{
	decision->reason = class->plain & CLASS_ALLOW ? REASON_ALLOWLIST : REASON_BLOCKLIST;
	decision->list = class->plain & CLASS_LIST;
	count_list(account, class->plain & CLASS_LIST);
}

/* Decides by a plain class if the rest of the packet does not matter either. */
static __always_inline int settle(const struct settings *settings, const struct account *account, __u32 defaults,
				  __u32 banned, struct decision *decision)
{
	const struct class *class = plain_class(settings, defaults, banned, decision);

	if (!class || spares_own(class, defaults))
		return 0;
	decide_plain(account, class, decision);
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

/* Judges a packet by the rules of its source's class. Asks the kernel for its socket only where a rule depends on it. */
static __always_inline int judge_packet(struct xdp_md *ctx, const struct settings *settings, const struct packet *packet,
					const struct account *account, __u32 defaults, __u32 banned,
					struct decision *decision)
{
	struct subject subject = {
		.account = *account,
		.protocol = packet->protocol,
		.source_port = source_port(packet),
		.destination_port = destination_port(packet),
		.ipv6 = is_ipv6(packet),
		.has_ports = packet->transport == TRANSPORT_PORTS,
		.banned = is_enforced(banned),
	};
	__u32 flags;
	int decides;

	if (PART(match) && needs_traits(decision->class))
		read_traits(ctx, offsets_of(packet->network, packet->behind), packet->head, kind_of(packet, account));
	if (PART(observe))
		forget_observed();
	if (PART(socketless) && !may_be_socketless(ctx, packet))
		subject.socket = SOCKET_SOME;
	decides = judge_class(settings, &subject, decision);
	if (!PART(socketless) || subject.socket != SOCKET_ASKED)
		return decides;
	flags = (is_ipv6(packet) ? SOCKETLESS_IPV6 : 0) |
		(is_balanced(defaults) && !packet->stacked ? SOCKETLESS_BALANCED : 0);
	subject.socket = is_socketless(ctx, account->origin, packet->network, packet->behind, flags) ? SOCKET_NONE :
												       SOCKET_SOME;
	return judge_class(settings, &subject, decision);
}

/*
 * Decides by a plain class although it spares connections of this host: the last question comes behind it. Such a class
 * drops as its rule does, so a flood from a listed network does not walk along rules.
 */
static __always_inline int decide_sparing(const struct settings *settings, const struct account *account, __u32 defaults,
					  __u32 banned, struct decision *decision)
{
	const struct class *class;

	if (!PART(established))
		return 0;
	class = plain_class(settings, defaults, banned, decision);
	if (!class || !spares_own(class, defaults))
		return 0;
	decide_plain(account, class, decision);
	return 1;
}

/* Drops a packet that exceeds a rate limit. `offsets`: as offsets_of; of IPv4 the IP header is enough. */
static __always_inline void limit_rate(struct xdp_md *ctx, const struct packet *packet, const struct account *account,
				       __u32 defaults, __u32 offsets, struct decision *decision)
{
	if (is_filtered(defaults) &&
	    exceeds_rate(ctx, who_of(account), offsets, packet->head,
			 kind_of(packet, account) | (is_loopback(packet) ? KIND_LOOPBACK : 0)))
		decision->reason = REASON_RATE_LIMIT;
}

/* Drops a packet with an anomaly that the policy drops. `offsets`: as in judge_anomalies. */
static __always_inline int drop_anomaly(struct xdp_md *ctx, const struct packet *packet, const struct account *account,
					__u32 defaults, __u32 offsets, struct decision *decision)
{
	const __u32 anomaly = is_filtered(defaults) ? judge_anomalies(ctx, who_of(account), offsets, packet->head,
								      ANOMALY_KIND(packet)) :
						      0;

	if (!anomaly)
		return 0;
	decision->reason = REASON_ANOMALY;
	decision->scope = anomaly - 1;
	return 1;
}

/*
 * The reason of a packet, after an observed ban that covers it, if there is one: counts what the ban would have dropped, unless
 * it is a test run, and names the ban where nothing else decided. A global function for the verifier's sake: behind it, paths
 * with different reasons are one, so it is called for every packet that comes here.
 */
__noinline __u32 observe_ban(struct xdp_md *ctx, __u32 origin, __u32 banned, __u32 reason)
{
	const struct account account = { .origin = origin };

	if (PART(observe))
		note_observed(ctx, origin);
	if (!(banned & OBSERVED) || reason == REASON_ALLOWLIST)
		return reason;
	if (is_live(&account))
		count_observed(bpf_xdp_get_buff_len(ctx));
	return reason == REASON_DEFAULT_PASS ? REASON_BAN_OBSERVED : reason;
}

/* An entry would have dropped the packet: that is its reason if nothing else speaks of it. */
static __always_inline void decide_observed(__u32 observed, struct decision *decision)
{
	if (observed == NOT_OBSERVED)
		return;
	decision->reason = REASON_OBSERVED;
	decision->list = observed;
	decision->scope = observed >> 16;
}

/* Decides on a packet with known addresses. Returns whether the balancer may take it, or ports of this host are protected. */
static __always_inline int decide(struct xdp_md *ctx, const struct settings *settings, const struct packet *packet,
				  enum parsed parsed, const struct account *account, __u32 defaults, __u32 banned,
				  struct decision *decision)
{
	if (decide_sparing(settings, account, defaults, banned, decision)) {
		/* Only the last question is left. */
	} else if (decision->class != 0 && judge_packet(ctx, settings, packet, account, defaults, banned, decision)) {
		if (decision->reason != REASON_ALLOWLIST && decision->reason != REASON_BLOCKLIST)
			return 0;
	} else if (is_enforced(banned)) {
		decide_ban(banned, decision);
		return 0;
	} else {
		decision->reason = default_reason(packet, parsed, defaults);
		if (PART(anomalies))
			drop_anomaly(ctx, packet, account, defaults, offsets_of(packet->network, packet->behind), decision);
		if (PART(rates) && decision->reason != REASON_ANOMALY)
			limit_rate(ctx, packet, account, defaults, offsets_of(packet->network, packet->behind), decision);
		if (PART(observe) && decision->class && decision->reason == REASON_DEFAULT_PASS)
			decide_observed(read_observed(), decision);
	}
	decision->reason = observe_ban(ctx, account->origin, banned, decision->reason);
	if (decision->reason == REASON_BAN_OBSERVED)
		decision->scope = (__u8)banned - 1;
	if (parsed != PARSED || decision->reason == REASON_ANOMALY)
		return 0;
	if (decision->reason != REASON_BLOCKLIST && decision->reason != REASON_RATE_LIMIT && is_balanced(defaults) && !packet->stacked)
		return 1;
	if (PART(established))
		pass_own(ctx, defaults, packet->network, packet->behind, packet->head,
			 OWN_KIND(packet->protocol, packet->transport, is_ipv6(packet)), decision);
	return PART(syn) && packet->protocol == IPPROTO_TCP;
}

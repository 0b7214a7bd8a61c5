/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The short way of most packets through the filter: whole ones of IPv4 without tags, if neither scopes nor services have
 * a say. It is small, so that the CPU holds a packet and the next one at a time, and has no branch with an outcome that
 * depends on where an address lies in a table.
 */
#pragma once

#include "decide.h"

/* Reads an IPv4 header behind Ethernet. 0: the frame does not begin with them, or they contradict its length. */
static __always_inline int glance(struct cursor *cursor, struct packet *packet)
{
	const __be16 *type = cursor->pos + ETH_HLEN;

	if ((const void *)type + sizeof(struct iphdr) > cursor->end || type[-1] != bpf_htons(ETH_P_IP))
		return 0;
	cursor->pos += ETH_HLEN;
	packet->ethertype = bpf_htons(ETH_P_IP);
	return parse_ipv4(cursor, packet) == PARSED;
}

/* Whether a packet whose transport header has been parsed may belong to a connection that this host opened. */
static __always_inline int may_have_socket(const struct cursor *cursor, const struct packet *packet)
{
	return may_be_own(cursor->pos, cursor->end, packet->head, OWN_KIND(packet->protocol, packet->transport, 0));
}

/* Judges a packet after a glance at `ip`. Returns 0 if it has to go the long way; then nothing is counted. */
static __always_inline int judge_common(struct xdp_md *ctx, const struct account *account, const struct settings *settings, __u32 defaults,
					struct cursor *cursor, struct packet *packet, const struct iphdr *ip,
					struct decision *decision)
{
	const struct class *class = 0;
	__u32 banned;

	if (defaults & (LACKS(ROLE_FILTER) | SETTINGS_SERVICES) || flags_of(account) & INTERFACE_IP ||
	    may_have_fragments(account, cursor))
		return 0;
	*decision = undecided();
	decision->class = lookup4(settings, packet->source4);
	banned = lookup_ban4(packet->source4);
	if (banned & OBSERVED)
		return 0;
	if (decision->class) {
		class = plain_class(settings, defaults, banned, decision);
		if (!class && (!PART(rate_sources) || banned || has_rules(settings, decision->class)))
			return 0;
		if (class && !spares_own(class, defaults)) {
			decide_plain(account, class, decision);
			return 1;
		}
	} else if (banned) {
		decide_ban(banned, decision);
		return 1;
	}
	read_ipv4_rest(ip, packet);
	if (parse_transport(cursor, packet, IPPROTO_ICMP) != PARSED)
		return 0;
	if (class) {
		if (may_have_socket(cursor, packet))
			return 0;
		decide_plain(account, class, decision);
		return 1;
	}
	/* The stack has no room for what may become of a SYN. */
	if (PART(syn) && packet->protocol == IPPROTO_TCP)
		return 0;
	decision->reason = default_reason(packet, PARSED, defaults);
	if (PART(established) && is_asked(defaults, decision) && may_have_socket(cursor, packet))
		return 0;
	/* A limit may drop the packet of an own connection. The long way asks, and counts the packet, which must be counted once. */
	if (PART(rates) && PART(established) && defaults & SETTINGS_ESTABLISHED && may_have_socket(cursor, packet))
		return 0;
	if (PART(anomalies) && drop_anomaly(ctx, packet, account, defaults, ETH_HLEN | offset_in(ctx, cursor->pos) << 16, decision))
		return 1;
	if (PART(rate_sources))
		note_class(decision->class);
	if (PART(rates))
		limit_rate(ctx, packet, account, defaults, ETH_HLEN, decision);
	return 1;
}

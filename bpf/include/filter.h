/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The packet filter: maps a parsed packet and the policy to the reason for its verdict. */
#pragma once

#include "abi.h"
#include "balance.h"
#include "common.h"
#include "decide.h"
#include "defaults.h"
#include "established.h"
#include "extensions.h"
#include "parse.h"
#include "parse_apart.h"
#include "parts.h"
#include "verdict.h"

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
	flow->slot = slot_of(account) % INTERFACE_SLOTS;
	flow->device = arrival_of(ctx, account);
	flow->origin = account->origin;
	return flow;
}

/*
 * Of a packet that is about to be dropped, and not for a service. A global function for the verifier's sake, as
 * judge_class.
 */
__noinline int pass_own_flow(struct xdp_md *ctx, const struct flow *flow, __u32 defaults, struct decision *decision)
{
	if (!flow || !decision)
		return 0;
	pass_own(ctx, defaults, flow->network, flow->transport, flow->ports,
		 OWN_KIND(flow->protocol, flow->kind, flow_is_ipv6(flow)), decision);
	return 0;
}

/* Protects the ports of this host from a packet that is not for a service. A global function likewise. */
__noinline int protect_from_flow(struct xdp_md *ctx, const struct flow *flow, __u32 defaults, struct decision *decision)
{
	if (!flow || !decision)
		return 0;
	protect(ctx, flow->origin, defaults, flow->protocol, flow->kind, flow->fragment,
		SYN_PLACE(flow->network, flow->transport, flow_is_ipv6(flow)), flow->ports, decision);
	return 0;
}

/* Passes the packet to the balancer, and protects the ports of this host from what is not for a service. */
static __always_inline void balance(struct xdp_md *ctx, struct flow *flow, __u32 defaults, struct decision *decision)
{
	__u32 reason = NOT_OURS;

	if (PART(balancer) && is_balanced(defaults))
		reason = flow->kind == TRANSPORT_ICMP ? balance_icmp(ctx, flow) : balance_flow(ctx, flow);

	if (reason == NOT_OURS || (reason == REASON_OTHER_HOST && verdict_of(decision->reason) == XDP_DROP)) {
		if (PART(established) && verdict_of(decision->reason) == XDP_DROP)
			pass_own_flow(ctx, flow, defaults, decision);
		if (PART(syn))
			protect_from_flow(ctx, flow, defaults, decision);
		return;
	}
	if (reason == REASON_MALFORMED && drops_unparsed(defaults))
		reason = REASON_MALFORMED_DROP;
	if (reason == REASON_UNSUPPORTED && drops_unparsed(defaults))
		reason = REASON_UNSUPPORTED_DROP;
	decision->reason = reason;
	decision->service = flow->service;
	decision->backend = flow->backend;
}

/*
 * Parses and judges the whole frame, wherever its headers lie. Returns whether the balancer may take it, which then has
 * its view of the packet. A global function, because few packets come here.
 */
__noinline int judge_apart(struct xdp_md *ctx, __u32 origin, __u32 defaults, struct decision *decision)
{
	const struct account account = { .origin = origin, .bytes = bpf_xdp_get_buff_len(ctx) };
	const struct settings *settings = lookup_line(SETTINGS_LINE);
	struct scratch *scratch = open_scratch();
	struct packet *packet;
	__u32 banned = 0;
	int parsed;

	if (!decision || !settings || !scratch)
		return 0;
	/* The stack is too small for this packet beside that of the caller. */
	packet = &scratch->packet;
	__builtin_memset(packet, 0, sizeof(*packet));
	decision->class = 0;
	parsed = parse_apart(ctx, flags_of(&account) & INTERFACE_IP, packet);
	if (!packet->addressed) {
		decision->reason = judge_unaddressed(defaults, parsed, bpf_ntohs(packet->ethertype));
		return 0;
	}
	if (is_filtered(defaults))
		banned = is_ipv4(packet) ? look_up4(settings, packet, &decision->class) :
					   look_up6(packet, &decision->class);
	return decide(ctx, settings, packet, parsed, &account, defaults, banned, decision) &&
	       open_flow(ctx, &account, packet);
}

/* Passes a packet whose headers are not linear to the balancer, which reads and writes them in place. */
static __always_inline void balance_apart(struct xdp_md *ctx, __u32 defaults, struct decision *decision)
{
	struct scratch *scratch = open_scratch();

	if (!scratch)
		return;
	if (!make_linear(ctx, balanced_size(&scratch->flow)))
		balance(ctx, &scratch->flow, defaults, decision);
	else if (verdict_of(decision->reason) == XDP_PASS && is_balanced(defaults))
		decision->reason = REASON_NONLINEAR;
	else if (PART(established))
		pass_own_flow(ctx, &scratch->flow, defaults, decision);
}

/*
 * Moves a parsed packet from registers and stack to memory of which the verifier knows no values: all paths through the
 * parser are one behind it. Linux 6.1 else follows each of them through all that decides.
 */
static __always_inline const struct packet *keep_packet(const struct packet *packet)
{
	struct scratch *scratch = open_scratch();

	if (!scratch)
		return 0;
	scratch->packet = *packet;
	/* The compiler would remember the values. */
	asm volatile("" : : : "memory");
	return &scratch->packet;
}

/* The long way: judges any packet. */
static __always_inline struct decision judge_any(struct xdp_md *ctx, struct account *account,
						 const struct settings *settings, __u32 defaults)
{
	struct cursor cursor = { .pos = (void *)(long)ctx->data, .end = (void *)(long)ctx->data_end };
	struct decision decision = undecided();
	struct packet packet = {};
	const struct packet *whole;
	const void *network;
	enum parsed parsed;
	__u32 banned = 0;
	struct flow *flow;

	parsed = flags_of(account) & INTERFACE_IP ? parse_bare(&cursor, &packet) : parse_link(&cursor, &packet);
	if (parsed != PARSED)
		goto unaddressed;
	network = cursor.pos;
	/*
	 * The source is looked up as soon as it is known: behind the rest of the parser the verifier would walk the tables
	 * again for every path through it.
	 */
	if (is_ipv4(&packet)) {
		parsed = parse_ipv4(&cursor, &packet);
		if (parsed != PARSED)
			goto unaddressed;
		measure(ctx, account, &cursor);
		if (is_filtered(defaults)) {
			banned = look_up4(settings, &packet, &decision.class);
			if (settle(settings, account, defaults, banned, &decision))
				return decision;
		}
		read_ipv4_rest(network, &packet);
		parsed = parse_transport(&cursor, &packet, IPPROTO_ICMP);
	} else if (is_ipv6(&packet)) {
		parsed = parse_ipv6(&cursor, &packet);
		if (parsed != PARSED)
			goto unaddressed;
		measure(ctx, account, &cursor);
		if (is_filtered(defaults)) {
			banned = look_up6(&packet, &decision.class);
			if (settle(settings, account, defaults, banned, &decision))
				return decision;
		}
		read_ipv6_rest(network, &packet);
		parsed = parse_extensions(ctx, &cursor, &packet);
		if (parsed == PARSED)
			parsed = parse_transport(&cursor, &packet, IPPROTO_ICMPV6);
	} else {
		parsed = is_tag(packet.ethertype) ? PARSED_TAGGED : PARSED_NOT_IP;
		goto unaddressed;
	}
	packet.network = offset_in(ctx, network);
	packet.behind = offset_in(ctx, cursor.pos);
	if (parsed != PARSED && has_more(ctx, account, parsed))
		goto apart;
	if (!PART(balancer) && !PART(syn) && !PART(match) && !PART(anomalies) && !PART(rates)) {
		decide(ctx, settings, &packet, parsed, account, defaults, banned, &decision);
		return decision;
	}
	whole = keep_packet(&packet);
	if (!whole || !decide(ctx, settings, whole, parsed, account, defaults, banned, &decision))
		return decision;
	if (!PART(balancer) && !PART(syn))
		return decision;
	flow = open_flow(ctx, account, whole);
	if (!flow)
		return decision;
	/* Of a first fragment or an ICMP error it reads more than the filter. */
	if (account->bytes > linear_size(ctx) && balanced_size(flow) > linear_size(ctx))
		make_linear(ctx, balanced_size(flow));
	balance(ctx, flow, defaults, &decision);
	return decision;

unaddressed:
	if (!has_more(ctx, account, parsed)) {
		decision.reason = judge_unaddressed(defaults, parsed, bpf_ntohs(packet.ethertype));
		return decision;
	}
apart:
	if (judge_apart(ctx, account->origin, defaults, &decision) && (PART(balancer) || PART(syn)))
		balance_apart(ctx, defaults, &decision);
	return decision;
}

/* Judges one packet the long way. */
static __always_inline struct decision filter_any(struct xdp_md *ctx, struct account *account)
{
	const struct settings *settings = lookup_line(SETTINGS_LINE);

	return settings ? judge_any(ctx, account, settings, defaults_of(settings, account)) : undecided();
}

/*
 * Judges one packet, and stores its account, which `open` opens. Counts the lists that decide, unless it is a test run.
 * The frame is the coldest memory: it is read before all else, so that the CPU looks up the rest while it waits.
 */
static __always_inline struct decision filter(struct xdp_md *ctx, struct account (*open)(struct xdp_md *ctx),
					      struct account *account)
{
	struct cursor cursor = { .pos = (void *)(long)ctx->data, .end = (void *)(long)ctx->data_end };
	const struct iphdr *ip = cursor.pos + ETH_HLEN;
	struct packet packet = {};
	const int is_common = glance(&cursor, &packet);
	const struct settings *settings;
	struct decision decision;
	__u32 defaults;

	*account = open(ctx);
	settings = lookup_line(SETTINGS_LINE);
	if (!settings)
		return undecided();
	defaults = defaults_of(settings, account);
	if (is_common && judge_common(ctx, account, settings, defaults, &cursor, &packet, ip, &decision))
		return decision;
	return judge_any(ctx, account, settings, defaults);
}

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Rules that ask more of a packet than its source, protocol and ports: TCP flags, the type of ICMP, the length, TTL, DSCP,
 * fragments, the VLAN and the destination. The headers are read once, into the scratch of the CPU; then each such rule is
 * compared with its line.
 */
#pragma once

#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "abi.h"
#include "addr.h"
#include "flow.h"
#include "parse.h"
#include "parts.h"
#include "translate.h"
#include "verdict.h"

const volatile __u32 part_match = 1;

#define IPV4_HEADER 20
#define IPV6_HEADER 40
/* Not the number of a VLAN. */
#define NO_VLAN 0xffff

ABI_SIZE(address_range, LINE_SIZE / 2);
ABI_SIZE(match, LINE_SIZE);

enum trait {
	TRAIT_IPV6 = 1,
	TRAIT_PORTS = 2,	/* ports are known */
	TRAIT_TCP_FLAGS = 4,	/* and the flags of TCP */
	TRAIT_CUT = 8,		/* TCP, in a first fragment that ends in front of them */
	TRAIT_ICMP = 16,	/* type and code are known */
};

/* IP protocol number, enum transport and enum kind_flag of a packet as one number. */
enum kind_flag {
	KIND_IPV6 = 1 << 24,
	KIND_LOOPBACK = 1 << 25,	/* from a loopback address to one */
	KIND_MORE = 1 << 26,		/* more fragments follow */
	KIND_LATER = 1 << 27,		/* a fragment behind the first */
	KIND_BARE = 1 << 28,		/* without an Ethernet header */
};

/* Without KIND_LOOPBACK, and without branches: behind each the verifier would walk the rest once more. */
static __always_inline __u32 kind_of(const struct packet *packet, const struct account *account)
{
	const __u32 ipv6 = bpf_ntohs(packet->ethertype) >> 15;
	const __u32 more = packet->fragment / FRAGMENT_MORE & 1;
	const __u32 later = ((packet->fragment & FRAGMENT_OFFSET) + FRAGMENT_OFFSET) / FRAGMENT_MORE;

	return (__u32)packet->protocol | (__u32)packet->transport << 16 | ipv6 * KIND_IPV6 | more * KIND_MORE |
	       later * KIND_LATER | (flags_of(account) / INTERFACE_IP & 1) * KIND_BARE;
}

/* Offsets of the IP header and of the transport header as one number; of IPv4 the latter follows from the former. */
static __always_inline __u32 offsets_of(__u32 network, __u32 transport)
{
	return network | transport << 16;
}

static __always_inline struct traits *open_traits(void)
{
	struct scratch *scratch = open_scratch();

	return scratch ? &scratch->traits : 0;
}

/* Bytes of the frame, wherever they lie; 0: they do not exist. `size`: a constant. */
static __always_inline const void *bytes_at(struct xdp_md *ctx, __u32 at, void *copy, __u32 size)
{
	const void *bytes = frame_at(ctx, at);

	if (bytes + size <= frame_end(ctx))
		return bytes;
	return bpf_xdp_load_bytes(ctx, at, copy, size) ? 0 : copy;
}

/* The length that the header says, or that of a datagram without one in it. */
static __always_inline void set_length(struct xdp_md *ctx, struct traits *traits, __u32 said, __u32 network, __u32 header)
{
	const __u32 size = bpf_xdp_get_buff_len(ctx) - network;

	if (!said && size > IP_LENGTH_LIMIT)
		said = IP_LENGTH_LIMIT;
	else
		said += header;
	traits->length = said > IP_LENGTH_LIMIT ? IP_LENGTH_LIMIT : said;
}

static __always_inline int read_ip_traits(struct xdp_md *ctx, struct traits *traits, __u32 network, __u32 ipv6)
{
	const __be32 *words;

	if (ipv6) {
		words = bytes_at(ctx, network, traits->copy, IPV6_HEADER);
		if (!words)
			return 0;
		set_length(ctx, traits, bpf_ntohl(words[1]) >> 16, network, IPV6_HEADER);
		traits->dscp = bpf_ntohl(words[0]) >> 22 & 63;
		traits->ttl = bpf_ntohl(words[1]);
		traits->destination_high = half_of(words + 6);
		traits->destination_low = half_of(words + 8);
		return 1;
	}
	words = bytes_at(ctx, network, traits->copy, IPV4_HEADER);
	if (!words)
		return 0;
	set_length(ctx, traits, bpf_ntohl(words[0]) & 0xffff, network, 0);
	traits->transport = network + (bpf_ntohl(words[0]) >> 24 & 15) * 4;
	traits->dscp = bpf_ntohl(words[0]) >> 18 & 63;
	traits->ttl = bpf_ntohl(words[2]) >> 24;
	traits->destination_high = 0;
	traits->destination_low = IPV4_IN_IPV6 | bpf_ntohl(words[4]);
	return 1;
}

/* The number in the first tag of the frame, of any kind. */
static __always_inline __u16 read_vlan(struct xdp_md *ctx, struct traits *traits, __u32 network, __u32 kind)
{
	const __be16 *tag;

	if (kind & KIND_BARE || network <= ETH_HLEN)
		return NO_VLAN;
	tag = bytes_at(ctx, ETH_HLEN - 2, traits->copy, 4);
	return tag && is_tag(tag[0]) ? bpf_ntohs(tag[1]) & VLAN_NUMBER : NO_VLAN;
}

/* The flags of TCP, if the datagram holds them: what follows a short fragment in its frame is padding. */
static __always_inline __u32 read_flags(struct xdp_md *ctx, struct traits *traits, __u32 network)
{
	const __u8 *flags;

	if (traits->transport - network + TCP_FLAGS >= traits->length)
		return TRAIT_CUT;
	flags = bytes_at(ctx, traits->transport + TCP_FLAGS, traits->copy, 1);
	if (!flags)
		return TRAIT_CUT;
	traits->tcp_flags = *flags;
	return TRAIT_TCP_FLAGS;
}

/*
 * Reads what rules may ask of a packet. `head`: as in struct packet; `kind`: kind_of. Returns 0 if its headers are out of
 * reach, which the parser has excluded. A global function for the verifier's sake, as judge_class.
 */
__noinline int read_traits(struct xdp_md *ctx, __u32 offsets, __u32 head, __u32 kind)
{
	const __u32 network = (__u16)offsets;
	struct traits *traits = open_traits();
	__u32 known = kind & KIND_IPV6 ? TRAIT_IPV6 : 0;

	if (!traits)
		return 0;
	traits->transport = offsets >> 16;
	if (!read_ip_traits(ctx, traits, network, kind & KIND_IPV6))
		return 0;
	traits->fragment = kind & KIND_LATER ? FRAGMENT_LATER : kind & KIND_MORE ? FRAGMENT_FIRST : FRAGMENT_NONE;
	traits->head = head;
	traits->vlan = read_vlan(ctx, traits, network, kind);
	if ((__u8)(kind >> 16) == TRANSPORT_ICMP)
		known |= TRAIT_ICMP;
	if ((__u8)(kind >> 16) == TRANSPORT_PORTS)
		known |= TRAIT_PORTS | ((__u16)kind == IPPROTO_TCP ? read_flags(ctx, traits, network) : 0);
	traits->known = known;
	return 1;
}

/* Whether a rule of a class asks for them. A global function likewise. */
__noinline int needs_traits(__u32 number)
{
	const struct settings *settings = (const void *)policy_line(0);
	const struct class *class = settings ? (const void *)policy_line(settings->classes + number / (LINE_SIZE / sizeof(*class))) :
					       0;

	return class && class[number % (LINE_SIZE / sizeof(*class))].plain & CLASS_MATCHES;
}

static __always_inline int holds(__u16 value, __u16 first, __u16 last)
{
	return value >= first && value <= last;
}

/* Whether the type and code of ICMP are those of its family. */
static __always_inline int fits_icmp(const struct match *match, const struct traits *traits)
{
	const __u8 type = traits->head >> 24, code = traits->head >> 16;
	const __u32 ipv6 = traits->known & TRAIT_IPV6;

	if (!(traits->known & TRAIT_ICMP) || !(match->conditions & (ipv6 ? MATCH_ICMP6 : MATCH_ICMP4)))
		return 0;
	if (type != (ipv6 ? match->icmp_type6 : match->icmp_type4))
		return 0;
	return !(match->conditions & (ipv6 ? MATCH_CODE6 : MATCH_CODE4)) ||
	       code == (ipv6 ? match->icmp_code6 : match->icmp_code4);
}

/*
 * Whether the flags of TCP are as a rule says. A first fragment without them is made to hide them (RFC 1858 §3): a
 * blocklist takes it for what it drops, an allowlist does not take it for what it passes.
 */
static __always_inline int fits_flags(const struct match *match, const struct traits *traits, __u32 allow)
{
	if (traits->known & TRAIT_CUT)
		return !allow;
	return traits->known & TRAIT_TCP_FLAGS && (traits->tcp_flags & match->tcp_mask) == match->tcp_flags;
}

static __always_inline int fits_ports(const struct match *match, const struct traits *traits)
{
	return traits->known & TRAIT_PORTS && holds(traits->head >> 16, match->source_first, match->source_last) &&
	       holds(traits->head, match->destination_first, match->destination_last);
}

/* Whether the first of two numbers of 128 bits is not above the second. */
static __always_inline int is_up_to(__u64 a_high, __u64 a_low, __u64 b_high, __u64 b_low)
{
	return a_high < b_high || (a_high == b_high && a_low <= b_low);
}

static __always_inline int is_in_range(const struct address_range *range, const struct traits *traits)
{
	return is_up_to(range->first_high, range->first_low, traits->destination_high, traits->destination_low) &&
	       is_up_to(traits->destination_high, traits->destination_low, range->last_high, range->last_low);
}

/* Whether the packet goes to one of the destinations of the struct match. */
static __always_inline int fits_destination(const struct match *match, const struct traits *traits)
{
	const __u32 ipv6 = traits->known & TRAIT_IPV6, end = ipv6 ? match->destinations : match->destinations4;

	if (!ipv6 || !match->destinations4) {
		if (end && is_in_range(&match->destination, traits))
			return 1;
	}
	for (__u32 i = ipv6 && match->destinations4 ? match->destinations4 : 1; i < MATCH_DESTINATIONS && i < end; i++) {
		const struct address_range *range = (const void *)policy_line(traits->line + (i + 1) / 2);

		if (!range)
			return 0;
		if (is_in_range(range + (i + 1) % 2, traits))
			return 1;
	}
	return 0;
}

/* Whether a rule has a struct match, and its line from the start of its section. */
static __always_inline int has_match(const struct rule *rule)
{
	return rule->interfaces & RULE_MATCH;
}

static __always_inline __u32 match_line(const struct rule *rule)
{
	return rule->source_first | (__u32)rule->source_last << 16;
}

/*
 * Whether the packet whose traits were read fits the struct match of a rule. `first`: the line from which the rule counts. A
 * global function for the verifier's sake, as judge_class.
 */
__noinline int fits_match(const struct rule *rule, __u32 first)
{
	struct traits *traits = open_traits();
	const struct match *match;

	if (!rule || !traits)
		return 0;
	traits->line = first + match_line(rule);
	match = (const void *)policy_line(traits->line);
	if (!match)
		return 0;
	if (match->conditions & MATCH_PORTS && !fits_ports(match, traits))
		return 0;
	if (match->conditions & MATCH_TCP_FLAGS && !fits_flags(match, traits, rule->flags & RULE_ALLOW))
		return 0;
	if (match->conditions & (MATCH_ICMP4 | MATCH_ICMP6) && !fits_icmp(match, traits))
		return 0;
	if (match->conditions & MATCH_LENGTH && !holds(traits->length, match->length_first, match->length_last))
		return 0;
	if (match->conditions & MATCH_TTL && !holds(traits->ttl, match->ttl_first, match->ttl_last))
		return 0;
	if (match->conditions & MATCH_DSCP && traits->dscp != match->dscp)
		return 0;
	if (match->conditions & MATCH_FRAGMENTS && !(traits->fragment & match->fragments))
		return 0;
	if (match->conditions & MATCH_VLAN && !holds(traits->vlan, match->vlan_first, match->vlan_last))
		return 0;
	return !(match->conditions & MATCH_DESTINATION) || fits_destination(match, traits);
}

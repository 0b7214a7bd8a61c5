/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The verdicts for packets that no list decides, and the reason of one that cannot be parsed. */
#pragma once

#include "abi.h"
#include "maps.h"
#include "parse.h"
#include "verdict.h"

#define ROLES_LINE 10
/* IEEE 802.3 §3.2.6: smaller numbers are lengths of LLC frames (STP, CDP …), in which Linux expects no IP. */
#define ETHERTYPE_FIRST 0x0600
/* Ethertypes that linux/if_ether.h lacks: IEEE 802.1Q §10.12 (MMRP), §35 (MSRP), IEEE 802.3 annex 57 (LACP, OAM). */
#define ETH_P_MSRP 0x22ea
#define ETH_P_MMRP 0x88f6
#define ETH_P_SLOW_PROTOCOLS 0x8809

/*
 * What holds for packets of an interface, apart from lists, in one register: the flags of the settings, and above them the
 * roles that the interface lacks. One without the role of the filter drops nothing.
 */
#define LACKS(role) ((role) << 24)

/* enum role bits of the roles that the receiving interface lacks. */
static __always_inline __u32 lacking_roles(const struct settings *settings, const struct account *account)
{
	const struct roles *roles = settings->flags & SETTINGS_ROLES ? (const void *)policy_line(ROLES_LINE) : 0;

	return roles ? roles->lacks[slot_of(account) % sizeof(roles->lacks)] : 0;
}

static __always_inline __u32 defaults_of(const struct settings *settings, const struct account *account)
{
	__u32 lacks = LACKS(lacking_roles(settings, account));

	/* The balancer writes Ethernet headers. By arithmetic, for the verifier's sake. */
	return settings->flags | lacks | flags_of(account) / INTERFACE_IP % 2 * LACKS(ROLE_BALANCE);
}

static __always_inline int is_filtered(__u32 defaults)
{
	return !(defaults & LACKS(ROLE_FILTER));
}

static __always_inline int drops_by_default(__u32 defaults)
{
	return (defaults & (SETTINGS_DEFAULT_DROP | LACKS(ROLE_FILTER))) == SETTINGS_DEFAULT_DROP;
}

static __always_inline int drops_unparsed(__u32 defaults)
{
	return (defaults & (SETTINGS_UNPARSED_DROP | LACKS(ROLE_FILTER))) == SETTINGS_UNPARSED_DROP;
}

static __always_inline int is_balanced(__u32 defaults)
{
	return (defaults & (SETTINGS_SERVICES | LACKS(ROLE_BALANCE))) == SETTINGS_SERVICES;
}

/* enum essential bits of the groups that default drop passes. */
static __always_inline __u32 essential_groups(__u32 defaults)
{
	return defaults >> ESSENTIAL_SHIFT ^ ESSENTIAL_DEFAULT;
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
static __always_inline __u32 unparsed(__u32 defaults, __u32 parsed)
{
	if (parsed == PARSED_TOO_DEEP)
		return drops_unparsed(defaults) ? REASON_UNSUPPORTED_DROP : REASON_UNSUPPORTED;
	return drops_unparsed(defaults) ? REASON_MALFORMED_DROP : REASON_MALFORMED;
}

/*
 * The reason of a packet without known addresses. A global function for the verifier's sake, as judge_class, and
 * because few packets come here.
 */
__noinline __u32 judge_unaddressed(__u32 defaults, __u32 parsed, __u32 ethertype)
{
	if (parsed != PARSED_NOT_IP)
		return unparsed(defaults, parsed);
	if (ethertype == ETH_P_ARP && drops_by_default(defaults))
		return REASON_ESSENTIAL;
	return drops_unparsed(defaults) && !is_link_protocol(ethertype) ? REASON_NOT_IP_DROP : REASON_NOT_IP;
}

/* Whether parse_apart may see more of a packet than the parser of the linear part. */
static __always_inline int has_more(struct xdp_md *ctx, struct account *account, enum parsed parsed)
{
	add_fragments(ctx, account);
	if (parsed == PARSED_SHORT)
		return account->bytes > linear_size(ctx);
	return parsed == PARSED_TAGGED || (parsed == PARSED_IMPOSSIBLE && account->bytes > IP_LENGTH_LIMIT);
}

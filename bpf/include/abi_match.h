/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Fields that rules ask of a packet besides its source, protocol and ports. The lines lie behind the rules of lists in their
 * section, or behind the details of a rate limit; a rule with RULE_MATCH has the number of its line. See match.h.
 */
#pragma once

#include <linux/types.h>
#include "abi_rules.h"

/* Marks of a rule above the number of its set of interfaces. */
enum rule_mark {
	RULE_MATCH = 64,	/* a struct match must fit too, which has the ports of the rule as well */
	RULE_OBSERVE = 128,	/* blocklist: what matches is counted and goes on */
};

/* Maximum number of ranges of destinations in one line. */
#define MATCH_DESTINATIONS 64

enum match_condition {
	MATCH_PORTS = 1,
	MATCH_TCP_FLAGS = 2,
	MATCH_ICMP4 = 4,	/* ICMP of the type icmp_type4 */
	MATCH_ICMP6 = 8,	/* ICMPv6 of the type icmp_type6; with MATCH_ICMP4, either */
	MATCH_CODE4 = 16,	/* and the code icmp_code4 */
	MATCH_CODE6 = 32,
	MATCH_LENGTH = 64,
	MATCH_TTL = 128,
	MATCH_DSCP = 256,
	MATCH_FRAGMENTS = 512,
	MATCH_VLAN = 1024,
	MATCH_DESTINATION = 2048,
};

enum match_fragment {
	FRAGMENT_NONE = 1,	/* a whole datagram */
	FRAGMENT_FIRST = 2,
	FRAGMENT_LATER = 4,
};

/* Inclusive, IPv4 as ::ffff:a.b.c.d; two numbers in host order each, most significant half first. */
struct address_range {
	__u64 first_high;
	__u64 first_low;
	__u64 last_high;
	__u64 last_low;
};

struct match {
	__u16 conditions;	/* enum match_condition: all of them must hold */
	__u8 tcp_mask;		/* flags that must be as in tcp_flags */
	__u8 tcp_flags;
	__u16 source_first;	/* ports, inclusive */
	__u16 source_last;
	__u16 destination_first;
	__u16 destination_last;
	__u16 length_first;	/* of the IP datagram in bytes, inclusive */
	__u16 length_last;
	__u16 vlan_first;	/* number in the outer tag, inclusive */
	__u16 vlan_last;
	__u8 ttl_first;		/* or hop limit, inclusive */
	__u8 ttl_last;
	__u8 icmp_type4;
	__u8 icmp_code4;
	__u8 icmp_type6;
	__u8 icmp_code6;
	__u8 dscp;
	__u8 fragments;		/* enum match_fragment: any of them */
	__u8 destinations;	/* ranges: the first is in this line, the others behind it, 2 a line */
	__u8 destinations4;	/* of them, the first are of IPv4 */
	__u8 pad[2];
	struct address_range destination;
};

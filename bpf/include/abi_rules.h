/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Classes of addresses, their rules, and the interfaces that rules name: parts of the policy image. See abi.h. */
#pragma once

#include <linux/types.h>
#include "abi_anomalies.h"

/* Maximum number of rules that may cover one address. */
#define CLASS_RULES 256
/* Maximum number of different sets of interfaces in the scopes of one policy. */
#define INTERFACE_SETS 64

enum rule_flag {
	RULE_ALLOW = 1,			/* allowlist, else blocklist */
	RULE_PROTOCOL = 2,		/* protocol4 / protocol6 must equal the packet's */
	RULE_PORTS = 4,			/* both port ranges must hold the packet's ports; needs ports in the packet */
	RULE_SOURCE = 8,		/* the scope names source ports: `0-65535` instead of `any` */
	RULE_DESTINATION = 16,		/* the scope names destination ports */
	RULE_INTERFACES = 32,		/* the receiving interface must belong to the set `interfaces` */
	RULE_ESTABLISHED_PASS = 64,	/* blocklist: connections that this host opened pass */
	RULE_ESTABLISHED_JUDGE = 128,	/* blocklist: they do not, whatever the settings say */
	RULE_SOCKET_NONE = 192,		/* both bits: TCP packets without a socket, see socketless.h; the same for the settings */
};

struct class {
	__u32 first_rule;
	__u16 rules;		/* <= CLASS_RULES; allowlist rules first */
	__u16 plain;		/* enum class_flag, and the slot of its list below them; not CLASS_PLAIN: the rules decide */
};

/*
 * In place of a rule behind those of a class with CLASS_SOURCES. Behind it are `parts` of struct rule, which the control
 * plane alone reads: `list` and `scope` as in other rules, and in `source_first` the slot of the limit.
 */
struct class_sources {
	__u64 limits;		/* bit n: the class is among the sources of the rate limit in slot n */
	__u32 parts;
	__u32 pad;
};

/*
 * Of a class with one rule, which matches every packet and leaves connections of this host to the settings. Images from
 * before these flags have none.
 */
enum class_flag {
	CLASS_SOURCES = 0x1000,	/* rate limits name it as a source: struct class_sources */
	CLASS_MATCHES = 0x2000,	/* not plain: one of its rules has a struct match */
	CLASS_ALLOW = 0x4000,	/* its list is an allowlist, else a blocklist */
	CLASS_PLAIN = 0x8000,
};
#define CLASS_LIST 0x0fff

/*
 * One alternative of an entry's scope. Entries with several port ranges have one rule per combination, all with equal
 * list and scope.
 */
struct rule {
	__u16 list;		/* slot in list_stats */
	__u16 scope;		/* number of the (list, scope) pair in this generation */
	__u8 flags;		/* enum rule_flag */
	__u8 protocol4;		/* required IP protocol number in IPv4 */
	__u8 protocol6;		/* required IP protocol number in IPv6 (ICMP differs) */
	__u8 interfaces;	/* number of a set of interfaces, < INTERFACE_SETS, and enum rule_mark above it */
	__u16 source_first;	/* ports, inclusive; with RULE_MATCH, both of the source hold the line of a struct match instead */
	__u16 source_last;
	__u16 destination_first;
	__u16 destination_last;
};

/* Line of section SETTINGS: sources that no change may cut off (`protect`). For the control plane only. */
enum protected_protocol {
	PROTECTED_ICMP = 256,	/* ICMP in IPv4, ICMPv6 in IPv6 */
	PROTECTED_ANY = 257,
};

struct protected_prefix {
	__u32 first[4];		/* host order, most significant word first; IPv4: one word */
	__u32 last[4];
	__u32 family;		/* 4 or 6; struct hash_key has 0 here */
	__u16 protocol;		/* IP protocol number, or enum protected_protocol */
	__u16 port;		/* local port */
	__u8 has_port;		/* 0: every port */
	__u8 pad[23];
};

/* First line of the section: what parts of the filter know of every packet. */
struct receiving {
	__u16 first_port;	/* of connections that this host opens (net.ipv4.ip_local_port_range, inclusive), for */
	__u16 last_port;	/* `established`; both 0: not in use */
	struct anomaly_settings anomalies;
	__u8 pad[36];
};

/*
 * An interface that scopes name, and the sets of interfaces that it belongs to. The first INTERFACE_SLOTS lines of the
 * section are by interface slot, and line 0 is struct receiving; those behind are of interfaces that the host does not
 * have.
 */
struct scoped_interface {
	__u64 sets;		/* bit n: it belongs to set n */
	char name[16];		/* NUL-padded; for the control plane */
	__u8 pad[40];
};

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Every byte that user space and the data plane share. The build reads the BTF of these types and generates the
 * TypeScript codecs from it (src/abi/generated.ts), so a field moved here moves there too.
 *
 * One policy generation is one array map, `policy`, of 64-byte lines. Line 0 holds the settings, and the settings say
 * at which line every section starts. A generation is written while no program uses it; later changes are atomic for
 * readers.
 *
 * All integers are in host byte order unless the comment says otherwise.
 */
#pragma once

#include <linux/bpf.h>
#include <linux/types.h>
#include "abi_anomalies.h"
#include "abi_balance.h"
#include "abi_bans.h"
#include "abi_bulk.h"
#include "abi_carry.h"
#include "abi_checks.h"
#include "abi_counters.h"
#include "abi_fragments.h"
#include "abi_health.h"
#include "abi_match.h"
#include "abi_path_mtu.h"
#include "abi_rates.h"
#include "abi_rules.h"
#include "abi_syn.h"
#include "abi_tables.h"
#include "abi_test_runs.h"

#define ABI_VERSION 3

#define LINE_SIZE 64
/*
 * Maximum number of interfaces per instance; slot 0 counts packets of interfaces without an entry. Test runs use the
 * slots from here on, which have no counters: see struct account.
 */
#define INTERFACE_SLOTS 64
/* Open-addressed index from ifindex to slot: 4 entries per slot keep probing short. */
#define INTERFACE_INDEX_SIZE 256
#define INTERFACE_PROBES 8
/* Maximum number of lists with counters per instance. */
#define LIST_SLOTS 1024
/* Counters per interface; every enum reason must be smaller. */
#define REASON_SLOTS 64

struct line {
	__u64 word[8];
};

/*
 * Why a packet got its verdict: every reason, with the verdict that it implies (enum xdp_action). The build reads this
 * list too (scripts/generate-reasons.mjs): names and verdicts in TypeScript and in schemas come from it. Order is ABI:
 * append only.
 */
#define REASON_LIST(X) \
	X(DEFAULT_PASS, PASS)		/* no list decided, policy.default is pass */ \
	X(ALLOWLIST, PASS)		/* an allowlist entry matched */ \
	X(ESSENTIAL, PASS)		/* ARP, or of a group in enum essential, under default drop */ \
	X(NOT_IP, PASS)			/* neither IPv4 nor IPv6 (ARP included under default pass) */ \
	X(MALFORMED, PASS)		/* truncated or impossible headers, left for the stack to judge */ \
	X(NONLINEAR, PASS)		/* accepted, but the kernel cannot make its headers linear for the balancer */ \
	X(UNSUPPORTED, PASS)		/* more VLAN tags or IPv6 extension headers than the parser follows */ \
	X(BLOCKLIST, DROP)		/* a blocklist entry matched */ \
	X(DEFAULT_DROP, DROP)		/* no list decided, policy.default is drop */ \
	X(INTERNAL, PASS)		/* a table was not as the compiler guarantees (a bug, never policy) */ \
	X(BAN, DROP)			/* the source is banned, and no allowlist entry matched */ \
	X(BALANCED, TX)			/* sent to a backend out of the interface that received it */ \
	X(BALANCED_AWAY, REDIRECT)	/* sent to a backend out of another interface */ \
	X(REPLY, TX)			/* from a backend, translated back to its client (NAT) */ \
	X(REPLY_AWAY, REDIRECT)		/* a reply that leaves through another interface */ \
	X(REPLY_ROUTED, PASS)		/* a reply for the stack to route: the next hop is not resolved yet */ \
	X(ECHO, TX)			/* an echo request to a VIP, answered */ \
	X(TOO_BIG, TX)			/* exceeds the MTU towards the backend: "packet too big" to its sender */ \
	X(NO_BACKEND, DROP)		/* no backend takes it */ \
	X(NO_BACKEND_PASS, PASS)	/* no backend takes it, and on_empty is pass */ \
	X(FRAGMENT, DROP)		/* to a service: a fragment without ports, or without the header that NAT writes to */ \
	X(OVERSIZE, DROP)		/* exceeds the MTU towards the backend, and no error is sent */ \
	X(EXPIRED, PASS)		/* its TTL or hop limit expires here; the stack reports it */ \
	X(EXHAUSTED, DROP)		/* no port of the source pool is free for the flow */ \
	X(NOT_IP_DROP, DROP)		/* NOT_IP, policy.unparsed is drop, and no protocol of the link */ \
	X(MALFORMED_DROP, DROP)		/* MALFORMED, and policy.unparsed is drop */ \
	X(UNSUPPORTED_DROP, DROP)	/* UNSUPPORTED, and policy.unparsed is drop */ \
	X(REJECTED, TX)			/* no backend takes it, and on_empty is reject: an error to its sender */ \
	X(OTHER_HOST, PASS)		/* for a service, but in a frame that is not addressed to this host */ \
	X(NO_FLOW, DROP)		/* full NAT: a TCP packet of no known flow that is not a SYN */ \
	X(PATH_MTU, DROP)		/* a router's report of the path MTU to a backend of a tunnel, used */ \
	X(ESTABLISHED, PASS)		/* would be dropped, but belongs to a connection that this host opened */ \
	X(CHECK_ANSWER, REDIRECT)	/* an answer to a health check through a VIP */ \
	X(RATE_LIMIT, DROP)		/* exceeds a rate limit */ \
	X(ANOMALY, DROP)		/* such as no ordinary sender sends, and named in `anomalies` */ \
	X(BAN_OBSERVED, PASS)		/* as DEFAULT_PASS, but a ban that only observes would have dropped it */ \
	X(SYN_ANSWERED, TX)		/* opens a connection to a protected port: answered with a SYN cookie */ \
	X(SYN_COOKIE_INVALID, DROP)	/* acknowledges nothing: of no socket, and without a valid SYN cookie */ \
	X(OBSERVED, PASS)		/* DEFAULT_PASS, but a blocklist entry with `action: observe` matched */

#define REASON_NUMBER(name, verdict) REASON_##name,
enum reason {
	REASON_LIST(REASON_NUMBER)
	REASONS
};

enum settings_flag {
	SETTINGS_DEFAULT_DROP = 1,
	SETTINGS_SERVICES = 2,	/* line 9 is in use */
	SETTINGS_ROLES = 4,	/* line 10 is in use */
	SETTINGS_UNPARSED_DROP = 8,
	SETTINGS_ESTABLISHED = 16,	/* connections that this host opened pass, unless a rule says otherwise */
};

/* Groups of packets that default drop passes (policy.essential). */
enum essential {
	ESSENTIAL_LOOPBACK = 1,			/* from a loopback address to one */
	ESSENTIAL_ICMP_ERRORS = 2,		/* ICMP 3, 11, 12; ICMPv6 1 to 4 */
	ESSENTIAL_NEIGHBOR_DISCOVERY = 4,	/* ICMPv6 133 to 137 */
	ESSENTIAL_MLD = 8,			/* ICMPv6 130 to 132, 143 */
	ESSENTIAL_DHCP_CLIENT = 16,		/* UDP from 67 to 68, from 547 to 546 in IPv6 */
	ESSENTIAL_DHCP_SERVER = 32,		/* UDP from 67 or 68 to 67, from 546 or 547 to 547 in IPv6 */
};

/* All but the server's side of DHCP. */
#define ESSENTIAL_DEFAULT 31
/* Position of these bits in the flags of the settings. They are stored as differences, as 0 did not have them. */
#define ESSENTIAL_SHIFT 16

/* Line 0: settings for every IPv4 packet. */
struct settings {
	__u32 abi_version;	/* ABI_VERSION */
	__u32 flags;		/* enum settings_flag, and from ESSENTIAL_SHIFT on, enum essential bits that differ from ESSENTIAL_DEFAULT */
	__u32 classes;		/* first line of struct class entries, 8 per line; class 0 = in no list, no rules */
	__u32 rules;		/* first line of struct rule entries, 4 per line */
	struct table4 table4;
	__u32 flows;		/* flow table entries requested for services; control plane only */
	__u32 interfaces;	/* struct receiving, then lines of struct scoped_interface; see SECTION_INTERFACES */
};

/* Line 1: struct table6, for IPv6 packets. */

/* Line 2: facts for the control plane only. */
struct meta {
	__u64 generation;
	__u64 committed_at;	/* Unix time in seconds; 0 until the switch to this generation was verified */
	__u64 netns;		/* inode of the network namespace the instance belongs to */
	__u8 object_digest[16];	/* start of the SHA-256 of the BPF object this generation runs */
	__u64 policy_digest;	/* start of the SHA-256 of the policy settings as applied; differs from live = drift */
	__u32 lists;		/* first line of struct list entries, one per line */
	__u32 list_count;
	__u32 class_count;	/* including class 0 */
	__u32 rule_count;
};

enum section {
	SECTION_LISTS = 0,
	SECTION_CLASSES = 1,
	SECTION_RULES = 2,
	SECTION_HOST_FILTER4 = 3,
	SECTION_HOSTS4 = 4,
	SECTION_RANGE_FILTER4 = 5,
	SECTION_ROOT4 = 6,
	SECTION_RANGES4 = 7,
	SECTION_FILTER6 = 8,
	SECTION_BLOCKS6 = 9,
	SECTION_ROOT6 = 10,
	SECTION_RANGES6 = 11,
	SECTION_TREES6 = 12,
	SECTION_ENDPOINT_INDEX = 13,
	SECTION_ENDPOINTS = 14,
	SECTION_PORTS = 15,
	SECTION_SERVICES = 16,
	SECTION_SERVICE_RECORDS = 17,
	SECTION_BACKENDS = 18,
	SECTION_POOLS = 19,
	SECTION_RINGS = 20,
	SECTION_INTERFACES = 21,
	SECTION_SETTINGS = 22,	/* settings for which line 0 has no room: struct hash_key, if there is one, then lines of struct protected_prefix, then struct syn_header and struct syn_ports, then rate limits */
	SECTIONS
};

/* Lines 9 and 10 belong to the balancer: struct balance, struct roles. */
#define HEADER_LINES 11

/*
 * A section, so that user space can walk, copy and recognize it. Empty lines, including room to grow, are all zero and
 * do not change the digest (see digest_line).
 */
struct section_entry {
	struct section_extent extent;
	__u32 digest[2];
};

/* Lines 3 to 8. */
#define DIRECTORY_SECTIONS 23
struct directory {
	struct section_entry sections[DIRECTORY_SECTIONS];
	__u32 header_digest[2];	/* of all lines of the header, with zeros here and in committed_at */
	__u32 hash_key;		/* line of struct hash_key; 0 = none */
	__u32 rate_limits;	/* line of struct rate_header; 0 = none */
};

struct list {
	char name[40];		/* NUL-padded UTF-8 */
	__u64 digest;		/* start of the SHA-256 of the list's content as applied; differs from live = drift */
	__u32 scopes;		/* number of distinct scopes of the list's entries */
	__u16 slot;		/* in list_stats */
	__u8 allow;		/* 1: allowlist, 0: blocklist, 2: sources of the rate limit of this name */
	__u8 observes;		/* 1: some of its entries only observe */
	__u64 prefixes;		/* size of the smallest set of prefixes that covers the list as applied; for reports */
};

struct counter {
	__u64 packets;
	__u64 bytes;
};

/* One entry of the ifindex index; ifindex 0 = free. Read and written as one word of 8 bytes. */
struct interface_entry {
	__u32 ifindex;		/* of the device that receives: the interface of the slot, or a member of it */
	__u16 slot;
	__u16 flags;		/* enum interface_flag */
};

enum interface_flag {
	INTERFACE_MEMBER = 1,	/* belongs to the interface of the slot, as a member of a bond does */
	INTERFACE_IP = 2,	/* its packets begin with the IP header, as those of a tun do; the balancer leaves them alone */
	INTERFACE_EXHAUSTED = 4,	/* of a test run: its packet finds the balance of every rate limit used up */
};

/*
 * An interface and the devices of this host that are stacked on it: its master, such as a bridge, and VLAN and macvlan
 * devices, and those above them. In an array that is full, there may be more.
 */
struct interface_stack {
	__u64 mac[10];		/* MAC addresses that frames for this host have, as read by frame_mac; 0 = end; none: any */
	__u32 above[12];	/* ifindexes of the stacked devices; 0 = end */
};

/* Record of an attachment, by slot. The data plane reads only the ifindex, for packets of members. */
struct attachment {
	char name[16];		/* interface name, NUL-padded */
	__u32 ifindex;		/* 0 = free slot */
	__u32 mode;		/* enum attach_mode */
	__u64 since;		/* Unix time in seconds */
};

enum attach_mode {
	MODE_NATIVE = 1,
	MODE_GENERIC = 2,
	MODE_OFFLOAD = 3,
};

#define ABI_SIZE(type, size) _Static_assert(sizeof(struct type) == (size), #type " is not " #size " bytes")
ABI_SIZE(line, LINE_SIZE);
ABI_SIZE(table4, 40);
ABI_SIZE(table6, LINE_SIZE);
ABI_SIZE(settings, LINE_SIZE);
ABI_SIZE(meta, LINE_SIZE);
ABI_SIZE(section_entry, 16);
ABI_SIZE(directory, 6 * LINE_SIZE);
ABI_SIZE(list, LINE_SIZE);
ABI_SIZE(anomaly_counter, 32);
ABI_SIZE(range_line, LINE_SIZE);
ABI_SIZE(host_line, LINE_SIZE);
ABI_SIZE(block_line, LINE_SIZE);
ABI_SIZE(run_line, LINE_SIZE);
ABI_SIZE(deep_line, LINE_SIZE);
ABI_SIZE(transfer, LINE_SIZE);
ABI_SIZE(progress, LINE_SIZE);
ABI_SIZE(span, LINE_SIZE / 2);
ABI_SIZE(counter, 16);
ABI_SIZE(interface_entry, 8);
ABI_SIZE(interface_stack, 2 * LINE_SIZE);
ABI_SIZE(attachment, 32);
ABI_SIZE(test_run, 8);
ABI_SIZE(test_batch, 20);
ABI_SIZE(batch_record, 8 + BATCH_BYTES);
ABI_SIZE(explanation, 24);
ABI_SIZE(balance, LINE_SIZE);
ABI_SIZE(roles, LINE_SIZE);
ABI_SIZE(endpoint, LINE_SIZE);
ABI_SIZE(service, LINE_SIZE);
ABI_SIZE(service_record, LINE_SIZE);
ABI_SIZE(port_list, LINE_SIZE);
ABI_SIZE(pool, LINE_SIZE);
ABI_SIZE(pool_list, LINE_SIZE);
ABI_SIZE(backend, LINE_SIZE);
ABI_SIZE(hash_key, LINE_SIZE);
ABI_SIZE(protected_prefix, LINE_SIZE);
ABI_SIZE(flow_keys, LINE_SIZE);
ABI_SIZE(flow_budget, 16);
ABI_SIZE(datagram, LINE_SIZE / FRAGMENTS_A_LINE);
ABI_SIZE(fragment_key, LINE_SIZE);
ABI_SIZE(path_mtu, 16);
ABI_SIZE(service_counter, 96);
ABI_SIZE(backend_counter, 24);
ABI_SIZE(snat_port, LINE_SIZE);
ABI_SIZE(ban, 96);
ABI_SIZE(ban_state, 1232);
ABI_SIZE(ban_header, LINE_SIZE);
ABI_SIZE(ban_request, 2 * LINE_SIZE);
ABI_SIZE(health_state, LINE_SIZE);
ABI_SIZE(health_header, LINE_SIZE);
ABI_SIZE(health_record, 8);
ABI_SIZE(carry_header, LINE_SIZE);
ABI_SIZE(counter_request, LINE_SIZE);

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Every byte that user space and the data plane share. The build reads the BTF of these types and generates the
 * TypeScript codecs from it (src/abi/generated.ts), so a field moved here moves there too.
 *
 * One policy generation is one array map, `policy`, of 64-byte lines. Line 0 holds the settings, and the settings
 * say at which line every section starts. A generation is written while no program uses it and is then never
 * changed in a way that a reader could see half of.
 *
 * All integers are in host byte order unless the comment says otherwise.
 */
#pragma once

#include <linux/types.h>
#include "abi_bans.h"
#include "abi_bulk.h"

#define ABI_VERSION 1

#define LINE_SIZE 64
/* Most interfaces one instance can filter; slot 0 counts packets that no attached interface accounts for. */
#define INTERFACE_SLOTS 64
/* Open-addressed index from ifindex to slot: 4 entries for each slot keep probes short. */
#define INTERFACE_INDEX_SIZE 256
#define INTERFACE_PROBES 8
/* Most lists one instance can count. */
#define LIST_SLOTS 1024
/* Counters per interface; enum reason must stay below. */
#define REASON_SLOTS 32
/* Most rules that may cover one address. */
#define CLASS_RULES 256

struct line {
	__u64 word[8];
};

/* Why a packet got its verdict. The reason implies the verdict. Order is ABI: append only. */
enum reason {
	REASON_DEFAULT_PASS = 0,	/* no list decided, policy.default is pass */
	REASON_ALLOWLIST = 1,		/* pass: an allowlist entry matched */
	REASON_ESSENTIAL = 2,		/* pass: ARP, neighbour discovery, DHCP reply or loopback under default drop */
	REASON_NOT_IP = 3,		/* pass: neither IPv4 nor IPv6 (ARP included under default pass) */
	REASON_MALFORMED = 4,		/* pass: truncated or impossible headers, left for the stack to judge */
	REASON_NONLINEAR = 5,		/* pass: a header lies beyond the linear part of a multi-buffer packet */
	REASON_UNSUPPORTED = 6,		/* pass: more VLAN tags or IPv6 extension headers than the parser follows */
	REASON_BLOCKLIST = 7,		/* drop: a blocklist entry matched */
	REASON_DEFAULT_DROP = 8,	/* drop: no list decided, policy.default is drop */
	REASON_INTERNAL = 9,		/* pass: a table was not as the writer promised (a bug, never policy) */
	REASON_BAN = 10,		/* drop: the source is banned, and no allowlist entry matched */
	REASONS
};

enum settings_flag {
	SETTINGS_DEFAULT_DROP = 1,
};

enum table_flag {
	TABLE_HOSTS = 1,	/* hosts hold something (IPv4) */
	TABLE_RANGES = 2,	/* root and ranges hold something */
	TABLE_32 = 4,		/* blocks hold prefixes of 32 bits (IPv6) */
	TABLE_48 = 8,		/* blocks hold prefixes of 48 bits (IPv6) */
	TABLE_64 = 16,		/* blocks hold prefixes of 64 bits (IPv6) */
};

enum rule_flag {
	RULE_ALLOW = 1,			/* allowlist, else blocklist */
	RULE_PROTOCOL = 2,		/* protocol4 / protocol6 must equal the packet's */
	RULE_PORTS = 4,			/* both port ranges must hold the packet's ports; needs ports in the packet */
	RULE_SOURCE = 8,		/* the scope names source ports; tells user space `any` from `0-65535` */
	RULE_DESTINATION = 16,		/* the same of destination ports */
};

/*
 * IPv4 addresses to classes: hosts (one-line-bucket hash of single addresses), then ranges (direct root by the high
 * bits, sorted lines below it). The host wins over the range around it. Either has a bitmap in front, 1 bit a cell,
 * cell = address >> shift: 0 = there is nothing of the kind in the cell. Line numbers count from the start of the map.
 */
struct table4 {
	__u64 multiplier;	/* odd; hash of an address = bits 32 to 63 of address * multiplier */
	__u32 host_filter;	/* first line of the hosts' bitmap */
	__u32 hosts;		/* first line; see struct host_line; bucket = hash * host_lines >> 32 */
	__u32 host_lines;	/* buckets; HOST_PROBES - 1 further lines take what runs over at the end */
	__u32 range_filter;	/* first line of the ranges' bitmap */
	__u32 root;		/* first line; one u64 root word per address >> root_shift */
	__u32 ranges;		/* first line; see struct range_line; root words count from here */
	__u8 host_filter_shift;
	__u8 range_filter_shift;
	__u8 root_shift;	/* <= 16 */
	__u8 flags;		/* enum table_flag */
	__u32 host_count;	/* single addresses; for the control plane, as all counts */
};

/*
 * IPv6 addresses to classes. The longest of these wins: `blocks`, a hash of prefixes of 64, 48 and 32 bits, each with a
 * class or, where the prefix holds several classes, with a tree of sorted lines over the bits that follow the prefix;
 * then a root and ranges over the top 32 bits, as IPv4's.
 */
struct table6 {
	__u64 multiplier;	/* odd; hash of a prefix = bits 32 to 63 of (its bits as a number) * multiplier */
	__u32 filter;		/* first line; 1 bit per cell, cell = hash >> filter_shift: 0 = no such prefix */
	__u32 blocks;		/* first line; see struct block_line; bucket = hash * block_lines >> 32 */
	__u32 block_lines;	/* buckets; BLOCK_PROBES - 1 further lines take what runs over at the end */
	__u32 root;		/* first line; one u64 root word per top 32 bits >> root_shift */
	__u32 ranges;		/* first line; see struct range_line; root words count from here */
	__u32 trees;		/* first line; see struct run_line and struct deep_line; tree lines count from here */
	__u32 block_count;	/* prefixes in blocks; for the control plane, as all counts */
	__u8 filter_shift;	/* of the 32-bit hash, >= 1 */
	__u8 root_shift;	/* <= 16 */
	__u8 flags;		/* enum table_flag */
	__u8 pad[25];
};

/* Line 0: what every IPv4 packet needs. */
struct settings {
	__u32 abi_version;	/* ABI_VERSION */
	__u32 flags;		/* enum settings_flag */
	__u32 classes;		/* first line of struct class entries, 8 a line; class 0 means "in no list" and has no rules */
	__u32 rules;		/* first line of struct rule entries, 4 a line */
	struct table4 table4;
	__u64 pad;
};

/* Line 1: what IPv6 packets need besides. */

/* Line 2: what only the control plane reads. */
struct meta {
	__u64 generation;
	__u64 committed_at;	/* Unix time in seconds; 0 until the switch to this generation was verified */
	__u64 netns;		/* inode of the network namespace the instance belongs to */
	__u8 object_digest[16];	/* start of the SHA-256 of the BPF object this generation runs */
	__u64 policy_digest;	/* start of the SHA-256 of the policy settings as applied; differs from live = drift */
	__u32 lists;		/* first line of struct list entries, one a line */
	__u32 list_count;
	__u32 class_count;	/* with class 0 */
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
	SECTIONS
};

#define HEADER_LINES 9

/*
 * A section, so that user space can walk, copy and recognise it. Lines that hold nothing, and those that are there to
 * grow into, are all zero and count for nothing in the digest (see digest_line).
 */
struct section_entry {
	struct section_extent extent;
	__u32 digest[2];
};

/* Lines 3 to 8. */
#define DIRECTORY_SECTIONS 23
struct directory {
	struct section_entry sections[DIRECTORY_SECTIONS];
	__u32 header_digest[2];	/* of lines 0 to 8 with zeros here and in committed_at */
	__u64 pad;
};

struct list {
	char name[40];		/* NUL-padded UTF-8 */
	__u64 digest;		/* start of the SHA-256 of the list's content as applied; differs from live = drift */
	__u32 scopes;		/* how many distinct scopes the list's entries have */
	__u16 slot;		/* in list_stats */
	__u8 allow;		/* 1: allowlist, 0: blocklist */
	__u8 pad[9];
};

struct class {
	__u32 first_rule;
	__u16 rules;		/* <= CLASS_RULES; allowlist rules first */
	__u16 pad;
};

/*
 * One way an entry of a list can match. Entries with several port ranges have one rule per combination, all with the
 * same list and scope.
 */
struct rule {
	__u16 list;		/* slot in list_stats */
	__u16 scope;		/* number of the (list, scope) pair in this generation */
	__u8 flags;		/* enum rule_flag */
	__u8 protocol4;		/* IP protocol number wanted in IPv4 */
	__u8 protocol6;		/* the same in IPv6 (ICMP differs) */
	__u8 pad;
	__u16 source_first;	/* ports, inclusive */
	__u16 source_last;
	__u16 destination_first;
	__u16 destination_last;
};

/* Root word, as u64: line << 0 | lines << 32 | class << 48. lines == 0: the whole bucket has that class. */

/* Sorted entries `start << 16 | class`, start relative to the bucket; the last entry is repeated to fill the line. */
struct range_line {
	__u32 entry[16];
};

/* Bucket of single IPv4 addresses; class 0 = free slot. overflow != 0: go on with the next line, at most HOST_PROBES. */
#define HOST_PROBES 8
struct host_line {
	__u32 address[10];
	__u16 class[10];
	__u32 overflow;
};

/*
 * Bucket of IPv6 prefixes; value 0 = free slot. overflow as in host_line.
 * value: BLOCK_32, BLOCK_48 or BLOCK_64 says how long the prefix is; the low bits are a class (0: a hole in what is
 * around), or with VALUE_TREE the root line of a tree: of deep lines for BLOCK_64, else of run lines.
 */
#define BLOCK_PROBES 8
#define BLOCK_32 0x10000000u
#define BLOCK_48 0x20000000u
#define BLOCK_64 0x30000000u
#define VALUE_TREE 0x80000000u
#define VALUE_MASK 0x0fffffffu
struct block_line {
	__u64 prefix[5];	/* as a number: the address >> (128 - length) */
	__u32 value[5];
	__u32 overflow;
};

/* Most levels a tree has, root included. */
#define TREE_DEPTH 12

/*
 * Node of a tree inside a prefix of 32 or 48 bits: sorted entries `start << 32 | value`; the last entry is repeated to
 * fill the line. start: the bits after the prefix, up to bit 63. value: a class, or VALUE_TREE | line of the node that
 * goes on.
 */
struct run_line {
	__u64 entry[8];
};

/* Node of a tree inside a prefix of 64 bits; start: the low 64 bits. */
struct deep_line {
	__u64 start[5];
	__u32 value[5];
	__u32 pad;
};

struct counter {
	__u64 packets;
	__u64 bytes;
};

/* One entry of the ifindex index; ifindex 0 = free. */
struct interface_entry {
	__u32 ifindex;
	__u32 slot;
};

/* What was attached, by slot; only the control plane reads it. */
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

/* What explain writes over the start of the packet it was given. */
struct explanation {
	__u32 verdict;		/* enum xdp_action */
	__u32 reason;		/* enum reason */
	__u32 class;		/* of the source address */
	__u16 list;		/* slot of the first list that decided, 0xffff = none */
	__u16 scope;		/* of that rule, 0xffff = none; of a ban the length of its prefix */
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
ABI_SIZE(class, 8);
ABI_SIZE(rule, 16);
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
ABI_SIZE(attachment, 32);
ABI_SIZE(explanation, 16);
ABI_SIZE(ban_key, 24);
ABI_SIZE(ban, 96);
ABI_SIZE(ban_state, 1232);
ABI_SIZE(ban_header, LINE_SIZE);
ABI_SIZE(ban_request, 2 * LINE_SIZE);

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The shared bytes of the address tables, as abi.h has those around them: positions of each family's tables, and every
 * kind of line in them.
 */
#pragma once

#include <linux/types.h>

enum table_flag {
	TABLE_HOSTS = 1,	/* there are hosts (IPv4) */
	TABLE_RANGES = 2,	/* there are root and ranges */
	TABLE_32 = 4,		/* blocks contain prefixes of 32 bits (IPv6) */
	TABLE_48 = 8,		/* blocks contain prefixes of 48 bits (IPv6) */
	TABLE_64 = 16,		/* blocks contain prefixes of 64 bits (IPv6) */
};

/*
 * Maps IPv4 addresses to classes: hosts (a hash of single addresses with one line per bucket), then ranges (a direct
 * root by the high bits, sorted lines below it). A host beats the range around it. Each has a bitmap in front, 1 bit
 * per cell, cell = address >> shift: 0 = the cell contains none. Line numbers count from the start of the map.
 */
struct table4 {
	__u64 multiplier;	/* odd; hash of an address = bits 32 to 63 of address * multiplier */
	__u32 host_filter;	/* first line of the hosts' bitmap */
	__u32 hosts;		/* first line; see struct host_line; bucket = hash * host_lines >> 32 */
	__u32 host_lines;	/* number of buckets; HOST_PROBES - 1 further lines hold overflow of the last ones */
	__u32 range_filter;	/* first line of the ranges' bitmap */
	__u32 root;		/* first line; one u64 root word per address >> root_shift */
	__u32 ranges;		/* first line; see struct range_line; root words count from here */
	__u8 host_filter_shift;
	__u8 range_filter_shift;
	__u8 root_shift;	/* <= 16 */
	__u8 flags;		/* enum table_flag */
	__u32 host_count;	/* number of single addresses; for the control plane, as all counts */
};

/*
 * Maps IPv6 addresses to classes. The longest match wins: first `blocks`, a hash of prefixes of 64, 48 and 32 bits,
 * each with a class, or with a tree of sorted lines over the bits behind the prefix if it contains several classes;
 * then a root and ranges over the top 32 bits, like IPv4's.
 */
struct table6 {
	__u64 multiplier;	/* odd; hash of a prefix = bits 32 to 63 of (its bits as a number) * multiplier */
	__u32 filter;		/* first line; 1 bit per cell, cell = hash >> filter_shift: 0 = no such prefix */
	__u32 blocks;		/* first line; see struct block_line; bucket = hash * block_lines >> 32 */
	__u32 block_lines;	/* number of buckets; BLOCK_PROBES - 1 further lines hold overflow of the last ones */
	__u32 root;		/* first line; one u64 root word per top 32 bits >> root_shift */
	__u32 ranges;		/* first line; see struct range_line; root words count from here */
	__u32 trees;		/* first line; see struct run_line and struct deep_line; tree lines count from here */
	__u32 block_count;	/* number of prefixes in blocks; for the control plane, as all counts */
	__u8 filter_shift;	/* of the 32-bit hash, >= 1 */
	__u8 root_shift;	/* <= 16 */
	__u8 flags;		/* enum table_flag */
	__u8 pad[1];
	__u32 syn;		/* line of struct syn_header, which has no other place; 0 = none */
	__u8 pad2[20];
};

/* Root word, as u64: line << 0 | lines << 32 | class << 48. lines == 0: the class applies to the whole bucket. */

/* Sorted entries `start << 16 | class`, start relative to the bucket; the last entry is repeated to fill the line. */
struct range_line {
	__u32 entry[16];
};

/* Bucket of single IPv4 addresses; class 0 = free slot. overflow != 0: entries may lie in the next line; HOST_PROBES
 * lines at most.
 */
#define HOST_PROBES 8
struct host_line {
	__u32 address[10];
	__u16 class[10];
	__u32 overflow;
};

/*
 * Bucket of IPv6 prefixes; value 0 = free slot. overflow as in host_line. value: BLOCK_32, BLOCK_48 or BLOCK_64 gives
 * the length of the prefix; the low bits are a class (0: a gap in a shorter prefix), or with VALUE_TREE the root line
 * of a tree: of deep lines for BLOCK_64, else of run lines.
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

/* Maximum depth of a tree, root included. */
#define TREE_DEPTH 12

/*
 * Node of a tree inside a prefix of 32 or 48 bits: sorted entries `start << 32 | value`; the last entry is repeated to
 * fill the line. start: the bits after the prefix, up to bit 63. value: a class, or VALUE_TREE | line of a child node.
 */
struct run_line {
	__u64 entry[8];
};

/* Node of a tree inside a prefix of 64 bits; start: the low 64 bits of the address. */
struct deep_line {
	__u64 start[5];
	__u32 value[5];
	__u32 pad;
};

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Lookup in the address tables: maps an address to its class. abi_tables.h defines the tables; src/tables/ writes them.
 *
 * Every lookup is exact for any content, costs one cold cache line for an address in no list, and follows only line
 * numbers that the array bounds-checks: a corrupt table gives a wrong class, never a wild read. Masks replace branches
 * on the address if both outcomes are likely: the CPU mispredicts those, and then waits for the frame and the line before
 * it goes on, where it otherwise works ahead. Numbers are opaque before their sign is shifted, because clang would make
 * the shift a comparison and a branch.
 */
#pragma once

#include "abi.h"
#include "maps.h"

/* 16 entries per line, at most 2^16 starts in a bucket: 4096 lines, halved 12 times. */
#define RANGE_STEPS 12

static __always_inline const struct line *policy_line(__u32 index)
{
	return bpf_map_lookup_elem(&policy, &index);
}

/* The number, of which clang then knows nothing: neither its sign nor its range. */
static __always_inline __u64 opaque(__u64 number)
{
	asm("" : "+r"(number));
	return number;
}

/* All ones if a <= b, else 0. Both below 2^63. */
static __always_inline __u64 mask_le(__u64 a, __u64 b)
{
	return ~((__s64)opaque(b - a) >> 63);
}

/* 1 if a <= b, else 0, for any two numbers: the complement of the borrow of b - a. */
static __always_inline __u64 bit_le(__u64 a, __u64 b)
{
	return opaque(((~b & a) | ((~b | a) & (b - a))) >> 63) ^ 1;
}

/* All ones if the number is 0, else 0. */
static __always_inline __u64 mask_zero(__u64 number)
{
	number = opaque(number);
	return ~((__s64)(number | -number) >> 63);
}

/* mask_zero of a number below 2^63. */
static __always_inline __u64 mask_small_zero(__u64 number)
{
	return (__s64)(opaque(number) - 1) >> 63;
}

/*
 * Class of the last entry whose start is at most `wanted >> 16`. The index is opaque, so that clang keeps the masks that
 * bound it: it would add by OR, of which the verifier of Linux 6.1 does not know the bounds.
 */
static __always_inline __u32 find_range(const struct range_line *line, __u64 wanted)
{
	__u64 at = opaque(8 & mask_le(line->entry[8], wanted));

	at = opaque(at + (4 & mask_le(line->entry[(at + 4) & 15], wanted)));
	at = opaque(at + (2 & mask_le(line->entry[(at + 2) & 15], wanted)));
	at = opaque(at + (1 & mask_le(line->entry[(at + 1) & 15], wanted)));
	return line->entry[at & 15] & 0xffff;
}

/* Class of a 32-bit key by direct root and sorted lines. */
static __always_inline __u32 lookup_ranges(__u32 root, __u32 ranges, __u8 shift, __u32 key)
{
	__u32 bucket = key >> (shift & 31);
	const struct line *line = policy_line(root + (bucket >> 3));
	__u32 lines, first;
	__u64 word, wanted;

	if (!line)
		return 0;
	word = line->word[bucket & 7];
	lines = (word >> 32) & 0xffff;
	if (!lines)
		return word >> 48;
	first = ranges + (__u32)word;
	wanted = (__u64)(key & ((1u << (shift & 31)) - 1)) << 16 | 0xffff;
	for (int step = 0; step < RANGE_STEPS && lines > 1; step++) {
		__u32 half = lines >> 1;

		line = policy_line(first + half);
		if (!line)
			return 0;
		first += half & mask_le(((const struct range_line *)line)->entry[0], wanted);
		lines -= half;
	}
	line = policy_line(first);
	return line ? find_range((const struct range_line *)line, wanted) : 0;
}

/* Class of the address in a bucket; 0 = absent. It may be in any place. */
static __always_inline __u32 find_host(const struct host_line *line, __u32 address)
{
	__u64 class = 0;

#pragma unroll
	for (int slot = 0; slot < 10; slot++)
		class |= line->class[slot] & mask_small_zero(line->address[slot] ^ address);
	return class;
}

/* Class of a single listed address; 0 = absent. */
static __always_inline __u32 lookup_host(const struct table4 *table, __u32 address)
{
	__u64 hash = (address * table->multiplier) >> 32;
	__u32 at = table->hosts + (__u32)(hash * table->host_lines >> 32);

	for (int probe = 0; probe < HOST_PROBES; probe++) {
		const struct host_line *line = (const struct host_line *)policy_line(at + probe);
		__u32 class;

		if (!line)
			return 0;
		class = find_host(line, address);
		if (class || !line->overflow)
			return class;
	}
	return 0;
}

/* Reads bit `cell` of the bitmap that begins at line `first`. */
static __always_inline int filter_has(__u32 first, __u32 cell)
{
	const struct line *line = policy_line(first + (cell >> 9));

	return line && line->word[(cell >> 6) & 7] >> (cell & 63) & 1;
}

/* Class of an IPv4 address in host byte order; 0 = in no list. */
static __always_inline __u32 lookup4(const struct settings *settings, __u32 address)
{
	const struct table4 *table = &settings->table4;
	__u32 class;

	if (table->flags & TABLE_HOSTS && filter_has(table->host_filter, address >> (table->host_filter_shift & 31))) {
		class = lookup_host(table, address);
		if (class)
			return class;
	}
	if (table->flags & TABLE_RANGES && filter_has(table->range_filter, address >> (table->range_filter_shift & 31)))
		return lookup_ranges(table->root, table->ranges, table->root_shift, address);
	return 0;
}

/* Value of the prefix in a bucket, as find_host. BLOCK_64 has the bits of every length. */
static __always_inline __u32 find_block(const struct block_line *line, __u64 prefix, __u32 length)
{
	__u64 value = 0;

#pragma unroll
	for (int slot = 0; slot < 5; slot++)
		value |= line->value[slot] &
			 mask_zero((line->prefix[slot] ^ prefix) | ((line->value[slot] & BLOCK_64) ^ length));
	return value;
}

/* Value of a prefix (see struct block_line) of the given length; 0 = absent. */
static __always_inline __u32 lookup_block(const struct table6 *table, __u64 prefix, __u32 length)
{
	__u64 hash = (prefix * table->multiplier) >> 32;
	__u32 at = table->blocks + (__u32)(hash * table->block_lines >> 32);

	if (!filter_has(table->filter, hash >> (table->filter_shift & 31)))
		return 0;
	for (int probe = 0; probe < BLOCK_PROBES; probe++) {
		const struct block_line *line = (const struct block_line *)policy_line(at + probe);
		__u32 value;

		if (!line)
			return 0;
		value = find_block(line, prefix, length);
		if (value || !line->overflow)
			return value;
	}
	return 0;
}

/* Class in a tree of run lines; line numbers in it count from `trees`. */
static __always_inline __u32 lookup_tree(__u32 trees, __u32 value, __u32 key)
{
	for (int level = 0; level < TREE_DEPTH && value & VALUE_TREE; level++) {
		const struct run_line *line = (const struct run_line *)policy_line(trees + (value & VALUE_MASK));
		__u64 at;

		if (!line)
			return 0;
		at = opaque(4 & mask_le(line->entry[4] >> 32, key));
		at = opaque(at + (2 & mask_le(line->entry[(at + 2) & 7] >> 32, key)));
		at = opaque(at + (1 & mask_le(line->entry[(at + 1) & 7] >> 32, key)));
		value = line->entry[at & 7];
	}
	return value & 0xffff;
}

/* Class in a tree inside a prefix of 32 or 48 bits; key = the bits after it, up to bit 63. */
static __always_inline __u32 lookup_run(const struct table6 *table, __u32 value, __u32 key)
{
	return lookup_tree(table->trees, value, key);
}

/* Class in a tree inside a prefix of 64 bits; key = the low 64 bits. */
static __always_inline __u32 lookup_deep(const struct table6 *table, __u32 value, __u64 key)
{
	for (int level = 0; level < TREE_DEPTH && value & VALUE_TREE; level++) {
		const struct deep_line *line = (const struct deep_line *)policy_line(table->trees + (value & VALUE_MASK));
		__u32 at;

		if (!line)
			return 0;
		at = bit_le(line->start[1], key) + bit_le(line->start[2], key) + bit_le(line->start[3], key) +
		     bit_le(line->start[4], key);
		value = line->value[at < 5 ? at : 4];
	}
	return value & 0xffff;
}

/* Class of an IPv6 address, its halves in host byte order; 0 = in no list. */
static __always_inline __u32 lookup6(const struct table6 *table, __u64 high, __u64 low)
{
	__u32 value;

	if (table->flags & TABLE_64) {
		value = lookup_block(table, high, BLOCK_64);
		if (value)
			return lookup_deep(table, value, low);
	}
	if (table->flags & TABLE_48) {
		value = lookup_block(table, high >> 16, BLOCK_48);
		if (value)
			return lookup_run(table, value, high & 0xffff);
	}
	if (table->flags & TABLE_32) {
		value = lookup_block(table, high >> 32, BLOCK_32);
		if (value)
			return lookup_run(table, value, high);
	}
	if (table->flags & TABLE_RANGES)
		return lookup_ranges(table->root, table->ranges, table->root_shift, high >> 32);
	return 0;
}

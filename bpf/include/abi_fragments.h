/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Map `fragments`: the ports of fragmented datagrams, which only their first fragments carry. One map for all CPUs, of
 * fixed size. A line is a bucket of entries, newest first, selected by a keyed hash of the datagram (addresses and
 * identification; in IPv4 the protocol too, RFC 791 §3.2, RFC 8200 §4.5). The line behind the buckets holds the key.
 */
#pragma once

#include <linux/types.h>

/* Number of buckets, a power of two: 2 MiB. */
#define FRAGMENT_LINES 32768
#define FRAGMENTS_A_LINE 4

/* Two words, which another CPU may read between their stores: then `check` does not fit to `facts`. All zero: free. */
struct datagram {
	__u64 check;		/* hash ^ facts; the hash is never 0 */
	__u64 facts;		/* source port << 48 | destination port << 32 | (1: UDP, 0: TCP) << 31 | seen */
};

#define FRAGMENT_UDP 0x80000000
/* Tick of the first fragment: 2^FRAGMENT_SHIFT ns of monotonic time (1.05 ms), 31 bits. */
#define FRAGMENT_SEEN 0x7fffffff
#define FRAGMENT_SHIFT 20
/*
 * Seconds for which later fragments may follow. RFC 791 §3.2 suggests 15 as the least; more would only mistake datagrams
 * whose identification repeats (RFC 4963).
 */
#define FRAGMENT_LIFETIME 15
/*
 * Ticks before which no other datagram takes the place of an entry, whatever arrives: 7.3 ms at least. Without such a
 * bound a flood of first fragments could replace entries as fast as it comes; a longer one would let a slower flood fill
 * the map, which then takes no further datagram.
 */
#define FRAGMENT_STAY 8

/* Key of the hash, made by the first live fragment. */
struct fragment_key {
	__u64 words[2];		/* 0: none yet */
	__u8 pad[48];
};

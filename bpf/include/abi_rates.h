/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The shared bytes of rate limits. The limits are lines of a generation: struct rate_header, one struct rate_limit for
 * each limit in the order in which packets meet them, the details that these lines point to, and two lines of struct
 * rate_record for each limit. Their state is in `rate_buckets`, which generations hand on.
 */
#pragma once

#include <linux/types.h>
#include "abi_match.h"
#include "abi_rules.h"

/* Maximum number of limits, and slots of their counters. */
#define RATE_LIMITS 64
/* Maximum number of combinations of port ranges in one limit, the first of which is in its line. */
#define RATE_RULES 64
/* Maximum number of source ranges in one limit: each costs a comparison. More of them are in the tables. */
#define RATE_SOURCES 8
#define RATE_BUCKETS_A_LINE 4
/* Places for sources that exceed a limit with `ban`, and how many of them one source may have. */
#define RATE_OFFENDERS 4096
#define RATE_OFFENDERS_A_SET 4
/* A pause longer than this, in ns, ends the time for which a source exceeds a limit. */
#define RATE_PAUSE 1500000000
/* Maximum number of sources that one run of rate_offenders reports. */
#define RATE_REPORTS 256
/* In the field `family` of struct protected_prefix, in whose section the lines are: the limits begin here. */
#define RATE_FAMILY 0x65746172

enum rate_flag {
	RATE_PACKETS = 1,	/* packet_time and packet_burst are set */
	RATE_BITS = 2,		/* byte_time and byte_burst are set */
	RATE_OBSERVE = 4,	/* what exceeds is counted and goes on */
	RATE_FINE = 8,		/* a burst is so short that the clock of timer ticks is too coarse */
	RATE_BAN = 64,		/* sources that exceed it for some time are banned */
	RATE_SOURCED = 128,	/* of the sources in whose struct class_sources it is; `sources` is 0 */
};

/* Position and bits of enum rate_per between these flags. */
#define RATE_PER_SHIFT 4
#define RATE_PER_MASK 3

/* Packets that share a bucket. */
enum rate_per {
	RATE_ALL = 0,
	RATE_SOURCE = 1,
	RATE_DESTINATION = 2,
	RATE_SERVICE = 3,	/* equal in destination address, protocol and destination port */
};

/* Buckets count time in units of 1/16 ns: what passes takes time, and a bucket is a time up to which it has passed. */
#define RATE_UNITS 16
/* The time of a byte has this many bits more. */
#define RATE_BYTE_SHIFT 10

struct rate_header {
	__u32 count;		/* of limits */
	__u32 lines;		/* in all, this one included */
	__u32 buckets;		/* of each limit that has more than one */
	__u32 bucket_lines;	/* of `rate_buckets` in use */
	__u32 sets;		/* of `rate_offenders`: 1 without a limit that bans */
	__u32 pad[3];
	__u32 family;		/* RATE_FAMILY */
	__u32 candidates;	/* line of the first struct rate_candidates, from this one on; 0: every limit is one */
	__u32 rest[6];
};

/*
 * The kinds of packets that struct rate_candidates tells apart: TCP by RATE_PORTS groups of destination ports, then UDP by
 * as many, then RATE_PROTOCOLS groups of protocols without known ports. See rate_group in rate.h.
 */
#define RATE_PORTS 64
#define RATE_PROTOCOLS 8
#define RATE_GROUPS (2 * RATE_PORTS + RATE_PROTOCOLS)
#define RATE_GROUPS_A_LINE 8

/* Bits of the limits that may count packets of a group, in the order of the limits. */
struct rate_candidates {
	__u64 limits[RATE_GROUPS_A_LINE];
};

struct rate_limit {
	__u64 packet_time;	/* of one packet */
	__u64 packet_burst;	/* of as many packets as may come at once */
	__u64 byte_time;	/* of one byte << RATE_BYTE_SHIFT */
	__u64 byte_burst;
	struct rule first;	/* the packets it counts: list and scope are 0 */
	__u32 more;		/* line of further rules, 4 a line, then of struct address_range, 2 a line, then of struct match; from struct rate_header on */
	__u8 shift;		/* its state has 2^shift buckets; 0: one */
	__u8 flags;		/* enum rate_flag, and enum rate_per << RATE_PER_SHIFT */
	__u8 sources4;		/* of the sources, the first are of IPv4 */
	__u8 prefix4;		/* lengths of the prefixes that share a bucket */
	__u8 prefix6;
	__u8 slot;		/* of its counters */
	__u8 rules;		/* >= 1 */
	__u8 sources;		/* 0 = every source */
	__u32 line;		/* of rate_buckets: the first of its state */
};

/* For the control plane only. */
struct rate_record {
	char name[40];
	__u64 digest;		/* start of the SHA-256 of its lines as applied; differs from live = drift */
	__u64 packets_per_second;	/* 0 = none */
	__u64 packet_burst;
	__u64 bits_per_second;	/* 0 = none */
	__u64 bit_burst;
	__u64 ban_for;		/* ms that a ban of the limit lasts; 0 = it bans no source */
	__u64 ban_after;	/* ms that a source must exceed the limit before */
	__u64 pad[4];
};

/*
 * Generic cell rate algorithm (ITU-T I.371, virtual scheduling): the theoretical arrival time of the next packet at the
 * full rate, in RATE_UNITS of CLOCK_MONOTONIC; one clock for packets and one for bits.
 */
struct rate_bucket {
	__u64 packets;
	__u64 bits;
};

/* By slot, per CPU. */
struct rate_counter {
	__u64 packets;		/* counted */
	__u64 bytes;
	__u64 exceeding_packets;	/* dropped, or with `observe` only counted */
	__u64 exceeding_bytes;
	__u64 bans;		/* of sources that exceeded it */
};

/*
 * A source that exceeds a limit with `ban`, in a place of its own: its buckets are shared, so they may be full of what others
 * sent. Only what the source itself has sent since its first packet beyond the rate is in `own`.
 */
struct rate_offender {
	__u64 owner;		/* slot of the limit + 1; 0: none, or the place is being taken */
	__u64 high;		/* the source, cut to its prefix, as in struct flow */
	__u64 low;
	struct rate_bucket own;
	__u64 seen;		/* CLOCK_MONOTONIC in ns of its last packet beyond the rate */
	__u64 since;		/* it has exceeded the limit by itself since then, with no pause of RATE_PAUSE */
	__u64 last;		/* and did so last */
};

/* Data of rate_offenders: this request, which its answer overwrites, and RATE_REPORTS of struct rate_report. */
struct rate_request {
	__u32 count;		/* written by the run: of reports */
	__u32 pad[15];
	__u32 after[RATE_LIMITS];	/* ms that a source must have exceeded the limit of the slot to be reported; 0 = no limit */
	__u32 banned[RATE_LIMITS];	/* to add to the counters of the slots */
};

/* A source that has exceeded a limit for long enough. Its time begins again with the report. */
struct rate_report {
	__u64 high;
	__u64 low;
	__u32 slot;
	__u32 ms;		/* for which it has exceeded the limit */
};

/* The limit that is closest to its rate, of those that count the packet of a test run. */
struct rate_answer {
	__u16 slot;		/* NO_SLOT: none counts it */
	__u16 used;		/* of the burst, in 1/65535 */
	__u32 matched;		/* number of limits that count it */
};

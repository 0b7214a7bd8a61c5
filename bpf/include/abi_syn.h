/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The shared bytes of `syn_protection`. Its settings are two lines of a generation, in the section of settings in front of
 * rate limits; line 1 of the policy says where. Its counts are in maps that outlive generations.
 */
#pragma once

#include <linux/types.h>

/* In the field `family` of struct protected_prefix, in whose section the lines are. */
#define SYN_FAMILY 0x6e7973
#define SYN_PORTS_FAMILY 0x6f7073
/* Maximum number of port ranges, all in one line. */
#define SYN_RANGES 15

enum syn_mode {
	SYN_AUTO = 1,
	SYN_ALWAYS = 2,
};

struct syn_header {
	__u64 cost;		/* nanoseconds that one SYN counts for: 10^9 / threshold */
	__u32 threshold;	/* SYNs per second without completion */
	__u32 receive_max;	/* net.core.rmem_max, which the kernel chooses window scaling by */
	__u8 mode;		/* enum syn_mode */
	__u8 ranges;		/* in use */
	__u8 pad[14];
	__u32 family;		/* SYN_FAMILY */
	__u32 pad2[7];
};

/* Behind it. Each range is first << 16 | last; 0 = none. */
struct syn_ports {
	__u32 first[8];
	__u32 family;		/* SYN_PORTS_FAMILY */
	__u32 more[7];
};

/*
 * One value for all CPUs, in nanoseconds of CLOCK_MONOTONIC. A level is a time up to which SYNs have been counted, as in struct
 * rate_bucket: how far it lies ahead of the clock says how many are too many.
 */
struct syn_state {
	__u64 opened;		/* level of all SYNs */
	__u64 open;		/* level of SYNs without completion, while these are counted */
	__u64 pad[6];
	__u64 watching;		/* until then completions are counted */
	__u64 answering;	/* until then SYNs are answered */
	__u64 since;		/* when the present or last time of answering began */
	__u64 times;		/* how often it began */
	__u64 pad2[4];
};

/* One value per CPU. All count packets. */
struct syn_counter {
	__u64 opened;		/* SYNs to protected ports */
	__u64 answered;		/* of these: answered with a cookie */
	__u64 left;		/* while SYNs are answered: left to the kernel, which gave no cookie */
	__u64 completed;	/* handshakes: acknowledgments with a valid cookie, and of connections that the kernel answered */
	__u64 invalid;		/* acknowledgments without a valid cookie, dropped */
};

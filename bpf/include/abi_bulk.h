/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The shared bytes of bulk work on policy lines: requests to write, read, copy and digest them. */
#pragma once

#include <linux/types.h>

struct section_extent {
	__u32 first;		/* line */
	__u32 lines;
};

/*
 * First line of the data of table_write, and of the request (and answer) of table_read: maps the other lines of the
 * data, in order, to lines of the policy.
 */
#define TRANSFER_EXTENTS 7
/* Maximum number of policy lines per transfer: 64 KiB with the transfer line, the limit of one test run. */
#define TRANSFER_LINES 1023
struct transfer {
	__u32 count;		/* extents in use */
	__u32 result;		/* lines copied, set by table_read */
	struct section_extent extents[TRANSFER_EXTENTS];
};

/*
 * First line of the data of table_copy and table_digest; struct span entries follow, two per line. A run takes at most
 * WALK_TURNS turns, each a line or the end of a span, and stores its position here for the next run: several runs walk
 * spans of any length, and softirqs, which are off during a run, get their turn in between.
 */
#define WALK_TURNS 4096
#define WALK_SPANS 2044
struct progress {
	__u32 count;		/* spans */
	__u32 span;		/* span to continue with; count = done */
	__u32 line;		/* line of that span to continue with */
	__u32 failed;		/* 1: a line or a span was missing; sticky */
	__u32 digest[2];	/* digest of that span's lines so far */
	__u32 pad[10];
};

struct span {
	struct section_extent extent;
	/*
	 * table_copy: the line of `previous` to copy to the first line; table_digest: the number of the first line in
	 * its section.
	 */
	__u32 origin;
	__u32 digest[2];	/* set by table_digest */
	__u32 pad[3];
};

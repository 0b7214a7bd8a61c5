/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The bytes of bulk work on policy lines: requests to write, read, copy and prove them. */
#pragma once

#include <linux/types.h>

struct section_extent {
	__u32 first;		/* line */
	__u32 lines;
};

/*
 * First line of the data of table_write, and of the request (and answer) of table_read: which lines of the policy the
 * other lines of the data are, in order.
 */
#define TRANSFER_EXTENTS 7
/* Most policy lines in one transfer: 64 KiB with the transfer line itself, what one test run takes. */
#define TRANSFER_LINES 1023
struct transfer {
	__u32 count;		/* extents in use */
	__u32 result;		/* lines copied, set by table_read */
	struct section_extent extents[TRANSFER_EXTENTS];
};

/*
 * First line of the data of table_copy and table_digest; struct span entries follow, two a line. A run takes on WALK_TURNS
 * lines or ends of spans at most and leaves here where it stopped, so that the next one goes on there: several walk spans of
 * any length, and softirqs, which are off for the time of a run, come in between.
 */
#define WALK_TURNS 4096
#define WALK_SPANS 2044
struct progress {
	__u32 count;		/* spans */
	__u32 span;		/* the one to go on with; count = done */
	__u32 line;		/* of that span, to go on with */
	__u32 failed;		/* 1: a line or a span was not there; sticky */
	__u32 digest[2];	/* of that span's lines so far */
	__u32 pad[10];
};

struct span {
	struct section_extent extent;
	/*
	 * table_copy: the line of `previous` that goes to the first line; table_digest: the number of the first line in its
	 * section.
	 */
	__u32 origin;
	__u32 digest[2];	/* set by table_digest */
	__u32 pad[3];
};

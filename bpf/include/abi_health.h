/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The shared bytes of writing health: the input of health_write by `bpftool prog run`. Several writers share the lines
 * of map `health`: a daemon whenever a backend comes or goes, and an apply when slots change owner. So the kernel
 * stores each byte separately, and no writer overwrites a line that another changed since it was read.
 *
 * Slots belong to a generation. A writer that does not know of the next one must not write into slots that now belong
 * to another backend: an apply claims the map for its generation when it is done, and from then on the kernel refuses
 * runs of older generations' health_write.
 */
#pragma once

#include <linux/types.h>

/* Maximum number of records per run: well below half a millisecond, during which softirqs are off. */
#define HEALTH_RECORDS 4096
/* Number of service slot 0's byte; backend slot 0 has byte 0. */
#define HEALTH_SERVICES 65536

/* Last line of the map. */
struct health_state {
	__u64 generation;	/* generation that claimed the map; older ones may not write it */
	__u64 pad[7];
};

enum health_op {
	HEALTH_SET = 1,
	HEALTH_CLAIM = 2,	/* stores the records, and claims the map for the program's generation */
};

/* First 64 bytes of the data of health_write; records follow. */
struct health_header {
	__u32 op;		/* enum health_op */
	__u32 count;		/* of records */
	__u32 pad[14];
};

struct health_record {
	__u32 byte;		/* backend slot, or HEALTH_SERVICES + service slot */
	__u32 value;		/* 0 to 255 */
};

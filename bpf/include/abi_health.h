/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The bytes of writing health: what `bpftool prog run` hands to health_write. The lines of map `health` are shared by
 * those who write it, a daemon whenever a backend comes or goes and an apply when slots change hands, so each byte is
 * stored alone, by the kernel: nobody reads a line, changes it and writes it back over what another wrote meanwhile.
 *
 * Slots are a generation's. A writer that has not heard of the next one yet must not write into slots that are
 * somebody else's by now: an apply claims the map for its generation when it is done, and runs of older generations'
 * health_write are refused from then on.
 */
#pragma once

#include <linux/types.h>

/* Most records in one run: well short of half a millisecond, for which softirqs are off. */
#define HEALTH_RECORDS 4096
/* Number of the byte of service slot 0; that of backend slot 0 is 0. */
#define HEALTH_SERVICES 65536

/* Last line of the map. */
struct health_state {
	__u64 generation;	/* that claimed the map; older ones may not write it */
	__u64 pad[7];
};

enum health_op {
	HEALTH_SET = 1,
	HEALTH_CLAIM = 2,	/* the same, and claims the map for the generation whose program this is */
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

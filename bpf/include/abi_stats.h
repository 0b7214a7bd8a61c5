/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The shared bytes of reading counters, summed over CPUs: input and output of stats_read. */
#pragma once

#include "abi.h"

enum stats_kind {
	STATS_INTERFACES = 1,	/* records: struct interface_report, by slot */
	STATS_LISTS = 2,	/* records: struct list_report, in the order of the policy's LISTS section */
};

/*
 * First 64 bytes of the data of stats_read; room for the records follows and is overwritten. CPUs are a range, so that
 * a run stays short on a machine with many.
 */
struct stats_request {
	__u32 kind;		/* enum stats_kind */
	__u32 first;		/* record */
	__u32 records;
	__u32 first_cpu;
	__u32 cpus;
	__u32 result;		/* records written, set by stats_read; fewer if the list section ends before */
	__u32 pad[10];
};

struct interface_report {
	struct counter reasons[REASON_SLOTS];	/* by enum reason */
};

struct list_report {
	struct list list;
	struct counter counter;
};

#define SOURCE_REGISTERS 256

/* Sources that a list has observed: the highest rank of a source in each register, 0 = none. */
struct source_registers {
	__u8 ranks[SOURCE_REGISTERS];
};

ABI_SIZE(stats_request, LINE_SIZE);
ABI_SIZE(interface_report, 16 * REASON_SLOTS);
ABI_SIZE(list_report, LINE_SIZE + 16);
ABI_SIZE(source_registers, SOURCE_REGISTERS);

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The bytes of reading the balancer's counters: what `bpftool prog run` hands to counter_read and gets back. The kernel
 * adds up what the CPUs counted, because a look at one counter of many on a machine of many CPUs is a page of text.
 */
#pragma once

#include <linux/types.h>

/* Most counters in one run, each read once for every CPU. */
#define COUNTER_RECORDS 256

enum counter_kind {
	COUNTER_SERVICES = 1,	/* records are struct service_counter */
	COUNTER_BACKENDS = 2,	/* struct backend_counter */
};

/* First 64 bytes of the data. Records follow; in the request each begins with its slot (__u32). */
struct counter_request {
	__u32 kind;		/* enum counter_kind */
	__u32 count;		/* of records */
	__u32 first_cpu;	/* which CPUs are added up */
	__u32 cpus;
	__u32 pad[12];
};

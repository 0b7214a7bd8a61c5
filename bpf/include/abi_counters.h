/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The shared bytes of reading counters of services, backends and rate limits: input and output of counter_read by `bpftool prog run`. The
 * kernel adds up the counters of all CPUs, because dumping one counter of many on a machine with many CPUs prints a
 * page of text.
 */
#pragma once

#include <linux/types.h>

/* Maximum number of counters per run; each is read once per CPU. */
#define COUNTER_RECORDS 256

enum counter_kind {
	COUNTER_SERVICES = 1,	/* records are struct service_counter */
	COUNTER_BACKENDS = 2,	/* struct backend_counter */
	COUNTER_RATES = 3,	/* struct rate_counter, by slot of a rate limit */
	COUNTER_ANOMALIES = 4,	/* struct anomaly_counter, by enum anomaly */
	COUNTER_OBSERVED = 5,	/* struct counter, by slot of a list: what its entries with `action: observe` matched */
};

/* First 64 bytes of the data. Records follow; in the request each begins with its slot (__u32). */
struct counter_request {
	__u32 kind;		/* enum counter_kind */
	__u32 count;		/* of records */
	__u32 first_cpu;	/* first CPU to add up */
	__u32 cpus;
	__u32 pad[12];
};

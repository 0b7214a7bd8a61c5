/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The time that packets are judged by, cheaply. Asking the kernel is several calls; jiffies move once a timer tick, and
 * the verifier turns asking for them into a load. So each CPU remembers what the clocks said when it last saw jiffies
 * move. What is judged by that is told in seconds.
 */
#pragma once

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

/* Nanoseconds. */
struct clock_reading {
	__u64 jiffies;
	__u64 monotonic;	/* as CLOCK_MONOTONIC_COARSE */
	__u64 boot;		/* as CLOCK_BOOTTIME */
};

/* Of no interest to user space, which lets the loader make it. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct clock_reading);
	__uint(max_entries, 1);
} clock_readings SEC(".maps");

/* As of two ticks ago at most. */
static __always_inline const struct clock_reading *read_clocks(void)
{
	__u64 jiffies = bpf_jiffies64();
	__u32 zero = 0;
	struct clock_reading *reading = bpf_map_lookup_elem(&clock_readings, &zero);

	if (reading && reading->jiffies != jiffies) {
		reading->monotonic = bpf_ktime_get_coarse_ns();
		reading->boot = bpf_ktime_get_boot_ns();
		reading->jiffies = jiffies;
	}
	return reading;
}

static __always_inline __u64 monotonic_now(void)
{
	const struct clock_reading *reading = read_clocks();

	return reading ? reading->monotonic : bpf_ktime_get_coarse_ns();
}

static __always_inline __u64 boot_now(void)
{
	const struct clock_reading *reading = read_clocks();

	return reading ? reading->boot : bpf_ktime_get_boot_ns();
}

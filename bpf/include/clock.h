/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The time by which packets are judged, at low cost. Asking the kernel takes several calls; jiffies move once per timer
 * tick, and the verifier turns reading them into a load. So each CPU caches the clocks as of the last change of
 * jiffies. Everything judged by them has a resolution of seconds.
 */
#pragma once

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

/* Times in nanoseconds. */
struct clock_reading {
	__u64 jiffies;
	__u64 monotonic;	/* CLOCK_MONOTONIC_COARSE */
	__u64 boot;		/* CLOCK_BOOTTIME */
};

/* Not used by user space, which lets the loader create it. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct clock_reading);
	__uint(max_entries, 1);
} clock_readings SEC(".maps");

/* At most two ticks old. */
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

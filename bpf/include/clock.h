/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The time that flows are told by, cheaply. The coarse clock moves once a timer tick, and asking for it is three calls
 * inside the kernel; jiffies move once a tick too, and the verifier turns asking for them into a load. So each CPU
 * remembers what the clock said when it last saw jiffies move.
 */
#pragma once

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct clock_reading {
	__u64 jiffies;
	__u64 now;
};

/* Of no interest to user space, which lets the loader make it. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct clock_reading);
	__uint(max_entries, 1);
} clock_readings SEC(".maps");

/* Nanoseconds of CLOCK_MONOTONIC, as of two ticks ago at most. */
static __always_inline __u64 coarse_now(void)
{
	__u64 jiffies = bpf_jiffies64();
	__u32 zero = 0;
	struct clock_reading *reading = bpf_map_lookup_elem(&clock_readings, &zero);

	if (!reading)
		return bpf_ktime_get_coarse_ns();
	if (reading->jiffies != jiffies) {
		reading->jiffies = jiffies;
		reading->now = bpf_ktime_get_coarse_ns();
	}
	return reading->now;
}

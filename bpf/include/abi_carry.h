/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The bytes of carrying over: what `bpftool prog run` hands to the programs of carry.bpf.c. When a map of the balancer is
 * made anew because it has become too small, they move its content to the new one while packets go on: counters when
 * the old generation counts no more, ports of full NAT before the new one is attached and once more after.
 */
#pragma once

#include <linux/types.h>

/* Most slots in one run of carry_services and carry_backends: each is read once for every CPU. */
#define CARRY_SLOTS 256
/* Most lines in one run of carry_ports. */
#define CARRY_LINES 8192

/* First 64 bytes of the data; behind it, for counters, slots as __u32. */
struct carry_header {
	__u32 count;		/* of slots, or of lines */
	__u32 first;		/* line */
	__u32 first_cpu;	/* whose counters are carried */
	__u32 cpus;
	__u32 pad[12];
};

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The shared bytes of carrying over: the input of the programs of carry.bpf.c by `bpftool prog run`. When an apply
 * replaces a map that has become too small, they copy its content to the new one while traffic continues:
 * counters once the old generation no longer counts, ports of full NAT and buckets of rate limits before the new one is
 * attached and once more after. Then they also empty the buckets that a new limit takes over from one that is gone.
 */
#pragma once

#include <linux/types.h>

/* Maximum number of slots per run of carry_services and carry_backends: each is read once per CPU. */
#define CARRY_SLOTS 256
/* Maximum number of lines per run of carry_ports, carry_rates and clear_rates. */
#define CARRY_LINES 8192

/* First 64 bytes of the data; for counters, slots follow as __u32. */
struct carry_header {
	__u32 count;		/* number of slots, or of lines */
	__u32 first;		/* line */
	__u32 first_cpu;	/* first CPU whose counters are carried */
	__u32 cpus;
	__u32 pad[12];
};

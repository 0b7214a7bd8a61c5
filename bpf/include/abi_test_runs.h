/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The shared bytes of test runs: what is in front of their packets, and what explain answers. */
#pragma once

#include <linux/types.h>

/*
 * Metadata in front of the packet of a test run: the interface that it stands for. Packets of the network have no
 * metadata; a test run without any stands for an interface with all roles.
 */
struct test_run {
	__u32 ifindex;
	__u16 slot;		/* 0: an interface with all roles */
	__u16 flags;		/* enum interface_flag, and from bit TEST_RUN_LIMIT on 1 + the slot of a limit to ask about */
};

/* The first bit of the limit that a test run asks about; 0 there: about the one closest to its rate. */
#define TEST_RUN_LIMIT 8

/*
 * Metadata of a test run that judges many packets, one in each repetition (bpf_prog_test_run: `repeat`). The packets differ
 * only in the interface they stand for and in the bytes with their addresses and ports. The packet is followed by records
 * with these, the first of which is that of the packet itself; see bpf/include/batch.h.
 */
struct test_batch {
	struct test_run run;
	__u32 at;		/* offset of the record of the packet, in bytes from its start; 0: the run has ended early */
	__u32 length;		/* of the packet and its records together, in bytes */
	__u16 size;		/* of a record, in bytes */
	__u16 offset;		/* of the bytes that differ, in the packet */
};

/* Bytes of a packet in a batch: Ethernet, IPv6 and TCP headers. */
#define BATCH_PACKET 80
/* Bytes in which packets of a batch differ: two IPv6 addresses and two ports. */
#define BATCH_BYTES 36

/* One packet of a batch. explain writes its struct explanation over the start. Records over IPv4 end after 16 bytes. */
struct batch_record {
	struct test_run run;
	__u8 bytes[BATCH_BYTES];
};

/* Written by explain over the start of its packet. */
struct explanation {
	__u32 verdict;		/* enum xdp_action */
	__u32 reason;		/* enum reason */
	__u32 class;		/* of the source address */
	__u16 list;		/* slot of the first list that decided, 0xffff = none */
	__u16 scope;		/* number of the deciding scope, 0xffff = none; for a ban, its prefix length; for an anomaly, its number */
	__u16 service;		/* slot, NO_SLOT = none */
	__u16 backend;		/* slot, NO_SLOT = none */
	__u16 rate_limit;	/* slot of the limit asked about, or that is closest to its rate; NO_SLOT = it does not count the packet */
	__u16 rate_used;	/* of its burst, in 1/65535; 65535: the packet would exceed it */
};

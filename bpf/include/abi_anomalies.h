/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The shared bytes of anomalies: packets that no ordinary sender sends. See anomaly.h. */
#pragma once

#include <linux/types.h>

/*
 * The number of an anomaly is its bit in struct anomaly_settings and its slot in anomaly_stats. The build makes names from
 * this list: `anomalies` in the config. Order is ABI: append only. A packet of several is dropped as the first.
 */
enum anomaly {
	ANOMALY_LAND,		/* source and destination are equal, address and port */
	ANOMALY_MARTIANS,	/* source: loopback, multicast, broadcast, unspecified, or IPv4 inside IPv6 */
	ANOMALY_BOGONS,	/* source: not a globally reachable address */
	ANOMALY_TCP_NULL,	/* no flag at all */
	ANOMALY_TCP_XMAS,	/* FIN, PSH and URG without ACK */
	ANOMALY_TCP_SYN_FIN,
	ANOMALY_TCP_SYN_RST,
	ANOMALY_BAD_LENGTH,	/* a length contradicts the datagram or the frame */
	ANOMALY_IP_OPTIONS,	/* options of IPv4, hop-by-hop options or a routing header of type 0 in IPv6 */
	ANOMALY_TINY_FRAGMENTS,	/* the transport header is not whole in the first fragment */
	ANOMALIES
};

#define ANOMALY_SLOTS 16
/* In place of the number of a set of interfaces: every one. */
#define ANOMALY_EVERYWHERE 0xff

struct anomaly_settings {
	__u32 drop;		/* bit n: packets of anomaly n are dropped */
	__u32 observe;		/* bit n: they are counted and go on */
	__u8 interfaces[ANOMALY_SLOTS];	/* number of the set of interfaces it is looked for on, or ANOMALY_EVERYWHERE */
};

/* By slot, per CPU. */
struct anomaly_counter {
	__u64 packets;		/* found */
	__u64 bytes;
	__u64 dropped_packets;	/* of them */
	__u64 dropped_bytes;
};

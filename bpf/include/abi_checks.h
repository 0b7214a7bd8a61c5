/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The shared bytes of health checks through a VIP (docs/adr/0064). They come from a network namespace that holds only
 * them, through a veth. Its end in this namespace runs xdp_check, which sends them to their backend as the balancer would;
 * the filter sends the answers back into the namespace.
 */
#pragma once

#include <linux/types.h>
#include "abi_balance.h"

/*
 * Source ports of these checks: above the default of ip_local_port_range, from which the kernel takes ports for other
 * connections. Each backend under check has CHECK_PORTS_A_WAY of them, so that no connection meets the one before.
 */
#define CHECK_FIRST_PORT 61000
#define CHECK_PORTS_A_WAY 4
/* Maximum number of backends with such a check. */
#define CHECK_WAYS 1024
/* Maximum number of source addresses. */
#define CHECK_SOURCES 64

/* Map `check_ways`: where the checks from CHECK_FIRST_PORT + CHECK_PORTS_A_WAY * key on go to. All zero: nowhere. */
struct check_way {
	struct service service;		/* only the fields that encapsulation reads, and the VIP */
	struct backend backend;
};

/* Key of the map `check_sources`: an address of this host that checks come from. */
struct check_source {
	__u8 address[16];
};

/* Its value. */
struct check_device {
	__u32 ifindex;		/* the end of the veth in this namespace */
	__u32 from;		/* ifindex of the interface that answers to this address arrive on; 0 = any */
};

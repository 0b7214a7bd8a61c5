/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Map `path_mtus`, by backend slot: path MTUs to backends of tunnels that routers reported. */
#pragma once

#include <linux/types.h>

/* RFC 791 §3.2: every host takes datagrams of 576 bytes. Smaller reports only serve attacks. For IPv6: RFC 8201 §4. */
#define IPV4_LEAST_PATH_MTU 576
/* Seconds after which a larger packet may try the path again: RFC 1191 §6.3, RFC 8201 §4. */
#define PATH_MTU_LIFETIME 600

struct path_mtu {
	__u64 bound;		/* fold of the backend's address << 32 | MTU in bytes; 0: none */
	__u64 until;		/* monotonic time in ns */
};

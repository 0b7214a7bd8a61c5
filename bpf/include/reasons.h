/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Why a packet got its verdict: every reason, with the verdict that it implies (enum xdp_action). The build reads this
 * list too (scripts/lib/reasons.mjs): names and verdicts in TypeScript and in the published schemas come from it. Order is
 * ABI: append only.
 */
#pragma once

#include <linux/bpf.h>

#define REASON_LIST(X) \
	X(DEFAULT_PASS, PASS)		/* no list decided, policy.default is pass */ \
	X(ALLOWLIST, PASS)		/* an allowlist entry matched */ \
	X(ESSENTIAL, PASS)		/* ARP, neighbour discovery, DHCP reply or loopback under default drop */ \
	X(NOT_IP, PASS)			/* neither IPv4 nor IPv6 (ARP included under default pass) */ \
	X(MALFORMED, PASS)		/* truncated or impossible headers, left for the stack to judge */ \
	X(NONLINEAR, PASS)		/* a header lies beyond the linear part of a multi-buffer packet */ \
	X(UNSUPPORTED, PASS)		/* more VLAN tags or IPv6 extension headers than the parser follows */ \
	X(BLOCKLIST, DROP)		/* a blocklist entry matched */ \
	X(DEFAULT_DROP, DROP)		/* no list decided, policy.default is drop */ \
	X(INTERNAL, PASS)		/* a table was not as the compiler guarantees (a bug, never policy) */ \
	X(BAN, DROP)			/* the source is banned, and no allowlist entry matched */ \
	X(BALANCED, TX)			/* sent to a backend out of the interface that received it */ \
	X(BALANCED_AWAY, REDIRECT)	/* sent to a backend out of another interface */ \
	X(REPLY, TX)			/* from a backend, translated back to its client (NAT) */ \
	X(REPLY_AWAY, REDIRECT)		/* a reply that leaves through another interface */ \
	X(REPLY_ROUTED, PASS)		/* a reply for the stack to route: the next hop is not resolved yet */ \
	X(ECHO, TX)			/* an echo request to a VIP, answered */ \
	X(TOO_BIG, TX)			/* exceeds the MTU towards the backend: "packet too big" to its sender */ \
	X(NO_BACKEND, DROP)		/* no backend takes it */ \
	X(NO_BACKEND_PASS, PASS)	/* no backend takes it, and on_empty is pass */ \
	X(FRAGMENT, DROP)		/* a fragment to a service that needs ports */ \
	X(OVERSIZE, DROP)		/* exceeds the MTU towards the backend, and no error is sent */ \
	X(EXPIRED, PASS)		/* its TTL or hop limit expires here; the stack reports it */ \
	X(EXHAUSTED, DROP)		/* no port of the source pool is free */

#define REASON_NUMBER(name, verdict) REASON_##name,
enum reason {
	REASON_LIST(REASON_NUMBER)
	REASONS
};

/* Reasons as a set of bits. */
#define REASON_BIT_DROP(name, verdict) | (XDP_##verdict == XDP_DROP ? 1u << REASON_##name : 0)
#define REASON_BIT_TX(name, verdict) | (XDP_##verdict == XDP_TX ? 1u << REASON_##name : 0)
#define REASON_BIT_REDIRECT(name, verdict) | (XDP_##verdict == XDP_REDIRECT ? 1u << REASON_##name : 0)
#define DROPPING (0 REASON_LIST(REASON_BIT_DROP))
#define SENDING_BACK (0 REASON_LIST(REASON_BIT_TX))
#define REDIRECTING (0 REASON_LIST(REASON_BIT_REDIRECT))

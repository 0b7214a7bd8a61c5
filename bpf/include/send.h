/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Sends a packet with a known backend: checks its size and selects the kind of forwarding. */
#pragma once

#include "encap.h"
#include "icmp.h"
#include "nat.h"

static __always_inline int encapsulates(const struct service *service)
{
	return service->forwarding == FORWARDING_IPIP || service->forwarding == FORWARDING_GUE;
}

/* Number of bytes that forwarding adds to the IP datagram. */
static __always_inline __u32 overhead_of(const struct service *service, const struct backend *backend)
{
	__u32 outer = backend->flags & BACKEND_IPV6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr);

	if (service->forwarding == FORWARDING_IPIP)
		return outer;
	return service->forwarding == FORWARDING_GUE ? outer + sizeof(struct udphdr) : 0;
}

static __always_inline __u32 send(struct xdp_md *ctx, struct flow *flow, const struct service *service,
				  const struct backend *backend)
{
	if (service->forwarding == FORWARDING_IPIP)
		return encapsulate_ip(ctx, flow, service, backend);
	if (service->forwarding == FORWARDING_GUE)
		return encapsulate_gue(ctx, flow, service, backend);
	return forward(ctx, flow, service, backend);
}

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Plain forwarding, to the backend's MAC address (DSR) or with its address as the destination (NAT), and the replies of
 * NAT, if the backend's route to its clients leads through this host. Their source identifies such replies, so they
 * need no flow table.
 */
#pragma once

#include "endpoint.h"
#include "icmp.h"
#include "link.h"
#include "translate.h"

/* linux/socket.h, which BPF programs cannot include */
#define AF_INET 2
#define AF_INET6 10

/* Source address and port of a flow under full NAT: see snat.h. */
static __always_inline void read_binding(const struct balance *tables, const struct flow *flow, __be32 *address,
					 __be16 *port)
{
	const struct pool *pool = (const void *)policy_line(tables->pools + flow->binding / SNAT_PORTS / 2);

	if (!pool)
		return;
	copy_address(address, pool->address);
	*port = bpf_htons(flow->binding);
}

/* Adjusts the offsets to the IP header's new position `network`. */
static __always_inline void move_flow(struct flow *flow, __u32 network)
{
	flow->transport = flow->transport - flow->network + network;
	flow->network = network;
}

static __always_inline __be16 ethertype_of(const struct flow *flow)
{
	return flow_is_ipv6(flow) ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP);
}

/* Forwards a packet to the backend of a service with NAT or DSR. */
static __always_inline __u32 forward(struct xdp_md *ctx, struct flow *flow, const struct service *service,
				     const struct backend *backend)
{
	const struct balance *tables = lookup_balance();
	struct tuple to;
	__u32 network;

	if (!tables)
		return REASON_INTERNAL;
	if (read_ttl(ctx, flow) <= 1)
		return REASON_EXPIRED;
	network = write_link(ctx, flow->network, 0, backend_macs(backend), backend->vlan, ethertype_of(flow));
	if (!network)
		return REASON_INTERNAL;
	move_flow(flow, network);
	if (service->forwarding == FORWARDING_DSR) {
		age(ctx, flow);
		return leave_to(flow, backend);
	}
	keep_tuple(&to, flow);
	copy_address(to.destination, backend->address);
	if (backend->port)
		to.destination_port = bpf_htons(backend->port);
	if (service->flags & SERVICE_SNAT)
		read_binding(tables, flow, to.source, &to.source_port);
	translate(ctx, flow, &to);
	return leave_to(flow, backend);
}

/* Looks up the next hop from the VIP to a client in the kernel's routes. Returns the result of bpf_fib_lookup. */
static __always_inline long find_way(struct xdp_md *ctx, const struct flow *flow, const struct tuple *to,
				     struct bpf_fib_lookup *way)
{
	__builtin_memset(way, 0, sizeof(*way));
	way->ifindex = flow->device;
	way->l4_protocol = flow->protocol;
	way->tot_len = flow->length;
	if (flow_is_ipv6(flow)) {
		way->family = AF_INET6;
		copy_address(way->ipv6_src, to->source);
		copy_address(way->ipv6_dst, to->destination);
	} else {
		way->family = AF_INET;
		way->ipv4_src = to->source[3];
		way->ipv4_dst = to->destination[3];
	}
	return bpf_fib_lookup(ctx, way, sizeof(*way), 0);
}

static __always_inline struct macs way_macs(const struct bpf_fib_lookup *way)
{
	__u8 macs[12] __attribute__((aligned(8)));

	__builtin_memcpy(macs, way->dmac, 6);
	__builtin_memcpy(macs + 6, way->smac, 6);
	return read_macs(macs);
}

/* Rewrites a reply's source for its client: the VIP instead of the backend, and the service's port if NAT rewrote it.
 */
static __always_inline void unmask(struct tuple *to, const struct service *service, const struct backend *backend)
{
	copy_address(to->source, service->vip);
	if (backend->port)
		to->source_port = bpf_htons(service->first_port);
}

/*
 * Whether a packet that looks like a reply is for this host itself, such as the answer to a health check. While the
 * host does not forward, the kernel does not distinguish the two, and no packet is a reply.
 */
static __always_inline int is_no_reply(long result)
{
	return result < 0 || result == BPF_FIB_LKUP_RET_NOT_FWDED || result == BPF_FIB_LKUP_RET_FWD_DISABLED;
}

/*
 * Whether a reply can leave from here, with an Ethernet header: redirection to a foreign interface may end at one without
 * XDP support.
 */
static __always_inline int is_known_way(const struct flow *flow, long result, const struct bpf_fib_lookup *way)
{
	const struct interface_entry *entry;

	if (result != BPF_FIB_LKUP_RET_SUCCESS)
		return 0;
	if (way->ifindex == flow->device)
		return 1;
	entry = lookup_interface(way->ifindex);
	return entry && !(entry->flags & INTERFACE_IP);
}

/* Not a reason: the caller, which has the stack for it, must report the MTU of `scratch->way` to the backend. */
#define REPLY_TOO_BIG 0xfe

/* Sends a packet of a NAT backend to its client; may return REPLY_TOO_BIG. */
__noinline __u32 reply(struct xdp_md *ctx, struct flow *flow, const struct service *service,
		       const struct backend *backend)
{
	struct scratch *scratch = open_scratch();
	struct bpf_fib_lookup *way = &scratch->way;
	struct tuple *to = &scratch->outer;
	__u32 network;
	long result;

	if (!flow || !service || !backend || !scratch)
		return NOT_OURS;
	keep_tuple(to, flow);
	unmask(to, service, backend);
	result = find_way(ctx, flow, to, way);
	if (is_no_reply(result))
		return NOT_OURS;
	if (read_ttl(ctx, flow) <= 1)
		return REASON_EXPIRED;
	if (result == BPF_FIB_LKUP_RET_FRAG_NEEDED && way->mtu_result && may_not_fragment(ctx, flow))
		return REPLY_TOO_BIG;
	if (!is_known_way(flow, result, way)) {
		translate(ctx, flow, to);
		return REASON_REPLY_ROUTED;
	}
	network = write_link(ctx, flow->network, 0, way_macs(way), 0, ethertype_of(flow));
	if (!network)
		return REASON_INTERNAL;
	move_flow(flow, network);
	translate(ctx, flow, to);
	return leave(flow, way->ifindex, REASON_REPLY, REASON_REPLY_AWAY);
}

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Answers to health checks through a VIP: they come from the VIP to an address of this host, and belong into the namespace
 * of the checks. The stack of this host would drop them where the VIP is its own address too, and has no socket for them.
 * Anybody can forge them, so they count only where the route to the backend leads, as other packets of backends do: see
 * arrival.h.
 */
#pragma once

#include "arrival.h"
#include "endpoint.h"
#include "link.h"

ABI_SIZE(check_way, 2 * LINE_SIZE);
ABI_SIZE(check_source, 16);
ABI_SIZE(check_device, 8);

/* Addresses that checks come from. Empty while no daemon makes such checks. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct check_source);
	__type(value, struct check_device);
	__uint(max_entries, CHECK_SOURCES);
} check_sources SEC(".maps");

/* Destination and source of frames into the namespace; CHECK_MAC in src/kernel/live/check-device.ts is the destination. */
static __always_inline struct macs check_macs(void)
{
	__u8 macs[12] __attribute__((aligned(8))) = { 2, 'x', 'd', 'p', 0, 1, 2, 'x', 'd', 'p', 0, 0 };

	return read_macs(macs);
}

/* Whether the destination port may be one of a check. Costs no memory access, because every packet to no VIP comes here. */
static __always_inline int is_to_check_port(const struct flow *flow)
{
	return (__u16)((__u16)flow->ports - CHECK_FIRST_PORT) < CHECK_WAYS * CHECK_PORTS_A_WAY;
}

/* Sends the answer to a check into its namespace. A global function, because few packets come here. */
__noinline __u32 answer_check(struct xdp_md *ctx, const struct balance *tables, struct flow *flow)
{
	const struct endpoint *endpoint;
	const struct check_device *device;
	struct check_source source;
	__be32 *words = (void *)source.address;

	if (!tables || !flow || flow->kind != TRANSPORT_PORTS || flow->fragment)
		return NOT_OURS;
	endpoint = find_endpoint(tables, flow->source_high, flow->source_low);
	if (!endpoint || !endpoint->destination || !is_addressed(ctx, flow))
		return NOT_OURS;
	words[0] = bpf_htonl(flow->destination_high >> 32);
	words[1] = bpf_htonl(flow->destination_high);
	words[2] = bpf_htonl(flow->destination_low >> 32);
	words[3] = bpf_htonl(flow->destination_low);
	device = bpf_map_lookup_elem(&check_sources, &source);
	if (!device || (device->from && device->from != flow->device && !is_above(flow, device->from)))
		return NOT_OURS;
	if (!write_link(ctx, flow->network, 0, check_macs(), 0,
			flow_is_ipv6(flow) ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP)))
		return REASON_INTERNAL;
	return bpf_redirect(device->ifindex, 0) == XDP_REDIRECT ? REASON_CHECK_ANSWER : REASON_INTERNAL;
}

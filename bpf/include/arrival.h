/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Where a packet arrived: whether its frame is addressed to this host, and whether a backend's packets arrive there.
 * docs/adr/0057 has the reasons.
 */
#pragma once

#include "flow.h"
#include "link.h"

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define MAC_MASK 0x0000ffffffffffffull
#else
#define MAC_MASK 0xffffffffffff0000ull
#endif
#define STACK_MACS (sizeof(((struct interface_stack *)0)->mac) / sizeof(__u64))
#define STACK_DEVICES (sizeof(((struct interface_stack *)0)->above) / sizeof(__u32))

static __always_inline const struct interface_stack *lookup_stack(const struct flow *flow)
{
	__u32 slot = flow->slot;

	return bpf_map_lookup_elem(&interface_stack, &slot);
}

/* The frame's destination, with zeros behind its six bytes. */
static __always_inline __u64 frame_mac(const void *frame)
{
	return *(const __u64 *)frame & MAC_MASK;
}

/* Whether the MAC address is one of the stacked devices. A global function, because few packets come here. */
__noinline int is_stacked_mac(const struct interface_stack *stack, __u64 mac)
{
	if (!stack)
		return 0;
	for (__u32 i = 0; i < STACK_MACS; i++) {
		if (!stack->mac[i])
			return 0;
		if (stack->mac[i] == mac)
			return 1;
	}
	/* More than are known. */
	return 1;
}

/* Whether a frame of at least eight bytes is addressed to the interface of a slot, or to a device stacked on it. */
static __always_inline int is_mac_of(__u32 slot, const void *frame)
{
	const struct interface_stack *stack = bpf_map_lookup_elem(&interface_stack, &slot);
	__u64 mac = frame_mac(frame);

	if (!stack || !stack->mac[0] || stack->mac[0] == mac)
		return 1;
	return is_stacked_mac(stack, mac);
}

/*
 * Whether the frame is addressed to this host: not to a group, and not to another host whose frames the interface sees
 * too. A test run stands for a packet to the interface.
 */
static __always_inline int is_addressed(const struct xdp_md *ctx, const struct flow *flow)
{
	const __u8 *frame = frame_at(ctx, 0);

	if ((const void *)frame + ETH_HLEN > frame_end(ctx) || frame[0] & 1)
		return 0;
	return !(flow->marks & FLOW_LIVE) || is_mac_of(flow->slot, frame);
}

/* Whether the device with the ifindex is stacked on the receiving interface. */
__noinline int is_above(const struct flow *flow, __u32 ifindex)
{
	const struct interface_stack *stack = flow ? lookup_stack(flow) : 0;

	if (!stack)
		return 0;
	for (__u32 i = 0; i < STACK_DEVICES; i++) {
		if (!stack->above[i])
			return 0;
		if (stack->above[i] == ifindex)
			return 1;
	}
	return 1;
}

/*
 * Whether the frame can be of the VLAN; 0: untagged. Network adapters may have removed the tag (docs/adr/0048), so that a
 * frame without one can be of any.
 */
static __always_inline int is_of_vlan(const struct xdp_md *ctx, const struct flow *flow, __u16 vlan)
{
	const struct vlan_tag *tag = frame_at(ctx, ETH_HLEN);
	__u16 number;

	if (flow->network == ETH_HLEN)
		return 1;
	if (flow->network != ETH_HLEN + VLAN_HEADER || (const void *)(tag + 1) > frame_end(ctx))
		return 0;
	number = bpf_ntohs(tag->control) & VLAN_ID;
	/* IEEE 802.1Q: number 0 stands for no VLAN. */
	return number == 0 || number == vlan;
}

/* Whether packets of a backend arrive where this one did: as the route to the backend says, unless the file allows any. */
static __always_inline int arrives_from(const struct xdp_md *ctx, const struct flow *flow, const struct service *service,
					const struct backend *backend)
{
	if (service->options & SERVICE_REPLIES_ANYWHERE)
		return 1;
	if (!backend->ifindex || !is_of_vlan(ctx, flow, backend->vlan))
		return 0;
	return flow->device == backend->ifindex || is_above(flow, backend->ifindex);
}

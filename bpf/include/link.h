/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The Ethernet header of outgoing frames, and their egress interface. */
#pragma once

#include "flow.h"

#define VLAN_HEADER sizeof(struct vlan_tag)
/* IEEE 802.1Q: bits of the VLAN number in a tag; the rest is priority. */
#define VLAN_ID 0x0fff

/* MAC addresses in frame order: destination, then source. */
struct macs {
	__u64 first;
	__u32 last;
};

/* The addresses of a frame that begins at `frame`, at least 12 bytes long. */
static __always_inline struct macs read_macs(const void *frame)
{
	struct macs macs = { *(const __u64 *)frame, *(const __u32 *)(frame + 8) };

	return macs;
}

static __always_inline void write_macs(void *frame, struct macs macs)
{
	*(__u64 *)frame = macs.first;
	*(__u32 *)(frame + 8) = macs.last;
}

/* The addresses with source and destination exchanged; the fields are numbers in host byte order. */
static __always_inline struct macs exchanged(struct macs macs)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	__u64 source = macs.first >> 48 | (__u64)macs.last << 16;
	__u64 destination = macs.first & 0xffffffffffffull;
	struct macs result = { source | destination << 48, destination >> 16 };
#else
	__u64 destination = macs.first >> 16;
	__u64 source = (macs.first & 0xffff) << 32 | macs.last;
	struct macs result = { source << 16 | destination >> 32, destination };
#endif
	return result;
}

/*
 * Replaces everything before the IP header at `network` by an Ethernet header, with a tag if `vlan` is not 0, and
 * `overhead` bytes behind it for the caller to fill. Returns the offset of those bytes, or 0 if the frame has no room
 * for them and stays unchanged.
 */
static __always_inline __u32 write_link(struct xdp_md *ctx, __u32 network, __u32 overhead, struct macs macs, __u16 vlan,
					__be16 ethertype)
{
	__u32 header = ETH_HLEN + (vlan ? VLAN_HEADER : 0);
	int shift = (int)network - (int)(header + overhead);
	struct vlan_tag *tag;
	void *data;

	if (shift && bpf_xdp_adjust_head(ctx, shift))
		return 0;
	data = frame_start(ctx);
	if (data + ETH_HLEN + VLAN_HEADER > frame_end(ctx))
		return 0;
	write_macs(data, macs);
	tag = data + ETH_HLEN - sizeof(tag->ethertype);
	if (!vlan) {
		*(__be16 *)tag = ethertype;
		return header;
	}
	*(__be16 *)tag = bpf_htons(ETH_P_8021Q);
	tag = data + ETH_HLEN;
	tag->control = bpf_htons(vlan);
	tag->ethertype = ethertype;
	return header;
}

/*
 * Sends the frame out of an interface: back through the receiving one, or by redirection. Frames that go back from a
 * member of a bond leave through the member that the bond chooses: the kernel sees to that (xdp_master_redirect).
 */
static __always_inline __u32 leave(const struct flow *flow, __u32 ifindex, __u32 here, __u32 away)
{
	if (ifindex == flow->device)
		return here;
	return bpf_redirect(ifindex, 0) == XDP_REDIRECT ? away : REASON_INTERNAL;
}

static __always_inline __u32 leave_to(const struct flow *flow, const struct backend *backend)
{
	return leave(flow, backend->ifindex, REASON_BALANCED, REASON_BALANCED_AWAY);
}

static __always_inline struct macs backend_macs(const struct backend *backend)
{
	return read_macs(backend->mac);
}

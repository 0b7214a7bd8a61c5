/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The second packet parser, for frames that the first one does not read: headers outside of the linear part, many VLAN
 * tags, and datagrams beyond 64 KiB. It copies each header to the stack, and reads it with the functions of parse.h.
 */
#pragma once

#include "extensions.h"
#include "parse.h"

/*
 * Tags that parse_apart follows. The kernel removes any number of tags: all with VLAN 0 (__netif_receive_skb_core), and
 * one more for each VLAN device on top of another.
 */
#define MOST_VLAN_TAGS 16

/* Copies Ethernet and its tags, one by one. */
static __always_inline enum parsed copy_link(struct xdp_md *ctx, struct chain *chain, struct packet *packet)
{
	struct vlan_tag tag = {};
	int i;

	/* The ethertype is the last field of the Ethernet header and of a tag. */
	if (bpf_xdp_load_bytes(ctx, ETH_HLEN - sizeof(tag), &tag, sizeof(tag)))
		return PARSED_SHORT;
	chain->offset = ETH_HLEN;
	for (i = 0; i < MOST_VLAN_TAGS && is_tag(tag.ethertype); i++) {
		if (i == VLAN_TAGS || !is_vlan(tag.ethertype))
			packet->stacked = 1;
		if (bpf_xdp_load_bytes(ctx, chain->offset, &tag, sizeof(tag)))
			return PARSED_SHORT;
		chain->offset += sizeof(tag);
	}
	packet->ethertype = tag.ethertype;
	return is_tag(tag.ethertype) ? PARSED_TOO_DEEP : PARSED;
}

/* The ethertype by the version of the IP header at `offset`, or 0. */
static __always_inline __be16 copy_version(struct xdp_md *ctx, __u32 offset)
{
	__u8 first = 0;

	return bpf_xdp_load_bytes(ctx, offset, &first, sizeof(first)) ? 0 : ethertype_of_version(first);
}

/*
 * As parse_bare. Tags count as such only if an IP header of their ethertype follows: so an IPv6 packet whose flow label
 * equals an ethertype is read as what it is.
 */
static __always_inline enum parsed copy_bare(struct xdp_md *ctx, struct chain *chain, struct packet *packet)
{
	struct vlan_tag tag = {};
	int i;

	for (i = 0; i < MOST_VLAN_TAGS; i++) {
		if (bpf_xdp_load_bytes(ctx, chain->offset, &tag, sizeof(tag)) || !may_be_bare_tag(&tag))
			break;
		chain->offset += sizeof(tag);
		if (is_vlan(tag.ethertype))
			continue;
		if (copy_version(ctx, chain->offset) != tag.ethertype)
			break;
		packet->ethertype = tag.ethertype;
		packet->stacked = 1;
		return PARSED;
	}
	chain->offset = 0;
	packet->ethertype = copy_version(ctx, 0);
	return packet->ethertype ? PARSED : PARSED_IMPOSSIBLE;
}

static __always_inline enum parsed copy_network(struct xdp_md *ctx, struct chain *chain, struct packet *packet, __u32 size)
{
	struct ipv6hdr ip6 = {};
	struct iphdr ip = {};
	__u32 header;

	if (is_ipv4(packet)) {
		if (bpf_xdp_load_bytes(ctx, chain->offset, &ip, sizeof(ip)))
			return PARSED_SHORT;
		header = read_ipv4(&ip, size - chain->offset, packet, &chain->left);
		read_ipv4_rest(&ip, packet);
	} else if (is_ipv6(packet)) {
		if (bpf_xdp_load_bytes(ctx, chain->offset, &ip6, sizeof(ip6)))
			return PARSED_SHORT;
		header = read_ipv6(&ip6, size - chain->offset, packet, &chain->left);
		read_ipv6_rest(&ip6, packet);
	} else {
		return PARSED_NOT_IP;
	}
	if (!header)
		return PARSED_IMPOSSIBLE;
	if (chain->offset + header > size)
		return PARSED_SHORT;
	packet->network = chain->offset;
	packet->addressed = 1;
	chain->offset += header;
	return PARSED;
}

static __always_inline enum parsed copy_transport(struct xdp_md *ctx, const struct chain *chain, struct packet *packet,
						  __u32 size)
{
	__u16 icmp = is_ipv4(packet) ? IPPROTO_ICMP : IPPROTO_ICMPV6;
	__u32 need = transport_size(packet, icmp);
	__be32 head = 0;

	if (!need)
		return PARSED;
	if (chain->left < need)
		return PARSED_IMPOSSIBLE;
	if (chain->offset + need > size || bpf_xdp_load_bytes(ctx, chain->offset, &head, sizeof(head)))
		return PARSED_SHORT;
	read_transport(head, packet, icmp);
	return PARSED;
}

/*
 * Parses the whole frame, wherever its headers lie. `packet` must be zeroed; `bare`: it has no Ethernet header. A global
 * function for the verifier's sake, as walk_extensions.
 */
__noinline int parse_apart(struct xdp_md *ctx, __u32 bare, struct packet *packet)
{
	__u32 size = bpf_xdp_get_buff_len(ctx);
	struct chain chain = {};
	enum parsed parsed;

	if (!packet)
		return PARSED_IMPOSSIBLE;
	parsed = bare ? copy_bare(ctx, &chain, packet) : copy_link(ctx, &chain, packet);
	if (parsed == PARSED)
		parsed = copy_network(ctx, &chain, packet, size);
	if (parsed == PARSED && is_ipv6(packet) && is_extension(packet->protocol))
		parsed = skip_extensions(ctx, &chain, packet);
	packet->behind = chain.offset;
	return parsed == PARSED ? copy_transport(ctx, &chain, packet, size) : parsed;
}

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * TCP packets to this host that no socket of it expects, for rules with `socket: none`: floods of ACK, RST, SYN-ACK or FIN.
 * The sockets of the kernel are the state, down to those in TIME-WAIT, those not accepted yet, and SYN cookies. A packet
 * that opens a connection has no socket yet and is never one of them; nor is one that this host forwards, balances, or
 * does not receive as its own.
 */
#pragma once

#include <linux/bpf.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "abi.h"
#include "arrival.h"
#include "endpoint.h"
#include "established.h"
#include "parse.h"
#include "parts.h"
#include "verdict.h"

const volatile __u32 part_socketless = 1;

/* linux/socket.h */
#define AF_INET 2
#define AF_INET6 10

/* fe80::/10: sockets for them are bound to a device, which need not be the one that receives. */
#define LINK_LOCAL 0x3fa

enum socketless_flag {
	SOCKETLESS_IPV6 = 1,
	SOCKETLESS_BALANCED = 2,	/* the balancer may take the packet */
};

/* RFC 9293 §3.1: a TCP header that opens a connection. With FIN or RST, Linux discards it. */
static __always_inline int opens_connection(__u8 flags)
{
	return (flags & (TCP_FIN | TCP_SYN | TCP_RST | TCP_ACK)) == TCP_SYN;
}

/*
 * Whether the question arises, by the headers alone: what opens a connection stays cheap. The sockets of a first fragment
 * are looked up when the datagram is whole.
 */
static __always_inline int may_be_socketless(const struct xdp_md *ctx, const struct packet *packet)
{
	const __u8 *header = frame_at(ctx, packet->behind);

	if (packet->protocol != IPPROTO_TCP || packet->transport != TRANSPORT_PORTS || packet->fragment)
		return 0;
	if (is_ipv6(packet) && packet->source6_high >> 54 == LINK_LOCAL)
		return 0;
	if ((const void *)(header + TCP_FLAGS + 1) > frame_end(ctx))
		return 1;
	return !opens_connection(header[TCP_FLAGS]);
}

/* Whether the frame is addressed to this host, as is_addressed, however short its linear part. */
static __always_inline int is_received(struct xdp_md *ctx, const struct account *account)
{
	const __u64 *start = frame_at(ctx, 0);
	__u64 frame;

	if (flags_of(account) & INTERFACE_IP)
		return 1;
	if ((const void *)(start + 1) <= frame_end(ctx))
		frame = *start;
	else if (bpf_xdp_load_bytes(ctx, 0, &frame, sizeof(frame)))
		return 0;
	if (*(const __u8 *)&frame & 1)
		return 0;
	return !is_live(account) || is_mac_of(slot_of(account), &frame);
}

/*
 * Whether the balancer takes such packets: to a service or to a source pool, from a backend of plain NAT, or from a VIP, as
 * the answers to health checks.
 */
__noinline int is_served(struct xdp_md *ctx, __u32 network, __u32 transport, __u32 ipv6)
{
	const struct balance *tables = lookup_balance();
	const struct endpoint *endpoint;
	__be32 words[8] = { 0, 0, bpf_htonl(0xffff), 0, 0, 0, bpf_htonl(0xffff), 0 };
	__be16 port;

	if (!tables || bpf_xdp_load_bytes(ctx, transport + 2, &port, sizeof(port)))
		return 0;
	if (ipv6) {
		if (bpf_xdp_load_bytes(ctx, network + IPV6_ADDRESSES, words, sizeof(words)))
			return 0;
	} else if (bpf_xdp_load_bytes(ctx, network + IPV4_ADDRESSES, words + 3, 4) ||
		   bpf_xdp_load_bytes(ctx, network + IPV4_ADDRESSES + 4, words + 7, 4)) {
		return 0;
	}
	endpoint = find_endpoint(tables, half_of(words + 4), half_of(words + 6));
	if (endpoint && endpoint->pool)
		return 1;
	if (endpoint && endpoint->destination && lookup_destination(tables, endpoint, IPPROTO_TCP, bpf_ntohs(port)))
		return 1;
	endpoint = find_endpoint(tables, half_of(words), half_of(words + 2));
	return endpoint && (endpoint->destination || endpoint->source);
}

/*
 * Whether the acknowledgment completes a handshake by SYN cookie. The kernel looks at cookies only while the listener has
 * sent some (tcp_synq_no_recent_overflow), and so does this.
 */
static __always_inline int has_cookie(struct xdp_md *ctx, struct bpf_sock *listener, __u32 network, __u32 ipv6,
				      struct tcphdr *tcp, struct ipv6hdr *ip)
{
	if (!tcp->ack || tcp->rst || tcp->syn)
		return 0;
	if (!ipv6)
		return !bpf_xdp_load_bytes(ctx, network, ip, sizeof(struct iphdr)) &&
		       !bpf_tcp_check_syncookie(listener, ip, sizeof(struct iphdr), tcp, sizeof(*tcp));
	return !bpf_xdp_load_bytes(ctx, network, ip, sizeof(*ip)) &&
	       !bpf_tcp_check_syncookie(listener, ip, sizeof(*ip), tcp, sizeof(*tcp));
}

/*
 * Whether the kernel has a socket for a TCP packet, or the packet opens a connection. A listener is one only for the last
 * packet of a handshake by cookie: it answers any other acknowledgment with RST, and discards the rest. A function of its own
 * for the stack's sake, as the next one.
 */
__noinline int has_tcp_socket(struct xdp_md *ctx, __u32 network, __u32 transport, __u32 ipv6)
{
	/* One after the other, for the stack's sake. */
	union {
		struct bpf_sock_tuple tuple;
		struct ipv6hdr ip;
	} room = {};
	struct bpf_sock_tuple *tuple = &room.tuple;
	struct bpf_sock *sock;
	struct tcphdr tcp;
	int found;

	if (bpf_xdp_load_bytes(ctx, transport, &tcp, sizeof(tcp)) || opens_connection(((__u8 *)&tcp)[TCP_FLAGS]))
		return 1;
	if (ipv6) {
		if (bpf_xdp_load_bytes(ctx, network + IPV6_ADDRESSES, tuple->ipv6.saddr, 32))
			return 1;
		tuple->ipv6.sport = tcp.source;
		tuple->ipv6.dport = tcp.dest;
		sock = bpf_skc_lookup_tcp(ctx, tuple, sizeof(tuple->ipv6), BPF_F_CURRENT_NETNS, 0);
	} else {
		if (bpf_xdp_load_bytes(ctx, network + IPV4_ADDRESSES, &tuple->ipv4.saddr, 8))
			return 1;
		tuple->ipv4.sport = tcp.source;
		tuple->ipv4.dport = tcp.dest;
		sock = bpf_skc_lookup_tcp(ctx, tuple, sizeof(tuple->ipv4), BPF_F_CURRENT_NETNS, 0);
	}
	if (!sock)
		return 0;
	found = sock->state != BPF_TCP_LISTEN || has_cookie(ctx, sock, network, ipv6, &tcp, &room.ip);
	bpf_sk_release(sock);
	return found;
}

/* Whether the kernel keeps a packet with this result of bpf_fib_lookup: it does not forward it. */
static __always_inline int is_kept(long result)
{
	return result == BPF_FIB_LKUP_RET_NOT_FWDED || result == BPF_FIB_LKUP_RET_FWD_DISABLED;
}

/* Whether the kernel delivers such packets to this host or drops them, as its routes say: it does not forward them. */
__noinline int is_delivered(struct xdp_md *ctx, __u32 network, __u32 ifindex, __u32 ipv6)
{
	struct bpf_fib_lookup route = { .family = ipv6 ? AF_INET6 : AF_INET, .l4_protocol = IPPROTO_TCP, .ifindex = ifindex };

	if (ipv6) {
		if (bpf_xdp_load_bytes(ctx, network + IPV6_ADDRESSES, route.ipv6_src, 16) ||
		    bpf_xdp_load_bytes(ctx, network + IPV6_ADDRESSES + 16, route.ipv6_dst, 16))
			return 0;
	} else if (bpf_xdp_load_bytes(ctx, network + IPV4_ADDRESSES, &route.ipv4_src, 4) ||
		   bpf_xdp_load_bytes(ctx, network + IPV4_ADDRESSES + 4, &route.ipv4_dst, 4)) {
		return 0;
	}
	return is_kept(bpf_fib_lookup(ctx, &route, sizeof(route), 0));
}

/* Whether a packet to which may_be_socketless applies is one. `flags`: enum socketless_flag. */
__noinline int is_socketless(struct xdp_md *ctx, __u32 origin, __u32 network, __u32 transport, __u32 flags)
{
	const struct account account = { .origin = origin };
	const __u32 ipv6 = flags & SOCKETLESS_IPV6;

	if (!is_received(ctx, &account) || has_tcp_socket(ctx, network, transport, ipv6))
		return 0;
	if (PART(balancer) && flags & SOCKETLESS_BALANCED && is_served(ctx, network, transport, ipv6))
		return 0;
	return is_delivered(ctx, network, receiving_interface(ctx, origin), ipv6);
}

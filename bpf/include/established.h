/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Connections that this host opened: their packets pass where a list or the default would drop them. The sockets of the
 * kernel are the state, so a flood can fill nothing. Their local ports lie in net.ipv4.ip_local_port_range; the kernel is
 * asked about no other port and no bare SYN, which keeps floods of services as cheap as without this.
 */
#pragma once

#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "abi.h"
#include "icmp.h"
#include "judge.h"
#include "parse.h"
#include "parts.h"

const volatile __u32 part_established = 1;

#define TCP_SYN 0x02
#define TCP_ACK 0x10

#define IPV4_ADDRESSES 12
#define IPV6_ADDRESSES 8

/* IP protocol number, enum transport and whether the packet is IPv6, as one number. */
#define OWN_KIND(protocol, transport, ipv6) ((__u32)(protocol) | (__u32)(transport) << 16 | (__u32)(ipv6) << 24)

static __always_inline int is_local_port(__u16 port)
{
	const struct settings *settings = lookup_line(SETTINGS_LINE);
	const struct receiving *ports = settings ? lookup_line(settings->interfaces) : 0;

	return ports && ports->first_port <= port && port <= ports->last_port;
}

/*
 * Whether a socket that this host opened is the destination of the tuple, in network order. TCP: neither a listener nor a
 * connection that it has not accepted yet.
 */
static __always_inline int has_socket(struct xdp_md *ctx, struct bpf_sock_tuple *tuple, __u32 size, __u32 protocol)
{
	struct bpf_sock *sock;
	int opened;

	if (protocol == IPPROTO_TCP)
		sock = bpf_skc_lookup_tcp(ctx, tuple, size, BPF_F_CURRENT_NETNS, 0);
	else
		sock = bpf_sk_lookup_udp(ctx, tuple, size, BPF_F_CURRENT_NETNS, 0);
	if (!sock)
		return 0;
	opened = protocol != IPPROTO_TCP || (sock->state != BPF_TCP_LISTEN && sock->state != BPF_TCP_NEW_SYN_RECV);
	bpf_sk_release(sock);
	return opened;
}

/* Whether a socket that this host opened receives the packet. A global function for the verifier's sake, as judge_class. */
__noinline int is_own(struct xdp_md *ctx, __u32 network, __u32 transport, __u32 protocol, __u32 ipv6)
{
	struct bpf_sock_tuple tuple = {};

	if (ipv6) {
		if (bpf_xdp_load_bytes(ctx, network + IPV6_ADDRESSES, tuple.ipv6.saddr, 32) ||
		    bpf_xdp_load_bytes(ctx, transport, &tuple.ipv6.sport, 4))
			return 0;
		return has_socket(ctx, &tuple, sizeof(tuple.ipv6), protocol);
	}
	if (bpf_xdp_load_bytes(ctx, network + IPV4_ADDRESSES, &tuple.ipv4.saddr, 8) ||
	    bpf_xdp_load_bytes(ctx, transport, &tuple.ipv4.sport, 4))
		return 0;
	return has_socket(ctx, &tuple, sizeof(tuple.ipv4), protocol);
}

/* Whether this host opened the connection of the packet that an ICMP error at `transport` quotes (RFC 792, RFC 4443 §3). */
__noinline int quotes_own(struct xdp_md *ctx, __u32 transport, __u32 ipv6)
{
	const __u32 quote = transport + ICMP_HEADER;
	struct bpf_sock_tuple tuple = {};
	__u32 protocol, size;
	__u8 head[10];
	__be16 port;

	if (bpf_xdp_load_bytes(ctx, quote, head, sizeof(head)))
		return 0;
	/* The quoted packet left this host, so source and destination are the other way round. */
	if (ipv6) {
		protocol = head[6];
		size = sizeof(struct ipv6hdr);
		if (head[0] >> 4 != 6 || bpf_xdp_load_bytes(ctx, quote + IPV6_ADDRESSES, tuple.ipv6.daddr, 16) ||
		    bpf_xdp_load_bytes(ctx, quote + IPV6_ADDRESSES + 16, tuple.ipv6.saddr, 16) ||
		    bpf_xdp_load_bytes(ctx, quote + size, &tuple.ipv6.dport, 2) ||
		    bpf_xdp_load_bytes(ctx, quote + size + 2, &tuple.ipv6.sport, 2))
			return 0;
		port = tuple.ipv6.dport;
	} else {
		protocol = head[9];
		size = (head[0] & 15) * 4;
		/* A later fragment has no ports. */
		if (head[0] >> 4 != 4 || size < sizeof(struct iphdr) || head[6] & 0x1f || head[7] ||
		    bpf_xdp_load_bytes(ctx, quote + IPV4_ADDRESSES, &tuple.ipv4.daddr, 4) ||
		    bpf_xdp_load_bytes(ctx, quote + IPV4_ADDRESSES + 4, &tuple.ipv4.saddr, 4) ||
		    bpf_xdp_load_bytes(ctx, quote + size, &tuple.ipv4.dport, 2) ||
		    bpf_xdp_load_bytes(ctx, quote + size + 2, &tuple.ipv4.sport, 2))
			return 0;
		port = tuple.ipv4.dport;
	}
	if ((protocol != IPPROTO_TCP && protocol != IPPROTO_UDP) || !is_local_port(bpf_ntohs(port)))
		return 0;
	return has_socket(ctx, &tuple, ipv6 ? sizeof(tuple.ipv6) : sizeof(tuple.ipv4), protocol);
}

/* Whether a TCP header opens a connection. One whose flags are not linear is not one for sure. */
static __always_inline int is_bare_syn(const __u8 *header, const void *end)
{
	if ((const void *)(header + TCP_FLAGS + 1) > end)
		return 0;
	return (header[TCP_FLAGS] & (TCP_SYN | TCP_ACK)) == TCP_SYN;
}

/* Whether a packet with this decision passes if it belongs to a connection that this host opened. */
static __always_inline int is_asked(__u32 defaults, const struct decision *decision)
{
	if (decision->reason == REASON_BLOCKLIST)
		return !decision->strict;
	return (decision->reason == REASON_DEFAULT_DROP || decision->reason == REASON_RATE_LIMIT) &&
	       defaults & SETTINGS_ESTABLISHED;
}

/*
 * Whether a packet may belong to such a connection, by its headers alone: what the kernel need not be asked about stays
 * cheap. `header`: the transport header, in the frame; `head`: as in struct packet; `kind`: an OWN_KIND.
 */
static __always_inline int may_be_own(const __u8 *header, const void *end, __u32 head, __u32 kind)
{
	const __u8 transport = kind >> 16;

	if (transport == TRANSPORT_ICMP)
		return kind >> 24 ? is_error6(head >> 24) : is_error4(head >> 24);
	return transport == TRANSPORT_PORTS && is_local_port(head) &&
	       !((__u16)kind == IPPROTO_TCP && is_bare_syn(header, end));
}

/* The last question before a drop. */
static __always_inline void pass_own(struct xdp_md *ctx, __u32 defaults, __u32 network, __u32 transport,
				     __u32 head, __u32 kind, struct decision *decision)
{
	const __u32 ipv6 = kind >> 24;

	if (!is_asked(defaults, decision) ||
	    !may_be_own(frame_start(ctx) + (transport & LINEAR_LIMIT), frame_end(ctx), head, kind))
		return;
	if ((__u8)(kind >> 16) == TRANSPORT_ICMP ? quotes_own(ctx, transport, ipv6) :
						    is_own(ctx, network, transport, (__u16)kind, ipv6))
		decision->reason = REASON_ESTABLISHED;
}

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A listening socket of the kernel, and what it says about the connections that its SYN cookies open: the kernel reads the
 * options of a connection out of the timestamp that its client echoes (cookie_timestamp_decode), and chooses the scale of its
 * window again (tcp_select_initial_window). An answer must have been the same. See docs/adr/0079.
 */
#pragma once

#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

/* The fields of the kernel's structs that are read here; the loader finds their places (CO-RE). */
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct netns_ipv4 {
	__u8 sysctl_tcp_timestamps;
	__u8 sysctl_tcp_window_scaling;
	__u8 sysctl_tcp_sack;
	__u8 sysctl_tcp_ecn;
	int sysctl_tcp_rmem[3];
};

struct net {
	struct netns_ipv4 ipv4;
};

typedef struct {
	struct net *net;
} possible_net_t;

struct sock_common {
	possible_net_t skc_net;
};

struct sock {
	struct sock_common __sk_common;
	int sk_rcvbuf;
	__u8 sk_userlocks : 4;
};

struct tcp_options_received {
	__u16 user_mss;
};

struct tcp_md5sig_info;

struct tcp_sock {
	struct tcp_options_received rx_opt;
	__u32 window_clamp;
	struct tcp_md5sig_info *md5sig_info;
};

struct tcp_request_sock {
	__u32 snt_isn;
};

#pragma clang attribute pop

/* include/net/sock.h: the size of the receive buffer was set by SO_RCVBUF. */
#define SOCK_RCVBUF_LOCK 2
/* net.ipv4.tcp_timestamps: without an offset that only the kernel knows. */
#define TIMESTAMPS_BARE 2
/* RFC 7323 §2.3 */
#define MOST_WINDOW_SCALE 14
/*
 * At most what every kernel takes of a connection that begins: less than half of the default receive buffer, rounded down to
 * whole segments.
 */
#define SYN_WINDOW 0xf000

enum listener_flag {
	LISTENER_TIMESTAMPS = 1,	/* the options of a connection can be kept in its timestamp */
	LISTENER_SCALES = 2,
	LISTENER_SACK = 4,
	LISTENER_ECN = 8,
	LISTENER_KEYED = 16,	/* has keys of RFC 2385 */
};

struct listener {
	__u32 flags;		/* enum listener_flag */
	__u32 window;
	__u16 most_segment;	/* TCP_MAXSEG; 0 = none */
	__u8 scale;
};

static __always_inline __u32 log2_of(__u32 number)
{
	__u32 log = 0;

	for (__u32 step = 16; step; step >>= 1)
		if (number >> (log + step))
			log += step;
	return log;
}

/* The scale of the window: tcp_select_initial_window, if nothing bounds the window. */
static __always_inline __u8 window_scale(__u32 space)
{
	const __u32 log = log2_of(space | 1);

	if (log <= 15)
		return 0;
	return log - 15 > MOST_WINDOW_SCALE ? MOST_WINDOW_SCALE : log - 15;
}

static __always_inline void read_listener(const struct tcp_sock *tcp, __u32 receive_max, struct listener *listener)
{
	const struct sock *sock = (const void *)tcp;
	const struct netns_ipv4 *ipv4 = &sock->__sk_common.skc_net.net->ipv4;
	const __u32 buffer = sock->sk_rcvbuf, largest = ipv4->sysctl_tcp_rmem[2];
	const __u32 locks = BPF_CORE_READ_BITFIELD(sock, sk_userlocks);

	listener->flags = 0;
	listener->window = buffer / 4 < SYN_WINDOW ? buffer / 4 : SYN_WINDOW;
	listener->most_segment = tcp->rx_opt.user_mss;
	listener->scale = window_scale(largest > receive_max ? largest : receive_max);
	if (bpf_core_field_exists(tcp->md5sig_info) && tcp->md5sig_info)
		listener->flags |= LISTENER_KEYED;
	if (ipv4->sysctl_tcp_timestamps != TIMESTAMPS_BARE)
		return;
	listener->flags |= LISTENER_TIMESTAMPS;
	if (ipv4->sysctl_tcp_sack)
		listener->flags |= LISTENER_SACK;
	if (ipv4->sysctl_tcp_ecn)
		listener->flags |= LISTENER_ECN;
	/* The kernel would bound the window, and scale it less. */
	if (ipv4->sysctl_tcp_window_scaling && !(locks & SOCK_RCVBUF_LOCK) && !tcp->window_clamp)
		listener->flags |= LISTENER_SCALES;
}

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * `syn_protection`: of what would pass to this host, SYNs to its ports are answered with cookies of the listening socket, which
 * keeps no state of them, and acknowledgments are dropped that belong to no socket and have no valid cookie. The kernel opens
 * the connection of a valid one, as it does with cookies of its own. Optional, and with `mode: auto` only while a flood lasts
 * (syn_count.h). SYN-ACKs and resets are left alone.
 */
#pragma once

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "abi.h"
#include "syn_answer.h"
#include "syn_count.h"
#include "syn_packet.h"
#include "verdict.h"

const volatile __u32 part_syn = 1;

static __always_inline int is_port_in(__u32 range, __u32 port)
{
	return range >> 16 <= port && port <= (range & 0xffff);
}

/* Whether the settings name the port. A global function for the verifier's sake, as judge_class. */
__noinline int is_syn_port(__u32 line, __u32 port)
{
	const struct syn_ports *ports = lookup_line(line);

	if (!ports)
		return 0;
	/* Unrolled, the loops would take more of the stack than there is. */
#pragma clang loop unroll(disable)
	for (int i = 0; i < 8; i++) {
		if (!ports->first[i])
			return 0;
		if (is_port_in(ports->first[i], port))
			return 1;
	}
#pragma clang loop unroll(disable)
	for (int i = 0; i < 7; i++) {
		if (!ports->more[i])
			return 0;
		if (is_port_in(ports->more[i], port))
			return 1;
	}
	return 0;
}

/*
 * The cookie of the listening socket for the SYN that has been copied; negative: none. Stores what the socket says, too. A
 * global function for the sake of the verifier and the stack, as the next ones.
 */
__noinline __s64 ask_listener(struct xdp_md *ctx, __u32 ipv6, __u32 receive_max)
{
	struct syn_local *local = open_syn_local();
	struct bpf_sock *sock;
	struct tcp_sock *tcp;
	__s64 cookie = -1;
	__u32 size;

	if (!local)
		return -1;
	size = local->options.end;
	if (size < TCP_HEADER || size > TCP_HEADER + TCP_OPTIONS)
		return -1;
	sock = find_socket(ctx, local, ipv6);
	if (!sock)
		return -1;
	if (sock->state == BPF_TCP_LISTEN) {
		tcp = bpf_skc_to_tcp_sock(sock);
		if (tcp) {
			read_listener(tcp, receive_max, &local->answer.listener);
			cookie = bpf_tcp_gen_syncookie(sock, local->ip, ipv6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr),
						       (struct tcphdr *)local->tcp, size);
		}
	}
	bpf_sk_release(sock);
	return cookie;
}

/* Turns the SYN that has been copied into its answer. Returns 0, with the packet unchanged, if the frame has no room for it. */
__noinline int write_syn_answer(struct xdp_md *ctx, __u32 place, __u32 cookie)
{
	struct syn_local *local = open_syn_local();
	const __u32 ipv6 = is_ipv6_at(place), headers = ipv6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr);
	__u64 unused = 0;

	if (!local)
		return 0;
	/* Without timestamps the answer has no other options. */
	if (local->answer.listener.flags & LISTENER_TIMESTAMPS && !read_usual_options(local))
		bpf_loop(TCP_OPTIONS, read_option, &unused, 0);
	local->answer.words[0] = bpf_htonl(cookie);
	local->answer.words[1] = bpf_htonl(bpf_ntohl(*(const __be32 *)(local->tcp + 4)) + 1);
	write_options(ctx, local, asks_ecn(local, ipv6), headers + TCP_HEADER);
	return write_answer(ctx, local, network_at(place), ipv6);
}

/* Answers a SYN, or of a test run says so. Returns 0 if the kernel is to have it: there is no listener, or it gives no cookie. */
__noinline int answer_syn(struct xdp_md *ctx, __u32 origin, __u32 place)
{
	const struct account account = { .origin = origin };
	const struct syn_header *header = lookup_syn();
	struct syn_local *local = open_syn_local();
	const __u8 *tcp = frame_at(ctx, transport_at(place));
	__s64 cookie;
	__u32 size;

	if (!header || !local || (const void *)tcp + TCP_HEADER > frame_end(ctx))
		return 0;
	size = (tcp[12] >> 4) * 4;
	local->options = (struct syn_options){ .at = TCP_HEADER, .end = size };
	if (copy_headers(ctx, local, place, size) || !ends_in_datagram(local, place) ||
	    !is_between_hosts(local, is_ipv6_at(place)) || !is_for_host(ctx, local, origin, is_ipv6_at(place)))
		return 0;
	cookie = ask_listener(ctx, is_ipv6_at(place), header->receive_max);
	/* A listener with keys signs its answers. */
	if (cookie < 0 || local->answer.listener.flags & LISTENER_KEYED)
		return 0;
	return is_live(&account) ? write_syn_answer(ctx, place, cookie) : 1;
}

enum acknowledgment {
	ACKNOWLEDGES_NOTHING = 0,	/* a listener would get it, and the cookie is not valid */
	ACKNOWLEDGES_OTHER = 1,		/* belongs to a socket, or no socket listens */
	ACKNOWLEDGES_COOKIE = 2,
	ACKNOWLEDGES_REQUEST = 3,	/* completes a handshake that the kernel remembers */
};

/* The meaning of an acknowledgment that has been copied. */
__noinline int ask_sockets(struct xdp_md *ctx, __u32 ipv6)
{
	struct syn_local *local = open_syn_local();
	struct bpf_sock *sock;
	enum acknowledgment found = ACKNOWLEDGES_OTHER;
	struct tcp_request_sock *request;
	struct tcphdr *tcp;

	if (!local)
		return found;
	tcp = (void *)local->tcp;
	sock = find_socket(ctx, local, ipv6);
	if (!sock)
		return found;
	if (sock->state == BPF_TCP_LISTEN) {
		found = bpf_tcp_check_syncookie(sock, local->ip, ipv6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr), tcp,
						sizeof(*tcp)) ? ACKNOWLEDGES_NOTHING : ACKNOWLEDGES_COOKIE;
	} else if (sock->state == BPF_TCP_NEW_SYN_RECV) {
		request = bpf_skc_to_tcp_request_sock(sock);
		if (request && bpf_ntohl(tcp->ack_seq) == request->snt_isn + 1)
			found = ACKNOWLEDGES_REQUEST;
	}
	bpf_sk_release(sock);
	return found;
}

/* Judges an acknowledgment while completions are counted. Returns whether to drop it. A global function likewise. */
__noinline int judge_acknowledgment(struct xdp_md *ctx, __u32 origin, __u32 place, __u64 now, __u32 answering)
{
	const struct account account = { .origin = origin };
	struct syn_local *local = open_syn_local();
	struct syn_counter *counter = open_syn_counter();
	int found;
	__u64 mark;

	if (!local || !counter || copy_headers(ctx, local, place, TCP_HEADER))
		return 0;
	found = ask_sockets(ctx, is_ipv6_at(place));
	if (found == ACKNOWLEDGES_OTHER)
		return 0;
	mark = mark_of(local);
	if (found == ACKNOWLEDGES_NOTHING) {
		if (!answering || is_marked(local, mark, now) ||
		    !is_for_host(ctx, local, origin, is_ipv6_at(place)))
			return 0;
		if (is_live(&account))
			counter->invalid++;
		return 1;
	}
	/* Of several segments that acknowledge one handshake, the first completes it. */
	if (!is_live(&account) || is_marked(local, mark, now))
		return 0;
	mark_flow(local, mark, now);
	counter->completed++;
	count_open(local, now, -1);
	return 0;
}

/* Counts a SYN, and answers it if it is time to. */
static __always_inline __u32 meet_syn(struct xdp_md *ctx, const struct syn_header *header, struct syn_state *state,
				      __u32 origin, __u32 place, __u64 now)
{
	const struct account account = { .origin = origin };
	struct syn_local *local = open_syn_local();
	struct syn_counter *counter = open_syn_counter();
	int answered;

	if (!local || !counter)
		return 0;
	if (is_live(&account)) {
		counter->opened++;
		if (header->mode == SYN_AUTO)
			count_open(local, now, 1);
	}
	if (!is_answering(header, state, now))
		return 0;
	answered = answer_syn(ctx, origin, place);
	if (is_live(&account)) {
		counter->answered += answered;
		counter->left += !answered;
	}
	return answered ? REASON_SYN_ANSWERED : 0;
}

/*
 * The reason of a whole TCP packet that would pass, if it is answered or dropped; else 0. `port`: its destination's. A global
 * function for the verifier's sake, as judge_class.
 */
__noinline __u32 protect_port(struct xdp_md *ctx, __u32 origin, __u32 place, __u32 port)
{
	const __u8 *tcp = frame_at(ctx, transport_at(place));
	const struct syn_header *header = lookup_syn();
	struct syn_state *state = open_syn_state();
	const struct table6 *line = lookup_line(TABLE6_AT_SYN);
	__u64 now;
	__u8 flags;

	if (!header || !state || !line || (const void *)tcp + TCP_HEADER > frame_end(ctx) ||
	    !is_syn_port(line->syn + 1, (__u16)port))
		return 0;
	flags = tcp[TCP_FLAGS];
	now = monotonic_now();
	if (opens_connection(flags))
		return meet_syn(ctx, header, state, origin, place, now);
	if ((flags & (TCP_SYN | TCP_RST | TCP_ACK)) != TCP_ACK || !is_watching(header, state, now))
		return 0;
	return judge_acknowledgment(ctx, origin, place, now, is_answering(header, state, now)) ? REASON_SYN_COOKIE_INVALID :
												0;
}

/* Protects the ports of this host from a packet with this decision. */
static __always_inline void protect(struct xdp_md *ctx, __u32 origin, __u32 defaults, __u32 protocol, __u32 transport,
				    __u32 fragment, __u32 place, __u32 head, struct decision *decision)
{
	__u32 reason;

	if (protocol != IPPROTO_TCP || transport != TRANSPORT_PORTS || fragment || !is_filtered(defaults) ||
	    verdict_of(decision->reason) != XDP_PASS)
		return;
	reason = protect_port(ctx, origin, place, head);
	if (reason)
		decision->reason = reason;
}

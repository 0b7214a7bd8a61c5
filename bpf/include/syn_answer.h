/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The answer to a SYN, as the kernel would give it: a cookie as sequence number, and in a timestamp, if the kernel can read it
 * back, the options of the connection. Without one only the size of segments survives, in the cookie.
 */
#pragma once

#include <linux/bpf.h>
#include <linux/tcp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "abi.h"
#include "reject.h"
#include "syn_count.h"
#include "syn_socket.h"

/* RFC 9293 §3.2, RFC 7323 §2.2 and §3.2, RFC 2018 §2. */
#define OPTION_END 0
#define OPTION_NONE 1
#define OPTION_SEGMENT 2
#define OPTION_SCALE 3
#define OPTION_SACK 4
#define OPTION_TIMESTAMP 8
#define TCP_OPTIONS 40
/* RFC 3168 §6.1.1; RFC 9768 §3.1.1: AE is the flag before them. */
#define TCP_ECE 0x40
#define TCP_CWR 0x80
#define TCP_AE 0x01
/* net/ipv4/syncookies.c: the lowest bits of the timestamp. */
#define COOKIE_NO_SCALE 15
#define COOKIE_SACK 16
#define COOKIE_ECN 32
#define COOKIE_BITS 6
/* RFC 9293 §3.7.1, and the least of the kernel (net.ipv4.route.min_adv_mss). */
#define LEAST_SEGMENT 256
#define MILLISECOND 1000000

#define ANSWER_BARE (TCP_HEADER + 4)
#define ANSWER_WHOLE (TCP_HEADER + 20)

/* Reads one option. Returns 1 at the end of all. Its context would be on the stack, and is not used. */
static long read_option(__u32 index, void *unused)
{
	struct syn_local *local = open_syn_local();
	struct syn_options *options;
	const __u8 *option;
	__u32 at, length;

	if (!local)
		return 1;
	options = &local->options;
	at = options->at;
	if (at >= options->end || at > TCP_HEADER + TCP_OPTIONS - 2)
		return 1;
	option = local->tcp + (at & 63);
	if (option[0] == OPTION_END)
		return 1;
	if (option[0] == OPTION_NONE) {
		options->at++;
		return 0;
	}
	length = option[1];
	if (length < 2 || at + length > options->end)
		return 1;
	options->at += length;
	if (option[0] == OPTION_SACK && length == 2) {
		options->has_sack = 1;
	} else if (option[0] == OPTION_SCALE && length == 3 && at < 60) {
		options->has_scale = 1;
		options->scale = local->tcp[(at + 2) & 63];
	} else if (option[0] == OPTION_TIMESTAMP && length == 10 && at <= 50) {
		options->has_timestamp = 1;
		__builtin_memcpy(&options->timestamp, local->tcp + (at & 63) + 2, 4);
	}
	return 0;
}

/* The options of Linux: size of segments, SACK, timestamp, none, scale. */
#define USUAL_OPTIONS 20
#define USUAL_FIRST (OPTION_SEGMENT << 24 | 4 << 16)
#define USUAL_SECOND (OPTION_SACK << 24 | 2 << 16 | OPTION_TIMESTAMP << 8 | 10)
#define USUAL_LAST (OPTION_NONE << 24 | OPTION_SCALE << 16 | 3 << 8)

/* Reads the options if they are those of Linux; else returns 0. */
static __always_inline int read_usual_options(struct syn_local *local)
{
	const __be32 *words = (const void *)(local->tcp + TCP_HEADER);
	struct syn_options *options = &local->options;
	const __u32 last = bpf_ntohl(words[4]);

	if (options->end != TCP_HEADER + USUAL_OPTIONS || (words[0] & bpf_htonl(0xffff0000)) != bpf_htonl(USUAL_FIRST) ||
	    words[1] != bpf_htonl(USUAL_SECOND) || (last & 0xffffff00) != USUAL_LAST)
		return 0;
	options->has_timestamp = 1;
	options->has_scale = 1;
	options->has_sack = 1;
	options->timestamp = words[2];
	options->scale = last;
	return 1;
}

/* The largest segment of the listener that the interface receives. */
static __always_inline __u32 own_segment(struct xdp_md *ctx, const struct listener *listener, __u32 headers)
{
	__u32 mtu = 0, segment;

	bpf_check_mtu(ctx, 0, &mtu, 0, 0);
	segment = mtu > headers + LEAST_SEGMENT ? mtu - headers : LEAST_SEGMENT;
	if (segment > 0xffff - 40)
		segment = 0xffff - 40;
	return listener->most_segment && listener->most_segment < segment ? listener->most_segment : segment;
}

/* The timestamp of an answer: cookie_init_timestamp. The clock of the tick will do, because its lowest bits are overwritten. */
static __always_inline __u32 cookie_timestamp(__u32 bits)
{
	const __u32 now = monotonic_now() / MILLISECOND;
	__u32 timestamp = now >> COOKIE_BITS << COOKIE_BITS | bits;

	return timestamp > now ? timestamp - (1 << COOKIE_BITS) : timestamp;
}

/* Whether the SYN asks for ECN as RFC 3168 has it. */
static __always_inline int asks_ecn(const struct syn_local *local, __u32 ipv6)
{
	const __u8 tos = ipv6 ? local->ip[1] >> 4 : local->ip[1];

	return (local->tcp[13] & (TCP_ECE | TCP_CWR)) == (TCP_ECE | TCP_CWR) && !(local->tcp[12] & TCP_AE) && !(tos & 3);
}

/* Words of the header behind the acknowledgment number. */
static __always_inline void write_options(struct xdp_md *ctx, struct syn_local *local, __u32 ecn, __u32 headers)
{
	const struct syn_options *options = &local->options;
	struct syn_answer *answer = &local->answer;
	const struct listener *listener = &answer->listener;
	const int sack = options->has_sack && listener->flags & LISTENER_SACK;
	const int scales = options->has_scale && listener->flags & LISTENER_SCALES;
	const __u32 segment = own_segment(ctx, listener, headers);
	const __u32 scale = options->scale > MOST_WINDOW_SCALE ? MOST_WINDOW_SCALE : options->scale;
	__u32 flags = TCP_SYN | TCP_ACK, bits;

	answer->size = ANSWER_BARE;
	answer->words[4] = bpf_htonl(OPTION_SEGMENT << 24 | 4 << 16 | segment);
	if (options->has_timestamp && listener->flags & LISTENER_TIMESTAMPS) {
		answer->size = ANSWER_WHOLE;
		bits = (scales ? scale : COOKIE_NO_SCALE) | (sack ? COOKIE_SACK : 0);
		if (ecn && listener->flags & LISTENER_ECN) {
			bits |= COOKIE_ECN;
			flags |= TCP_ECE;
		}
		answer->words[5] = sack ? bpf_htonl(OPTION_SACK << 24 | 2 << 16 | OPTION_TIMESTAMP << 8 | 10) :
					  bpf_htonl(OPTION_NONE << 24 | OPTION_NONE << 16 | OPTION_TIMESTAMP << 8 | 10);
		answer->words[6] = bpf_htonl(cookie_timestamp(bits));
		answer->words[7] = options->timestamp;
		answer->words[8] = scales ? bpf_htonl(OPTION_NONE << 24 | OPTION_SCALE << 16 | 3 << 8 | listener->scale) :
					    bpf_htonl(0x01010101);
	}
	answer->words[2] = bpf_htonl(answer->size / 4 << 28 | flags << 16 | listener->window);
	answer->words[3] = 0;
}

/* Turns the SYN round. Returns 0, with the packet unchanged, if the frame has no room for the answer or is not in one piece. */
static __always_inline int write_answer(struct xdp_md *ctx, const struct syn_local *local, __u32 network, __u32 ipv6)
{
	const __u32 headers = ipv6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr);
	const struct syn_answer *answer = &local->answer;
	const __u32 size = network + headers + answer->size, length = bpf_xdp_get_buff_len(ctx);
	const __be32 *old = (const void *)local->tcp;
	__be32 *tcp;
	__u64 sum;
	void *data, *ip;

	if (frame_end(ctx) - (const void *)frame_at(ctx, 0) != length)
		return 0;
	/* Of usual SYNs, the answer has their size. */
	if (length != size && bpf_xdp_adjust_tail(ctx, (int)(size - length)))
		return 0;
	data = frame_at(ctx, 0);
	ip = frame_at(ctx, network);
	tcp = ip + headers;
	if ((const void *)data + ETH_HLEN > frame_end(ctx) || (const void *)tcp + ANSWER_BARE > frame_end(ctx))
		return 0;
	sum = ipv6 ? write_ip6(ip, answer->size) : write_ip4(ip, answer->size);
	/* The sum of these words, and not of the packet: clang would derive another pointer for it. */
	tcp[0] = old[0] >> 16 | old[0] << 16;
	tcp[1] = answer->words[0];
	tcp[2] = answer->words[1];
	tcp[3] = answer->words[2];
	tcp[5] = answer->words[4];
	sum += (__u64)tcp[0] + answer->words[0] + answer->words[1] + answer->words[2] + answer->words[4];
	sum += bpf_htons(answer->size) + bpf_htons(IPPROTO_TCP);
	if (answer->size == ANSWER_WHOLE) {
		if ((const void *)tcp + ANSWER_WHOLE > frame_end(ctx))
			return 0;
		tcp[6] = answer->words[5];
		tcp[7] = answer->words[6];
		tcp[8] = answer->words[7];
		tcp[9] = answer->words[8];
		sum += (__u64)answer->words[5] + answer->words[6] + answer->words[7] + answer->words[8];
	}
	tcp[4] = (__u16)~fold(sum);
	if (network)
		write_macs(data, exchanged(read_macs(data)));
	return 1;
}

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The last stage of every packet: one exit, one count; also the counters of lists. */
#pragma once

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "abi.h"
#include "maps.h"

/*
 * A first buffer of at least this size may be full and followed by fragments. A smaller one has fragments only if the
 * hardware splits headers off, and then the IP header gives a length beyond the linear part.
 */
#define FULL_BUFFER 1024

/* The interface whose counters a packet increments, and its size in bytes. */
struct account {
	__u32 slot;		/* of the interface; 0: not attached, as in test runs */
	__u32 bytes;		/* of the frame; only of its linear part before add_fragments */
};

/* Free entries do not end the search, so that user space can remove one without moving those behind it. */
static __always_inline __u32 lookup_slot(__u32 ifindex)
{
	for (__u32 i = 0; i < INTERFACE_PROBES; i++) {
		__u32 key = (ifindex + i) % INTERFACE_INDEX_SIZE;
		const struct interface_entry *entry = bpf_map_lookup_elem(&interface_index, &key);

		if (entry && entry->ifindex == ifindex)
			return entry->slot;
	}
	return 0;
}

static __always_inline __u32 linear_size(const struct xdp_md *ctx)
{
	return ctx->data_end - ctx->data;
}

static __always_inline struct account open_account(const struct xdp_md *ctx)
{
	struct account account = { .slot = lookup_slot(ctx->ingress_ifindex), .bytes = linear_size(ctx) };

	return account;
}

/* Adds the size of the fragments. A call, and so slower than the whole parser: only for packets that may have some. */
static __always_inline void add_fragments(struct xdp_md *ctx, struct account *account)
{
	account->bytes = bpf_xdp_get_buff_len(ctx);
}

/* Plain additions: the counters are per CPU, and no other XDP program interrupts one on its CPU. */
static __always_inline void count(struct counter *counter, const struct account *account)
{
	if (!counter)
		return;
	counter->packets++;
	counter->bytes += account->bytes;
}

/* Test runs leave the lists' counters alone: probing a live policy must not look like traffic. */
static __always_inline void count_list(const struct account *account, __u32 list)
{
	if (account->slot != 0)
		count(bpf_map_lookup_elem(&list_stats, &list), account);
}

/* Reasons as a set of bits. */
#define REASON_BIT_DROP(name, verdict) | (XDP_##verdict == XDP_DROP ? 1u << REASON_##name : 0)
#define REASON_BIT_TX(name, verdict) | (XDP_##verdict == XDP_TX ? 1u << REASON_##name : 0)
#define REASON_BIT_REDIRECT(name, verdict) | (XDP_##verdict == XDP_REDIRECT ? 1u << REASON_##name : 0)
#define DROPPING (0 REASON_LIST(REASON_BIT_DROP))
#define SENDING_BACK (0 REASON_LIST(REASON_BIT_TX))
#define REDIRECTING (0 REASON_LIST(REASON_BIT_REDIRECT))

static __always_inline int verdict_of(__u32 reason)
{
	__u32 bit = 1u << (reason & 31);

	if (bit & DROPPING)
		return XDP_DROP;
	if (bit & SENDING_BACK)
		return XDP_TX;
	return bit & REDIRECTING ? XDP_REDIRECT : XDP_PASS;
}

static __always_inline int finish(const struct account *account, __u32 reason)
{
	__u32 key = account->slot * REASON_SLOTS + reason;

	count(bpf_map_lookup_elem(&verdict_stats, &key), account);
	return verdict_of(reason);
}

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

/* linux/net_namespace.h LOOPBACK_IFINDEX: lo in every namespace, where the kernel lets test runs arrive. */
#define TEST_IFINDEX 1

/* The interface whose counters a packet increments, and its size in bytes. */
struct account {
	__u32 origin;		/* see origin_of; one number, because it lives through the whole program */
	__u32 bytes;		/* of the frame; only of its linear part before add_fragments */
};

/*
 * The slot of an interface and enum interface_flag as one number. Slot 0: the interface has no entry; from
 * INTERFACE_SLOTS on: a test run, see is_live.
 */
static __always_inline __u32 origin_of(__u16 slot, __u16 flags)
{
	return slot | (__u32)flags << 16;
}

static __always_inline __u32 slot_of(const struct account *account)
{
	return (__u16)account->origin;
}

static __always_inline __u32 flags_of(const struct account *account)
{
	return account->origin >> 16;
}

/* Free entries do not end the search, so that user space can remove one without moving those behind it. */
static __always_inline const struct interface_entry *lookup_interface(__u32 ifindex)
{
	for (__u32 i = 0; i < INTERFACE_PROBES; i++) {
		__u32 key = (ifindex + i) % INTERFACE_INDEX_SIZE;
		const struct interface_entry *entry = bpf_map_lookup_elem(&interface_index, &key);

		if (entry && entry->ifindex == ifindex)
			return entry;
	}
	return 0;
}

/*
 * The origin in the metadata of a test run; 0: there is none. A call, because only test runs need it: inlined, it would
 * share its loads of packet pointers with the parser, where the verifier does not allow that.
 */
static __noinline __u32 read_test_run(struct xdp_md *ctx)
{
	const struct test_run *run = (void *)(long)ctx->data_meta;

	if ((const void *)(run + 1) > (void *)(long)ctx->data)
		return 0;
	return origin_of(INTERFACE_SLOTS + run->slot % INTERFACE_SLOTS, run->flags);
}

/* Whether the packet came from the network. A test run counts and stores nothing: it must not look like traffic. */
static __always_inline int is_live(const struct account *account)
{
	return slot_of(account) < INTERFACE_SLOTS;
}

/* An account as one number, for functions with few arguments. */
static __always_inline __u64 who_of(const struct account *account)
{
	return account->origin | (__u64)account->bytes << 32;
}

static __always_inline __u32 linear_size(const struct xdp_md *ctx)
{
	return ctx->data_end - ctx->data;
}

/*
 * As linear_size, at the start of a program. In assembly, because clang would share these loads with the parser: as 32-bit
 * numbers, or from an address inside the context, and the verifier allows neither for packet pointers.
 */
static __always_inline __u32 first_size(const struct xdp_md *ctx)
{
	__u64 start, end;

	asm("%[start] = *(u32 *)(%[ctx] + 0)\n"
	    "%[end] = *(u32 *)(%[ctx] + 4)"
	    : [start] "=&r"(start), [end] "=&r"(end)
	    : [ctx] "r"(ctx));
	return end - start;
}

_Static_assert(__builtin_offsetof(struct xdp_md, data) == 0 && __builtin_offsetof(struct xdp_md, data_end) == 4,
	       "first_size");

/* The account of a test run; without metadata it stands for an interface with all roles. */
static __always_inline struct account open_test_run(struct xdp_md *ctx)
{
	const __u32 origin = read_test_run(ctx);
	struct account account = { .origin = origin ? origin : INTERFACE_SLOTS, .bytes = first_size(ctx) };

	return account;
}

/* On lo, which may be an interface of the file too: then test runs are those with metadata. */
static __noinline __u32 find_test_origin(struct xdp_md *ctx)
{
	const struct interface_entry *entry = lookup_interface(TEST_IFINDEX);
	const __u32 origin = read_test_run(ctx);

	if (origin)
		return origin;
	return entry ? origin_of(entry->slot, entry->flags) : INTERFACE_SLOTS;
}

static __always_inline __u32 find_origin(struct xdp_md *ctx)
{
	const __u32 ifindex = ctx->ingress_ifindex;
	const struct interface_entry *entry;

	if (ifindex == TEST_IFINDEX)
		return find_test_origin(ctx);
	entry = lookup_interface(ifindex);
	return entry ? origin_of(entry->slot, entry->flags) : 0;
}

static __always_inline struct account open_account(struct xdp_md *ctx)
{
	struct account account = { .origin = find_origin(ctx), .bytes = first_size(ctx) };

	return account;
}

/*
 * ifindex of the interface that the packet arrived on: for a member of a bond that of the bond, which routes lead to and
 * which transmits through any of its members. A call, to keep its variables off the stack of the balancer.
 */
static __noinline __attribute__((unused)) __u32 receiving_interface(struct xdp_md *ctx, __u32 origin)
{
	const struct account account = { .origin = origin };
	__u32 slot = slot_of(&account);
	const struct test_run *run = (void *)(long)ctx->data_meta;
	const struct attachment *record;
	__u32 ifindex = ctx->ingress_ifindex;

	if (!is_live(&account) && (const void *)(run + 1) <= (void *)(long)ctx->data)
		return run->ifindex;
	if (!(flags_of(&account) & INTERFACE_MEMBER))
		return ifindex;
	record = bpf_map_lookup_elem(&attachments, &slot);
	return record && record->ifindex ? record->ifindex : ifindex;
}

/* As receiving_interface, without a call for most packets. */
static __always_inline __u32 arrival_of(struct xdp_md *ctx, const struct account *account)
{
	if (is_live(account) && !(flags_of(account) & INTERFACE_MEMBER))
		return ctx->ingress_ifindex;
	return receiving_interface(ctx, account->origin);
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

static __always_inline void count_list(const struct account *account, __u32 list)
{
	if (is_live(account))
		count(bpf_map_lookup_elem(&list_stats, &list), account);
}

/* Reasons as a set of bits. */
#define REASON_BIT_DROP(name, verdict) | (XDP_##verdict == XDP_DROP ? 1ull << REASON_##name : 0)
#define REASON_BIT_TX(name, verdict) | (XDP_##verdict == XDP_TX ? 1ull << REASON_##name : 0)
#define REASON_BIT_REDIRECT(name, verdict) | (XDP_##verdict == XDP_REDIRECT ? 1ull << REASON_##name : 0)
#define DROPPING (0 REASON_LIST(REASON_BIT_DROP))
#define SENDING_BACK (0 REASON_LIST(REASON_BIT_TX))
#define REDIRECTING (0 REASON_LIST(REASON_BIT_REDIRECT))

static __always_inline int verdict_of(__u32 reason)
{
	__u64 bit = 1ull << (reason & (REASON_SLOTS - 1));

	if (bit & DROPPING)
		return XDP_DROP;
	if (bit & SENDING_BACK)
		return XDP_TX;
	return bit & REDIRECTING ? XDP_REDIRECT : XDP_PASS;
}

/* For a test run the key is beyond the map, and nothing is counted. */
static __always_inline int finish(const struct account *account, __u32 reason)
{
	__u32 key = slot_of(account) * REASON_SLOTS + reason;

	count(bpf_map_lookup_elem(&verdict_stats, &key), account);
	return verdict_of(reason);
}

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Fragments of TCP and UDP to and from services. A first fragment has the ports and takes the way of a whole packet; its
 * ports are remembered, and the later fragments of its datagram, which have none, take them from there. So every stage
 * behind this one sees a flow with ports, in both directions, and only NAT needs to know that a later fragment has none
 * to write.
 *
 * Fragments that arrive before the first one of their datagram have no ports: XDP cannot hold them back.
 */
#pragma once

#include "arrival.h"
#include "extensions.h"
#include "flow.h"
#include "sip_hash.h"

/* One map for all CPUs. Sized by user space: without services it has one entry. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct line);
	__uint(max_entries, 1);
} fragments SEC(".maps");

static __always_inline __u64 random64(void)
{
	return (__u64)bpf_get_prandom_u32() << 32 | bpf_get_prandom_u32();
}

/* The key of the hash; 0: there is none yet, and a test run makes none. */
static __always_inline struct fragment_key *open_fragment_key(const struct flow *flow)
{
	__u32 index = FRAGMENT_LINES;
	struct fragment_key *key = bpf_map_lookup_elem(&fragments, &index);

	if (!key || key->words[0])
		return key;
	if (!(flow->marks & FLOW_LIVE))
		return 0;
	/* The first word last: it says that both are there. Of several CPUs the first one decides. */
	__sync_val_compare_and_swap(&key->words[1], 0, random64());
	__sync_val_compare_and_swap(&key->words[0], 0, random64() | 1);
	return key;
}

/* Stores what identifies the datagram besides its addresses. -1: unknown. */
static __always_inline int read_identification(struct xdp_md *ctx, const struct flow *flow, __u64 *identification)
{
	struct chain chain = { .offset = flow->network + sizeof(struct ipv6hdr), .left = ~0u };
	const struct iphdr *ip = frame_at(ctx, flow->network);
	const struct ipv6hdr *ip6 = frame_at(ctx, flow->network);

	if (!flow_is_ipv6(flow)) {
		if ((const void *)(ip + 1) > frame_end(ctx))
			return -1;
		*identification = (__u64)ip->protocol << 32 | ip->id;
		return 0;
	}
	if ((const void *)(ip6 + 1) > frame_end(ctx))
		return -1;
	chain.next = ip6->nexthdr;
	if (walk_extensions(ctx, &chain) != PARSED)
		return -1;
	*identification = chain.identification;
	return 0;
}

/* The keyed hash of the fragment's datagram, not 0; 0: unknown. */
__noinline __u64 hash_datagram(struct xdp_md *ctx, const struct flow *flow)
{
	const struct fragment_key *key;
	__u64 identification = 0, hash;
	struct sip_state state;

	if (!flow)
		return 0;
	key = open_fragment_key(flow);
	if (!key || read_identification(ctx, flow, &identification))
		return 0;
	state = sip_start(key->words[0], key->words[1]);
	sip_add(&state, flow->source_high);
	sip_add(&state, flow->source_low);
	sip_add(&state, flow->destination_high);
	sip_add(&state, flow->destination_low);
	sip_add(&state, identification);
	hash = sip_end(&state, 40);
	return hash ? hash : 1;
}

static __always_inline struct datagram *datagrams_of(__u64 hash)
{
	__u32 index = hash & (FRAGMENT_LINES - 1);

	return bpf_map_lookup_elem(&fragments, &index);
}

/* Index of a datagram in its bucket; FRAGMENTS_A_LINE: absent. */
static __always_inline __u32 find_datagram(const struct datagram *bucket, __u64 hash)
{
	__u32 found = FRAGMENTS_A_LINE;

#pragma unroll
	for (int i = 0; i < FRAGMENTS_A_LINE; i++)
		if ((bucket[i].check ^ bucket[i].facts) == hash)
			found = i;
	return found;
}

/* Not monotonic_now: that is too coarse for FRAGMENT_STAY. */
static __always_inline __u32 fragment_tick(void)
{
	return bpf_ktime_get_ns() >> FRAGMENT_SHIFT & FRAGMENT_SEEN;
}

static __always_inline __u32 datagram_age(__u64 facts, __u32 tick)
{
	return (tick - (__u32)facts) & FRAGMENT_SEEN;
}

/* Whether later fragments may still follow. */
static __always_inline int is_expected(__u64 facts, __u32 tick)
{
	return datagram_age(facts, tick) < (FRAGMENT_LIFETIME * NANOSECONDS >> FRAGMENT_SHIFT);
}

/*
 * Stores the ports of a first fragment, in front of the other entries of its bucket; the oldest gives way, if it has
 * stayed for long enough. A concurrent change by another CPU may cost an entry, and never makes a wrong one.
 */
static __always_inline void remember_datagram(struct datagram *bucket, __u64 hash, const struct flow *flow, __u32 tick)
{
	__u32 found = find_datagram(bucket, hash);
	__u64 oldest = bucket[FRAGMENTS_A_LINE - 1].facts;
	__u64 facts = (__u64)flow->ports << 32 | (flow->protocol == IPPROTO_UDP ? FRAGMENT_UDP : 0) | tick;

	if (found == FRAGMENTS_A_LINE && oldest && datagram_age(oldest, tick) < FRAGMENT_STAY)
		return;
#pragma unroll
	for (int i = FRAGMENTS_A_LINE - 1; i > 0; i--)
		if (i <= found)
			bucket[i] = bucket[i - 1];
	bucket[0].check = hash ^ facts;
	bucket[0].facts = facts;
}

/* Gives a later fragment the protocol and the ports of its datagram. In IPv6 only the first fragment's header counts. */
static __always_inline void recall_datagram(const struct datagram *bucket, __u64 hash, struct flow *flow, __u32 tick)
{
	__u32 found = find_datagram(bucket, hash);
	__u64 facts;

	if (found >= FRAGMENTS_A_LINE)
		return;
	facts = bucket[found & (FRAGMENTS_A_LINE - 1)].facts;
	if (!is_expected(facts, tick))
		return;
	flow->ports = facts >> 32;
	flow->protocol = facts & FRAGMENT_UDP ? IPPROTO_UDP : IPPROTO_TCP;
	flow->kind = TRANSPORT_PORTS;
}

/*
 * Remembers a first fragment, or gives a later one its ports: then flow->kind is TRANSPORT_PORTS. A global function for
 * the verifier's sake, and because few packets come here.
 */
__noinline int follow_fragment(struct xdp_md *ctx, struct flow *flow)
{
	struct datagram *bucket;
	__u64 hash;

	if (!flow)
		return 0;
	/* Nothing to store, or nothing to find: a first fragment of another protocol, and its later ones in IPv4. */
	if (is_later_fragment(flow) ? flow->kind == TRANSPORT_PORTS : flow->kind != TRANSPORT_PORTS)
		return 0;
	if (!flow_is_ipv6(flow) && flow->protocol != IPPROTO_TCP && flow->protocol != IPPROTO_UDP)
		return 0;
	if (!is_addressed(ctx, flow))
		return 0;
	hash = hash_datagram(ctx, flow);
	bucket = hash ? datagrams_of(hash) : 0;
	if (!bucket)
		return 0;
	if (is_later_fragment(flow))
		recall_datagram(bucket, hash, flow, fragment_tick());
	else if (flow->marks & FLOW_LIVE)
		remember_datagram(bucket, hash, flow, fragment_tick());
	return 0;
}

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A packet inside the balancer, its hash, and the flow table, which keeps a flow on its backend whatever happens to the
 * ring. Two functions map a flow to a number: its hash chooses the backend, on all balancers of a VIP alike
 * (src/semantics/flow-hash.ts implements it too); its place is where the tables of this instance keep it, and a secret. See
 * docs/adr/0057.
 */
#pragma once

#include "abi.h"
#include "addr.h"
#include "clock.h"
#include "maps.h"
#include "parse.h"
#include "verdict.h"

/* Not a reason: the packet does not concern the balancer. */
#define NOT_OURS 0xff
#define BALANCE_LINE 9
/* The last line of struct directory, and the number in it that is the line of struct hash_key. */
#define HASH_KEY_LINE 8
#define HASH_KEY_AT 14

/* 2^64 / golden ratio, and the output of splitmix64 for seeds 1 to 4, made odd; then the multipliers of its finalizer.
 */
#define HASH_SOURCE_HIGH 0x9e3779b97f4a7c15ull
#define HASH_SOURCE_LOW 0x910a2dec89025cc1ull
#define HASH_DESTINATION_HIGH 0x975835de1c9756cfull
#define HASH_DESTINATION_LOW 0x1d0b14e4db018fedull
#define HASH_PORTS 0x6e73e372e2338acbull
#define HASH_SECOND 0xbf58476d1ce4e5b9ull
#define HASH_THIRD 0x94d049bb133111ebull

/* TCP flags in the 14th byte of the header. */
#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

#define NANOSECONDS 1000000000ull

/* The lower half of an IPv4 address as one of IPv6, without the address (RFC 4291 §2.5.5.2). */
#define IPV4_IN_IPV6 0xffff00000000ull

enum flow_mark {
	FLOW_LIVE = 1,		/* real traffic; else a test run, which counts and stores nothing */
	FLOW_IPV6 = 2,
	FLOW_KNOWN = 4,		/* the flow table has an entry */
	FLOW_NEW = 8,		/* first packet of a flow */
	FLOW_LIMITED = 16,	/* no entry was made: the budget is spent */
	FLOW_UNRESOLVED = 32,	/* a backend was skipped because its next hop is unresolved */
	FLOW_ERROR = 64,	/* an ICMP error about the flow, not one of its packets */
};

/* Addresses and ports in host order, addresses as 128-bit numbers; offsets from the start of the frame. */
struct flow {
	__u64 source_high;
	__u64 source_low;
	__u64 destination_high;
	__u64 destination_low;
	__u64 hash;		/* set by choose */
	__u64 place;		/* see place_flow */
	__u64 outer;		/* varies the outer source of encapsulation */
	__u32 ports;		/* source << 16 | destination */
	__u32 bytes;		/* of the frame in bytes */
	__u32 length;		/* of the IP datagram in bytes */
	__u16 network;		/* offset of the IP header */
	__u16 transport;	/* offset of the transport header */
	__u16 fragment;		/* as in struct packet */
	__u16 service;		/* slot, NO_SLOT = none yet */
	__u16 backend;		/* slot, NO_SLOT = none yet */
	__u32 binding;		/* line of snat_ports: the source of full NAT */
	__u8 protocol;
	__u8 kind;		/* enum transport */
	__u8 tcp_flags;
	__u8 marks;		/* enum flow_mark */
	__u8 tos;
	__u8 pad;
	__u16 slot;		/* of the receiving interface; 0 = none */
	__u32 device;		/* ifindex of the receiving interface: see receiving_interface */
	__u32 origin;		/* as in struct account */
};

/* Pointer to an offset of the frame. Offsets that the parser has checked are below LINEAR_LIMIT. */
static __always_inline void *frame_at(const struct xdp_md *ctx, __u32 offset)
{
	return frame_start(ctx) + (offset & LINEAR_LIMIT);
}

static __always_inline const struct balance *lookup_balance(void)
{
	return (const struct balance *)policy_line(BALANCE_LINE);
}

static __always_inline int flow_is_ipv6(const struct flow *flow)
{
	return flow->marks & FLOW_IPV6;
}

/* Half of a 16-byte address as a number. */
static __always_inline __u64 half_of(const __be32 *words)
{
	return (__u64)bpf_ntohl(words[0]) << 32 | bpf_ntohl(words[1]);
}

/* Whether the frame is shorter than its IP header says, or the header does not give the length (RFC 2675). */
static __always_inline int is_cut(const struct flow *flow)
{
	return flow->length > flow->bytes - flow->network || flow->length < flow->transport - flow->network;
}

static __always_inline int is_later_fragment(const struct flow *flow)
{
	return flow->fragment & FRAGMENT_OFFSET;
}

/* Whether a fragment has a complete TCP header. */
static __always_inline int has_tcp_header(const struct xdp_md *ctx, const struct flow *flow)
{
	return !is_later_fragment(flow) && flow->network + flow->length >= flow->transport + TCP_HEADER &&
	       (const void *)frame_at(ctx, flow->transport) + TCP_HEADER <= frame_end(ctx);
}

static __always_inline void read_tcp_flags(const struct xdp_md *ctx, struct flow *flow)
{
	const __u8 *tcp = frame_at(ctx, flow->transport);

	if (flow->fragment && !has_tcp_header(ctx, flow))
		return;
	if (flow->protocol == IPPROTO_TCP && (const void *)tcp + TCP_HEADER <= frame_end(ctx))
		flow->tcp_flags = tcp[13];
}

/* The finalizer of splitmix64: a bijection, each bit of the result depends on every bit of the number. */
static __always_inline __u64 mixed(__u64 number)
{
	number = (number ^ number >> 30) * HASH_SECOND;
	number = (number ^ number >> 27) * HASH_THIRD;
	return number ^ number >> 31;
}

/* The last input of both functions. */
static __always_inline __u64 flow_scope(const struct flow *flow)
{
	return (__u64)flow->protocol << 32 | flow->ports;
}

/* The hash without a key. */
static __always_inline __u64 hash_flow(const struct flow *flow, int by_source)
{
	__u64 hash = flow->source_high * HASH_SOURCE_HIGH + flow->source_low * HASH_SOURCE_LOW;

	if (!by_source)
		hash += flow->destination_high * HASH_DESTINATION_HIGH + flow->destination_low * HASH_DESTINATION_LOW +
			flow_scope(flow) * HASH_PORTS;
	return mixed(hash);
}

/* A term of NH (RFC 4418 §5.2.2, UMAC): the product of both halves of a number, each with its part of the key added. */
static __always_inline __u64 keyed_product(__u64 number, __u64 key)
{
	__u32 high = (__u32)(number >> 32) + (__u32)(key >> 32), low = (__u32)number + (__u32)key;

	return (__u64)high * low;
}

/*
 * The place of a flow in the tables of this instance. For a sender who does not know the keys and does not see places,
 * two flows meet by chance only. Flows of different services that hash by source have different places.
 */
static __always_inline __u64 place_flow(const struct flow *flow, int by_source)
{
	__u32 zero = 0;
	const struct flow_keys *keys = bpf_map_lookup_elem(&flow_keys, &zero);
	__u64 scope, sum;

	if (!keys)
		return 0;
	sum = keyed_product(flow->source_high, keys->source_high) + keyed_product(flow->source_low, keys->source_low);
	if (!by_source) {
		sum += keyed_product(flow->destination_high, keys->destination_high) +
		       keyed_product(flow->destination_low, keys->destination_low);
		scope = flow_scope(flow);
	} else {
		scope = (__u64)(flow->service + 1) << 40;
	}
	return mixed(sum + keyed_product(scope, keys->scope));
}

static __always_inline __u32 flow_tag(const struct flow *flow)
{
	__u32 tag = flow->place >> 32;

	return tag ? tag : 1;
}

static __always_inline struct line *flow_bucket(const struct balance *tables, const struct flow *flow)
{
	__u32 index = (__u32)flow->place & tables->flow_mask;

	return bpf_map_lookup_elem(&flows, &index);
}

/* Index of a tag in a bucket; FLOWS_A_LINE: absent. */
static __always_inline __u32 find_flow(const struct line *bucket, __u32 tag)
{
	__u32 found = FLOWS_A_LINE;

#pragma unroll
	for (int i = 0; i < FLOWS_A_LINE; i++)
		if (bucket->word[i] >> 32 == tag)
			found = i;
	return found;
}

static __always_inline __u32 tick_of(__u64 now)
{
	return now >> TICK_SHIFT & FLOW_SEEN;
}

/* Nanoseconds since the entry's last packet, less than 2^45. */
static __always_inline __u64 flow_age(__u64 entry, __u64 now)
{
	return (__u64)((tick_of(now) - (__u32)entry) & FLOW_SEEN) << TICK_SHIFT;
}

/* This CPU's budget, reset at the start of a tick; 0: none, which cannot happen. */
static __always_inline struct flow_budget *open_budget(__u64 now)
{
	__u32 zero = 0;
	struct flow_budget *budget = bpf_map_lookup_elem(&flow_budget, &zero);

	if (budget && budget->tick != now >> TICK_SHIFT) {
		budget->tick = now >> TICK_SHIFT;
		budget->flows = 0;
		budget->errors = 0;
	}
	return budget;
}

/* 1 if a 32-bit number is 0, else 0: by arithmetic, because compilers turn a comparison into a branch. */
static __always_inline __u64 is_zero(__u64 number)
{
	barrier_var(number);
	return (number - 1) >> 63;
}

/*
 * Priority with which a new entry with the tag replaces this entry, higher first: one with the same tag, then a free
 * one, then one with a single packet from its client (all of UDP; in TCP, those of a flood), longest idle first, then
 * an established one. Without branches, because the content of a bucket is unpredictable.
 */
static __always_inline __u64 rank_flow(__u64 entry, __u32 tag, __u32 tick)
{
	__u64 age = (tick - (__u32)entry) & FLOW_SEEN, fresh = ~entry & FLOW_ESTABLISHED;

	return is_zero(entry >> 32 ^ tag) << 17 | is_zero(entry >> 32) << 16 | fresh | age;
}

/* Whether the packet claims to be the first one of a flow. Anybody can claim that of any client's addresses and ports. */
static __always_inline int opens(const struct flow *flow)
{
	return flow->protocol == IPPROTO_TCP && (flow->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
}

/*
 * Stores the flow's backend in its bucket. A concurrent write of another CPU may win any entry: then the ring decides
 * for the flow again.
 */
static __always_inline void remember_flow(const struct balance *tables, struct line *bucket, struct flow *flow,
					  __u64 now)
{
	__u32 tag = flow_tag(flow), tick = tick_of(now);
	struct flow_budget *budget = open_budget(now);
	__u64 best = 0;

	if (!budget)
		return;
	/* Half of it is for handshakes that are completed: a flood of SYNs leaves room for their first acknowledgment. */
	if (budget->flows >= (opens(flow) ? tables->flow_limit / 2 : tables->flow_limit)) {
		flow->marks |= FLOW_LIMITED;
		return;
	}
	budget->flows++;
#pragma unroll
	for (int i = 0; i < FLOWS_A_LINE; i++) {
		__u64 rank = rank_flow(bucket->word[i], tag, tick) * FLOWS_A_LINE + i;

		/* The greater of the two. */
		best ^= (best ^ rank) & -((best - rank) >> 63);
	}
	bucket->word[best & (FLOWS_A_LINE - 1)] = (__u64)tag << 32 | (__u32)flow->backend << 16 | tick;
}

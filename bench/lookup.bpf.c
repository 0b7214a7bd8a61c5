/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Only for benchmarks: many address lookups inside one test run, by the address tables and by an LPM trie of the same
 * prefixes. The queries lie in lines of the policy map behind the image.
 *
 * Each address is the next query XORed with a value that is always 0 but is computed from the previous answer, so that
 * the CPU cannot start a lookup before the previous one ended: packets are judged one after the other too.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include "addr.h"
#include "bulk.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct lpm4_key {
	__u32 length;
	__be32 address;
};

struct lpm6_key {
	__u32 length;
	__be32 address[4];
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct lpm4_key);
	__type(value, __u32);
	__uint(max_entries, 1);
} lpm4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct lpm6_key);
	__type(value, __u32);
	__uint(max_entries, 1);
} lpm6 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __be32);
	__type(value, __u32);
	__uint(max_entries, 1);
} hash4 SEC(".maps");

/* The start of the data: the request and its result. */
struct request {
	__u32 count;		/* number of lookups, or of keys that follow */
	__u32 line;		/* line of the policy map with the first query; 4 queries per line */
	__u32 mask;		/* 0 */
	__u32 hits;		/* number of answers other than 0 */
	__u64 nanoseconds;
	__u64 pad;
};

struct query {
	__u64 high;		/* IPv6 */
	__u64 low;		/* IPv6, or an IPv4 address */
};

struct chain {
	const struct settings *settings;
	const struct table6 *table6;
	struct request request;
	__u32 last;		/* answer */
	__u32 failed;
};

static __always_inline struct query next_query(struct chain *chain, __u32 index)
{
	const struct line *line = policy_line(chain->request.line + (index >> 2));
	struct query query = {};

	if (!line) {
		chain->failed = 1;
		return query;
	}
	query = ((const struct query *)line)[index & 3];
	query.high ^= chain->last & chain->request.mask;
	query.low ^= chain->last & chain->request.mask;
	return query;
}

static __always_inline long answered(struct chain *chain, __u32 class)
{
	chain->last = class;
	chain->request.hits += class != 0;
	return chain->failed ? 1 : 0;
}

static long step_nothing(__u32 index, struct chain *chain)
{
	struct query query = next_query(chain, index);

	return answered(chain, (query.high ^ query.low) & 1);
}

static long step_table4(__u32 index, struct chain *chain)
{
	struct query query = next_query(chain, index);

	return answered(chain, lookup4(chain->settings, query.low));
}

static long step_table6(__u32 index, struct chain *chain)
{
	struct query query = next_query(chain, index);

	return answered(chain, lookup6(chain->table6, query.high, query.low));
}

static long step_lpm4(__u32 index, struct chain *chain)
{
	struct query query = next_query(chain, index);
	struct lpm4_key key = { 32, bpf_htonl(query.low) };
	__u32 *class = bpf_map_lookup_elem(&lpm4, &key);

	return answered(chain, class ? *class : 0);
}

static long step_lpm6(__u32 index, struct chain *chain)
{
	struct query query = next_query(chain, index);
	struct lpm6_key key = { 128, { bpf_htonl(query.high >> 32), bpf_htonl(query.high), bpf_htonl(query.low >> 32),
				       bpf_htonl(query.low) } };
	__u32 *class = bpf_map_lookup_elem(&lpm6, &key);

	return answered(chain, class ? *class : 0);
}

static long step_hash4(__u32 index, struct chain *chain)
{
	struct query query = next_query(chain, index);
	__be32 key = bpf_htonl(query.low);
	__u32 *class = bpf_map_lookup_elem(&hash4, &key);

	return answered(chain, class ? *class : 0);
}

static __always_inline int measure(struct xdp_md *ctx, void *step)
{
	struct chain chain = {};
	__u32 zero = 0, one = 1;
	__u64 begin;

	chain.settings = bpf_map_lookup_elem(&policy, &zero);
	chain.table6 = bpf_map_lookup_elem(&policy, &one);
	if (!chain.settings || !chain.table6)
		return XDP_ABORTED;
	if (bpf_xdp_load_bytes(ctx, 0, &chain.request, sizeof(chain.request)))
		return XDP_ABORTED;
	begin = bpf_ktime_get_ns();
	bpf_loop(chain.request.count, step, &chain, 0);
	chain.request.nanoseconds = bpf_ktime_get_ns() - begin;
	if (chain.failed || bpf_xdp_store_bytes(ctx, 0, &chain.request, sizeof(chain.request)))
		return XDP_ABORTED;
	return XDP_PASS;
}

SEC("xdp.frags")
int nothing(struct xdp_md *ctx)
{
	return measure(ctx, step_nothing);
}

SEC("xdp.frags")
int find_table4(struct xdp_md *ctx)
{
	return measure(ctx, step_table4);
}

SEC("xdp.frags")
int find_table6(struct xdp_md *ctx)
{
	return measure(ctx, step_table6);
}

SEC("xdp.frags")
int find_lpm4(struct xdp_md *ctx)
{
	return measure(ctx, step_lpm4);
}

SEC("xdp.frags")
int find_lpm6(struct xdp_md *ctx)
{
	return measure(ctx, step_lpm6);
}

SEC("xdp.frags")
int find_hash4(struct xdp_md *ctx)
{
	return measure(ctx, step_hash4);
}

struct load {
	struct xdp_md *ctx;
	__u32 failed;
};

static long load_key4(__u32 index, struct load *load)
{
	struct lpm4_key key;
	__u32 class = 1;

	if (bpf_xdp_load_bytes(load->ctx, sizeof(struct request) + index * sizeof(key), &key, sizeof(key)) ||
	    bpf_map_update_elem(&lpm4, &key, &class, BPF_ANY))
		load->failed = 1;
	return load->failed ? 1 : 0;
}

static long load_key6(__u32 index, struct load *load)
{
	struct lpm6_key key;
	__u32 class = 1;

	if (bpf_xdp_load_bytes(load->ctx, sizeof(struct request) + index * sizeof(key), &key, sizeof(key)) ||
	    bpf_map_update_elem(&lpm6, &key, &class, BPF_ANY))
		load->failed = 1;
	return load->failed ? 1 : 0;
}

static long load_host(__u32 index, struct load *load)
{
	__be32 key;
	__u32 class = 1;

	if (bpf_xdp_load_bytes(load->ctx, sizeof(struct request) + index * sizeof(key), &key, sizeof(key)) ||
	    bpf_map_update_elem(&hash4, &key, &class, BPF_ANY))
		load->failed = 1;
	return load->failed ? 1 : 0;
}

static __always_inline int load_keys(struct xdp_md *ctx, void *load_key)
{
	struct load load = { .ctx = ctx };
	__u32 count;

	if (bpf_xdp_load_bytes(ctx, 0, &count, sizeof(count)))
		return XDP_ABORTED;
	bpf_loop(count, load_key, &load, 0);
	return load.failed ? XDP_ABORTED : XDP_PASS;
}

/* Data: a struct request, then `count` keys. */
SEC("xdp.frags")
int load_lpm4(struct xdp_md *ctx)
{
	return load_keys(ctx, load_key4);
}

SEC("xdp.frags")
int load_lpm6(struct xdp_md *ctx)
{
	return load_keys(ctx, load_key6);
}

SEC("xdp.frags")
int load_hash4(struct xdp_md *ctx)
{
	return load_keys(ctx, load_host);
}

SEC("xdp.frags")
int table_write(struct xdp_md *ctx)
{
	return bulk_write(ctx);
}

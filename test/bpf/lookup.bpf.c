/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Only for tests: answers many lookups in one test run, and contains the bulk programs. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "addr.h"
#include "bulk.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Maximum number of queries per packet. */
#define QUERIES 4000

struct query {
	__u64 high;		/* IPv6; the answer replaces it */
	__u64 low;		/* IPv6, or an IPv4 address */
};

struct queries {
	struct xdp_md *ctx;
	__u32 family;
	__u32 failed;
};

static long answer(__u32 index, struct queries *queries)
{
	__u32 zero = 0, one = 1, at = 16 + index * sizeof(struct query);
	const struct settings *settings = bpf_map_lookup_elem(&policy, &zero);
	const struct table6 *table6 = bpf_map_lookup_elem(&policy, &one);
	struct query query;

	if (!settings || !table6 || bpf_xdp_load_bytes(queries->ctx, at, &query, sizeof(query))) {
		queries->failed = 1;
		return 1;
	}
	query.high = queries->family == 4 ? lookup4(settings, query.low) : lookup6(table6, query.high, query.low);
	if (bpf_xdp_store_bytes(queries->ctx, at, &query, sizeof(query))) {
		queries->failed = 1;
		return 1;
	}
	return 0;
}

/* Data: u32 family, u32 count, 8 bytes unused, then that many struct query. */
SEC("xdp.frags")
int lookup(struct xdp_md *ctx)
{
	struct queries queries = { .ctx = ctx };
	__u32 head[2];

	if (bpf_xdp_load_bytes(ctx, 0, head, sizeof(head)) || head[1] > QUERIES)
		return XDP_ABORTED;
	queries.family = head[0];
	bpf_loop(head[1], answer, &queries, 0);
	return queries.failed ? XDP_ABORTED : XDP_PASS;
}

SEC("xdp.frags")
int table_write(struct xdp_md *ctx)
{
	return bulk_write(ctx);
}

SEC("xdp.frags")
int table_read(struct xdp_md *ctx)
{
	return bulk_read(ctx);
}

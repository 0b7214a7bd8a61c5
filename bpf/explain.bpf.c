/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The program that explains a verdict. It runs the code of xdp_filter, but lies in a separate object, so that the
 * kernel can verify both in parallel.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "abi.h"
#include "filter.h"
#include "maps.h"
#include "verdict.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/*
 * Run on test packets: judges like xdp_filter, counts nothing, and writes the reason over the start of the packet. The
 * context of the run may name the receiving interface.
 */
SEC("xdp.frags")
int explain(struct xdp_md *ctx)
{
	/* First: the verifier lets no packet pointer be kept in 32 bits across the lookup. */
	const __u32 slot = lookup_slot(ctx->ingress_ifindex);
	struct account account = { .bytes = linear_size(ctx) };
	const struct decision decision = filter(ctx, &account, slot);
	const int verdict = verdict_of(decision.reason);
	struct explanation *explanation = (void *)(long)ctx->data;

	if ((void *)(explanation + 1) > (void *)(long)ctx->data_end)
		return verdict;
	explanation->verdict = verdict;
	explanation->reason = decision.reason;
	explanation->class = decision.class;
	explanation->list = decision.list;
	explanation->scope = decision.scope;
	explanation->service = decision.service;
	explanation->backend = decision.backend;
	return verdict;
}

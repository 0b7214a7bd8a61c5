/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The program that explains a verdict. It runs the code of xdp_filter, but lies in a separate object, so that the
 * kernel can verify both in parallel.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "abi.h"
#include "batch.h"
#include "filter.h"
#include "maps.h"
#include "verdict.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/*
 * Run on test packets: judges like xdp_filter, counts nothing, and writes the reason over the start of the packet, or over
 * its record in a batch.
 */
SEC("xdp.frags")
int explain(struct xdp_md *ctx)
{
	struct explanation explanation;
	struct decision decision;
	struct account account;
	int verdict;

	if (has_ended(ctx))
		return XDP_ABORTED;
	forget_rate();
	/* The short way decides alike, and both together would take too much of the stack. */
	account = open_test_run(ctx);
	decision = filter_any(ctx, &account);
	verdict = verdict_of(decision.reason);
	add_scope(lookup_line(SETTINGS_LINE), &decision);
	explanation = (struct explanation){
		.verdict = verdict,
		.reason = decision.reason,
		.class = decision.class,
		.list = decision.list,
		.scope = decision.scope,
		.service = decision.service,
		.backend = decision.backend,
	};
	*(__u32 *)&explanation.rate_limit = read_rate();
	/* Of a shorter packet only the verdict is reported. */
	if (!turn_record(ctx, &explanation))
		bpf_xdp_store_bytes(ctx, 0, (void *)&explanation, sizeof(explanation));
	return verdict;
}

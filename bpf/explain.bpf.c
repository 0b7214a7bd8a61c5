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

/* Run on test packets: judges like xdp_filter, counts nothing, and writes the reason over the start of the packet. */
SEC("xdp.frags")
int explain(struct xdp_md *ctx)
{
	struct account account;
	struct decision decision = filter(ctx, open_test_run, &account);
	const int verdict = verdict_of(decision.reason);
	struct explanation explanation;

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
	/* Of a shorter packet only the verdict is reported. */
	bpf_xdp_store_bytes(ctx, 0, (void *)&explanation, sizeof(explanation));
	return verdict;
}

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The data plane: adapters between the kernel and the headers with the logic. All are xdp.frags, so that interfaces
 * with jumbo frames accept the filter, and bulk transfers may exceed a page.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "abi.h"
#include "ban_carry.h"
#include "ban_sweep.h"
#include "ban_write.h"
#include "bulk.h"
#include "chain.h"
#include "counter_read.h"
#include "fill.h"
#include "filter.h"
#include "health_write.h"
#include "maps.h"
#include "stats.h"
#include "verdict.h"
#include "walk.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Attached to interfaces: judges every received packet. */
SEC("xdp.frags")
int xdp_filter(struct xdp_md *ctx)
{
	struct account account;
	const struct decision decision = filter(ctx, open_account, &account);
	const int verdict = finish(&account, decision.reason);

	if (PART(chain) && verdict == XDP_PASS)
		hand_on(ctx, &account);
	return verdict;
}

/* Run on data to fill the policy map of a generation that is not in use yet. */
SEC("xdp.frags")
int table_write(struct xdp_md *ctx)
{
	return bulk_write(ctx);
}

/* Run on a request to read lines of the policy map. */
SEC("xdp.frags")
int table_read(struct xdp_md *ctx)
{
	return bulk_read(ctx);
}

/* Run on spans to copy lines of the previous generation into a policy map that is not in use yet. */
SEC("xdp.frags")
int table_copy(struct xdp_md *ctx)
{
	return walk_spans(ctx, copy_turn);
}

/* Run on spans to compute the digests of their lines. */
SEC("xdp.frags")
int table_digest(struct xdp_md *ctx)
{
	return walk_spans(ctx, digest_turn);
}

/* Run on a request to read counters, summed over CPUs. */
SEC("xdp.frags")
int stats_read(struct xdp_md *ctx)
{
	return read_stats(ctx);
}

/* Run on requests to ban prefixes and to remove bans. */
SEC("xdp.frags")
int ban_write(struct xdp_md *ctx)
{
	return write_bans(ctx);
}

/* Run to remove expired bans. Not an XDP program: it may take milliseconds, and the kernel can preempt this type. */
SEC("syscall")
int ban_sweep(void *ctx)
{
	return sweep_bans();
}

/* Run to count the unexpired bans. */
SEC("syscall")
int ban_count(void *ctx)
{
	return count_bans();
}

/* Run while a generation is built, to take over the bans of the previous one. Pinned only until then. */
SEC("syscall")
int ban_carry(void *ctx)
{
	return carry_bans();
}

/* Run on records to store the health of backends and services. */
SEC("xdp.frags")
int health_write(struct xdp_md *ctx)
{
	return write_health(ctx);
}

/* Run on slots of services or backends to get their counters, summed over CPUs. */
SEC("xdp.frags")
int counter_read(struct xdp_md *ctx)
{
	return read_counters(ctx);
}

/* Run to count the recent flows of the flow table; returns their number. */
SEC("syscall")
int flow_count(void *ctx)
{
	return count_flows();
}

/* Run to count the ports of source pools in use; returns their number. */
SEC("syscall")
int port_count(void *ctx)
{
	return count_ports();
}

/* Run to count the fragmented datagrams that are remembered; returns their number. */
SEC("syscall")
int fragment_count(void *ctx)
{
	return count_fragments();
}

/* Run to count the buckets of rate limits that are in use; returns their number. */
SEC("syscall")
int rate_count(void *ctx)
{
	return count_rates();
}

/* Run on a request for the sources that have exceeded rate limits for so long that they are to be banned. */
SEC("xdp.frags")
int rate_reports(struct xdp_md *ctx)
{
	return report_offenders(ctx);
}

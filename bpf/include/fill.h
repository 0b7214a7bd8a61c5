/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Fill of the flow table, the port map and the map of fragments. Of maps with more lines than FILL_LINES it samples every
 * n-th line: a hash places flows and ports, so every line is representative.
 */
#pragma once

#include "flow.h"
#include "fragment.h"
#include "snat.h"

/* Maximum number of lines read: a few milliseconds, if they are all cold. */
#define FILL_LINES (1u << 18)

/* Seconds for which a flow without a packet still counts: the minimum that RFC 4787 §4.3 recommends for UDP. */
#define FLOW_RECENT 300

struct fill {
	const struct balance *tables;
	__u64 now;
	__u32 stride;
	__u32 used;
};

static long count_bucket(__u32 index, struct fill *fill)
{
	__u32 number = index * fill->stride;
	const struct line *bucket = bpf_map_lookup_elem(&flows, &number);

	if (!bucket)
		return 1;
#pragma unroll
	for (int i = 0; i < FLOWS_A_LINE; i++) {
		__u64 entry = bucket->word[i];

		if (entry && flow_age(entry, fill->now) < FLOW_RECENT * NANOSECONDS)
			fill->used++;
	}
	return 0;
}

static long count_port(__u32 index, struct fill *fill)
{
	__u32 binding = index * fill->stride;
	const struct snat_port *port = lookup_binding(binding);
	const struct backend *backend;
	const struct service *service;

	if (!port)
		return 1;
	if (!port->owner)
		return 0;
	backend = lookup_backend(fill->tables, port->backend);
	service = backend ? lookup_service(fill->tables, backend->service) : 0;
	if (service && !is_free(port, service, bound_protocol(binding), fill->now))
		fill->used++;
	return 0;
}

static long count_datagrams(__u32 index, struct fill *fill)
{
	const struct datagram *bucket = datagrams_of(index);
	__u32 tick = fill->now >> FRAGMENT_SHIFT & FRAGMENT_SEEN;

	if (!bucket)
		return 1;
#pragma unroll
	for (int i = 0; i < FRAGMENTS_A_LINE; i++)
		if (bucket[i].check && is_expected(bucket[i].facts, tick))
			fill->used++;
	return 0;
}

/* Returns the estimate for `lines` lines, by `count_line`. */
static __always_inline int count_fill(const struct balance *tables, __u32 lines, void *count_line)
{
	struct fill fill = { .tables = tables, .now = bpf_ktime_get_ns(), .stride = 1 };

	/* Odd, so that ports of all pools are sampled. */
	if (lines > FILL_LINES)
		fill.stride = lines / FILL_LINES | 1;
	bpf_loop(lines / fill.stride, count_line, &fill, 0);
	return fill.used * fill.stride;
}

/* Number of flows with a packet in the last FLOW_RECENT seconds. */
static __always_inline int count_flows(void)
{
	const struct balance *tables = lookup_balance();

	return tables ? count_fill(tables, tables->flow_mask + 1, count_bucket) : 0;
}

/* Number of source pool ports that are not free. */
static __always_inline int count_ports(void)
{
	const struct balance *tables = lookup_balance();

	return tables ? count_fill(tables, tables->pool_lines * 2 * SNAT_PORTS, count_port) : 0;
}

/* Number of fragmented datagrams whose later fragments find their ports. */
static __always_inline int count_fragments(void)
{
	return count_fill(0, FRAGMENT_LINES, count_datagrams);
}

/* Buckets of rate limits that are ahead of the clock. */
static long count_rate_buckets(__u32 index, struct fill *fill)
{
	__u32 key = index * fill->stride;
	const struct rate_bucket *buckets = bpf_map_lookup_elem(&rate_buckets, &key);
	const __u64 now = fill->now * RATE_UNITS;

	if (!buckets)
		return 1;
#pragma unroll
	for (int i = 0; i < RATE_BUCKETS_A_LINE; i++)
		if (buckets[i].packets > now || buckets[i].bits > now)
			fill->used++;
	return 0;
}

static __always_inline int count_rates(void)
{
	const __u32 *words = (const void *)policy_line(RATES_LINE);
	const struct rate_header *header = words && words[RATES_AT] ? (const void *)policy_line(words[RATES_AT]) : 0;

	return header ? count_fill(0, header->bucket_lines, count_rate_buckets) : 0;
}

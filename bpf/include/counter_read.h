/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Reads the balancer's counters; see abi_counters.h. */
#pragma once

#include "abi.h"
#include "anomaly.h"
#include "maps.h"
#include "observe.h"
#include "rate.h"

struct counter_sum {
	struct xdp_md *ctx;
	struct counter_request request;
	union {
		struct service_counter service;
		struct backend_counter backend;
		struct rate_counter rate;
		struct anomaly_counter anomaly;
		struct counter observed;
	} sum;
	__u32 slot;
	__u32 failed;
};

/* A callback that adds the counter of one CPU. */
#define ADD_CPU(kind, map) \
	static long add_##kind##_cpu(__u32 index, struct counter_sum *read) \
	{ \
		const __u32 slot = read->slot; \
		const __u64 *from = bpf_map_lookup_percpu_elem(&map, &slot, read->request.first_cpu + index); \
		__u64 *to = (__u64 *)&read->sum.kind; \
\
		if (!from) { \
			read->failed = 1; \
			return 1; \
		} \
		_Pragma("unroll") for (__u32 i = 0; i < sizeof(read->sum.kind) / sizeof(*to); i++) \
			to[i] += from[i]; \
		return 0; \
	}

ADD_CPU(service, service_stats)
ADD_CPU(backend, backend_stats)
ADD_CPU(rate, rate_stats)
ADD_CPU(anomaly, anomaly_stats)
ADD_CPU(observed, observe_stats)

static __always_inline long read_record(__u32 index, struct counter_sum *read, const __u32 size, void *add_cpu)
{
	const __u32 offset = sizeof(read->request) + index * size;

	__builtin_memset(&read->sum, 0, sizeof(read->sum));
	if (bpf_xdp_load_bytes(read->ctx, offset, &read->slot, sizeof(read->slot)) ||
	    (__u32)bpf_loop(read->request.cpus, add_cpu, read, 0) != read->request.cpus || read->failed ||
	    bpf_xdp_store_bytes(read->ctx, offset, &read->sum, size))
		read->failed = 1;
	return read->failed ? 1 : 0;
}

static long read_service(__u32 index, struct counter_sum *read)
{
	return read_record(index, read, sizeof(struct service_counter), add_service_cpu);
}

static long read_backend(__u32 index, struct counter_sum *read)
{
	return read_record(index, read, sizeof(struct backend_counter), add_backend_cpu);
}

static long read_rate_counter(__u32 index, struct counter_sum *read)
{
	return read_record(index, read, sizeof(struct rate_counter), add_rate_cpu);
}

static long read_anomaly(__u32 index, struct counter_sum *read)
{
	return read_record(index, read, sizeof(struct anomaly_counter), add_anomaly_cpu);
}

static long read_observed_counter(__u32 index, struct counter_sum *read)
{
	return read_record(index, read, sizeof(struct counter), add_observed_cpu);
}

/* Data: a struct counter_request and its records. XDP_PASS if all were read, else XDP_ABORTED. */
static __always_inline int read_counters(struct xdp_md *ctx)
{
	struct counter_sum read = { .ctx = ctx };
	struct counter_request *request = &read.request;

	if (bpf_xdp_load_bytes(ctx, 0, request, sizeof(*request)) || request->count > COUNTER_RECORDS)
		return XDP_ABORTED;
	if (request->kind == COUNTER_SERVICES)
		bpf_loop(request->count, read_service, &read, 0);
	else if (request->kind == COUNTER_BACKENDS)
		bpf_loop(request->count, read_backend, &read, 0);
	else if (request->kind == COUNTER_RATES)
		bpf_loop(request->count, read_rate_counter, &read, 0);
	else if (request->kind == COUNTER_ANOMALIES)
		bpf_loop(request->count, read_anomaly, &read, 0);
	else if (request->kind == COUNTER_OBSERVED)
		bpf_loop(request->count, read_observed_counter, &read, 0);
	else
		return XDP_ABORTED;
	return read.failed ? XDP_ABORTED : XDP_PASS;
}

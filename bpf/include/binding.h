/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A port of full NAT and the flow that owns it, which is half-open, open or closing.
 *
 * A packet with a forged source makes a flow half-open, and the answer of its backend does not change that. A TCP flow is
 * open once its client acknowledged the sequence number of the SYN-ACK, which only the receiver of the SYN-ACK knows; a
 * UDP flow once its client sent another datagram after an answer. Until then the port is free again after
 * SNAT_HALF_OPEN seconds, and any new flow may take it if no port is free.
 */
#pragma once

#include "flow.h"
#include "link.h"
#include "pick.h"
#include "snat_sources.h"

#define NO_BINDING 0xffffffff
/* A client acknowledges the SYN-ACK, and at most the data that a server sends behind it (RFC 7413) in ten segments. */
#define FIRST_WINDOW (1 << 14)

static __always_inline struct snat_port *lookup_binding(__u32 binding)
{
	return bpf_map_lookup_elem(&snat_ports, &binding);
}

static __always_inline __u32 binding_of(__u32 pool, __u8 protocol, __u16 port)
{
	return (pool * 2 + (protocol == IPPROTO_UDP)) * SNAT_PORTS + port;
}

/* The protocol of the flows of a line. */
static __always_inline __u8 bound_protocol(__u32 binding)
{
	return binding / SNAT_PORTS % 2 ? IPPROTO_UDP : IPPROTO_TCP;
}

/* The owner of a line: the place of its flow, by all five parts of the tuple. */
static __always_inline __u64 owner_of(const struct flow *flow)
{
	return flow->place | 1;
}

static __always_inline int is_half_open(const struct snat_port *port)
{
	return port->state == SNAT_OPENING || port->state == SNAT_ANSWERED;
}

/* Idle timeout of a port in seconds. */
static __always_inline __u64 binding_timeout(const struct service *service, __u8 protocol, const struct snat_port *port)
{
	if (is_half_open(port))
		return SNAT_HALF_OPEN;
	if (protocol == IPPROTO_UDP)
		return service->udp_timeout > SNAT_UDP ? service->udp_timeout : SNAT_UDP;
	return port->state == SNAT_OPEN ? SNAT_ESTABLISHED : SNAT_TRANSITORY;
}

static __always_inline int is_free(const struct snat_port *port, const struct service *service, __u8 protocol, __u64 now)
{
	__u64 idle = (__u64)((__u32)(now >> TICK_SHIFT) - port->seen) << TICK_SHIFT;

	return !port->owner || (port->ready && idle > binding_timeout(service, protocol, port) * NANOSECONDS);
}

static __always_inline int is_client(const struct snat_port *port, const struct flow *flow)
{
	const __be32 *client = (const void *)port->client;

	return half_of(client) == flow->source_high && half_of(client + 2) == flow->source_low &&
	       port->client_port == bpf_htons(flow->ports >> 16);
}

/* A time in 1/256 of a tick. */
static __always_inline __u32 fine_tick(__u64 now)
{
	return now >> (TICK_SHIFT - 8);
}

/* 1/256 of a tick since `seen`, less than 2^31. */
static __always_inline __u32 idle_of(const struct snat_port *port, __u64 now)
{
	return (fine_tick(now) - (port->seen << 8 | port->fraction)) & 0x7fffffff;
}

/* The counter of half-open flows that a port's flow belongs to. */
static __always_inline __u32 cell_of_port(const struct snat_port *port, __u32 binding)
{
	const __be32 *client = (const void *)port->client;

	return source_cell(half_of(client), half_of(client + 2), binding / SNAT_PORTS);
}

/* Records the time of a packet, once per tick: CPUs share the line. */
static __always_inline void touch_binding(struct snat_port *port, __u32 binding, __u64 now)
{
	__u32 tick = now >> TICK_SHIFT, before = port->seen;

	if (before == tick)
		return;
	port->seen = tick;
	port->fraction = fine_tick(now);
	/* A flow counts for the time of its last packet. */
	if (is_half_open(port) && source_window(before) != source_window(tick)) {
		count_closed(cell_of_port(port, binding), before, tick);
		count_opened(cell_of_port(port, binding), tick);
	}
}

/* The flow of a half-open port is open. */
static __always_inline void open_binding(struct snat_port *port, __u32 binding, __u64 now)
{
	count_closed(cell_of_port(port, binding), port->seen, now >> TICK_SHIFT);
	port->state = SNAT_OPEN;
}

/* Sequence and acknowledgment numbers of a TCP header. */
struct numbers {
	__u32 sequence;
	__u32 acknowledged;
	__u8 length;		/* of the header in bytes */
};

static __always_inline struct numbers read_numbers(const struct xdp_md *ctx, const struct flow *flow)
{
	const __be32 *tcp = frame_at(ctx, flow->transport);
	struct numbers numbers = {};

	if ((const void *)tcp + TCP_HEADER > frame_end(ctx))
		return numbers;
	numbers.sequence = bpf_ntohl(tcp[1]);
	numbers.acknowledged = bpf_ntohl(tcp[2]);
	numbers.length = ((const __u8 *)tcp)[12] >> 4 << 2;
	return numbers;
}

/* Keeps the path that answers take, the reverse of the packet's, if it changed. */
static __always_inline void keep_path(struct xdp_md *ctx, struct snat_port *port, const struct flow *flow)
{
	const void *frame = frame_at(ctx, 0);
	const struct vlan_tag *tag = frame_at(ctx, ETH_HLEN);
	struct macs macs, before = read_macs(port->macs);
	__u16 vlan;

	if (frame + ETH_HLEN + VLAN_HEADER > frame_end(ctx))
		return;
	macs = exchanged(read_macs(frame));
	vlan = flow->network == ETH_HLEN ? 0 : bpf_ntohs(tag->control) & VLAN_ID;
	if (!((macs.first ^ before.first) | (macs.last ^ before.last) | (port->ifindex ^ flow->device) |
	      (port->vlan ^ vlan)))
		return;
	write_macs(port->macs, macs);
	port->ifindex = flow->device;
	port->vlan = vlan;
}

/* Writes the line of a port that was just taken, or whose flow starts again. */
__noinline int start_binding(struct xdp_md *ctx, const struct flow *flow)
{
	struct snat_port *port = flow ? lookup_binding(flow->binding) : 0;
	__u64 now = monotonic_now();
	__be32 *client;

	if (!port)
		return 0;
	if (is_half_open(port))
		count_closed(cell_of_port(port, flow->binding), port->seen, now >> TICK_SHIFT);
	client = (void *)port->client;
	client[0] = bpf_htonl(flow->source_high >> 32);
	client[1] = bpf_htonl(flow->source_high);
	client[2] = bpf_htonl(flow->source_low >> 32);
	client[3] = bpf_htonl(flow->source_low);
	port->client_port = bpf_htons(flow->ports >> 16);
	port->backend = flow->backend;
	keep_path(ctx, port, flow);
	port->state = SNAT_OPENING;
	port->fraction = fine_tick(now);
	port->asked = flow->protocol == IPPROTO_TCP ? read_numbers(ctx, flow).sequence : 0;
	port->answered = 0;
	port->seen = now >> TICK_SHIFT;
	count_opened(cell_of_port(port, flow->binding), port->seen);
	return 0;
}

/*
 * Whether the packet begins a flow although the port has one. A SYN leaves a flow alone that was open, even if FIN or RST
 * was seen since: all three may be forged. The backend judges it: see accept_binding and docs/adr/0057.
 */
static __always_inline int restarts(struct xdp_md *ctx, const struct snat_port *port, const struct service *service,
				    const struct flow *flow, __u64 now)
{
	if (flow->protocol == IPPROTO_TCP && !opens(flow))
		return 0;
	if (is_free(port, service, flow->protocol, now))
		return 1;
	return flow->protocol == IPPROTO_TCP && is_half_open(port) && port->asked != read_numbers(ctx, flow).sequence;
}

/* Whether the flow is open with this packet of its client. */
static __always_inline int completes(struct xdp_md *ctx, const struct snat_port *port, const struct flow *flow)
{
	if (port->state != SNAT_ANSWERED)
		return 0;
	if (flow->protocol != IPPROTO_TCP)
		return 1;
	return (flow->tcp_flags & (TCP_SYN | TCP_RST | TCP_ACK)) == TCP_ACK &&
	       read_numbers(ctx, flow).acknowledged - port->answered - 1 < FIRST_WINDOW;
}

/* Records a packet of the client. Packets that may be forged change nothing: a SYN, and those of a flow not yet open. */
__noinline int follow_client(struct xdp_md *ctx, const struct flow *flow)
{
	struct snat_port *port = flow ? lookup_binding(flow->binding) : 0;
	__u64 now = monotonic_now();

	if (!port)
		return 0;
	if (flow->protocol == IPPROTO_TCP && opens(flow)) {
		/* The SYN of a half-open flow, repeated: maybe because its answer had the wrong path. */
		if (is_half_open(port))
			keep_path(ctx, port, flow);
		return 0;
	}
	if (completes(ctx, port, flow))
		open_binding(port, flow->binding, now);
	if (flow->protocol == IPPROTO_TCP && is_half_open(port))
		return 0;
	keep_path(ctx, port, flow);
	touch_binding(port, flow->binding, now);
	if (closes(flow) && port->state != SNAT_CLOSING)
		port->state = SNAT_CLOSING;
	return 0;
}

/*
 * Records a packet of the backend in a half-open TCP flow. Data and FIN show that the backend has the client's
 * acknowledgment, even if it was not the one expected: a server under a flood computes its numbers from the time, and
 * may send another one with each SYN-ACK.
 */
static __always_inline void answer_half_open(struct xdp_md *ctx, struct snat_port *port, const struct flow *flow,
					     __u64 now)
{
	struct numbers numbers = read_numbers(ctx, flow);
	__u32 headers = flow->transport - flow->network + numbers.length;

	if (flow->tcp_flags & TCP_RST)
		return;
	if (!(flow->tcp_flags & TCP_SYN)) {
		if (flow->tcp_flags & TCP_FIN || flow->length > headers)
			open_binding(port, flow->binding, now);
		return;
	}
	/* It acknowledges the SYN, and data in it at most: otherwise it is for a flow that had the port before. */
	if (numbers.acknowledged - port->asked - 1 >= FIRST_WINDOW)
		return;
	port->answered = numbers.sequence;
	port->state = SNAT_ANSWERED;
}

static __always_inline int accepts(const struct flow *flow)
{
	return (flow->tcp_flags & (TCP_SYN | TCP_ACK | TCP_RST)) == (TCP_SYN | TCP_ACK);
}

/* The backend accepts a connection from the client's address and port, whose last one ended. */
static __always_inline void accept_binding(struct xdp_md *ctx, struct snat_port *port, const struct flow *flow,
					   __u64 now)
{
	struct numbers numbers = read_numbers(ctx, flow);

	port->asked = numbers.acknowledged - 1;
	port->answered = numbers.sequence;
	port->fraction = fine_tick(now);
	port->seen = now >> TICK_SHIFT;
	port->state = SNAT_ANSWERED;
	count_opened(cell_of_port(port, flow->binding), port->seen);
}

/* Records a packet of the backend. */
__noinline int follow_backend(struct xdp_md *ctx, const struct flow *flow)
{
	struct snat_port *port = flow ? lookup_binding(flow->binding) : 0;
	__u64 now = monotonic_now();

	if (!port)
		return 0;
	if (flow->protocol == IPPROTO_TCP && is_half_open(port))
		answer_half_open(ctx, port, flow, now);
	else if (port->state == SNAT_OPENING)
		port->state = SNAT_ANSWERED;
	else if (port->state == SNAT_CLOSING && flow->protocol == IPPROTO_TCP && accepts(flow))
		accept_binding(ctx, port, flow, now);
	if (flow->protocol == IPPROTO_TCP && is_half_open(port))
		return 0;
	touch_binding(port, flow->binding, now);
	if (closes(flow) && port->state != SNAT_CLOSING)
		port->state = SNAT_CLOSING;
	return 0;
}

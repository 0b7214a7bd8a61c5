/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Only for benchmarks: SYNs of random senders, as test runs of a program and as live frames. Each turn writes the whole frame,
 * since the turn before may have made an answer of it, with right checksums.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/tcp.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Ethernet, IPv4, and TCP with the options of Linux. */
#define FRAME_SIZE 74
#define FRAME_WORDS 10

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__type(key, __u32);
	__type(value, __u32);
	__uint(max_entries, 1);
} subject SEC(".maps");

struct workload {
	__u32 ifindex;		/* egress of live frames */
	__u32 ip_sum;		/* of the IP header without its source and checksum */
	__u32 tcp_sum;		/* of the segment and its pseudo header without source, source port, sequence number, checksum */
	__u32 senders;		/* a power of two */
	__u64 frame[FRAME_WORDS];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct workload);
	__uint(max_entries, 1);
} workloads SEC(".maps");

static __always_inline __u16 fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return sum + (sum >> 16);
}

static __always_inline __u32 halves(__u32 word)
{
	return (word & 0xffff) + (word >> 16);
}

/* Writes the SYN of a random sender. Returns its workload; 0: none. */
static __always_inline const struct workload *write_syn(struct xdp_md *ctx)
{
	__u32 zero = 0, random = bpf_get_prandom_u32(), sequence = random * 0x9e3779b9u;
	const struct workload *workload = bpf_map_lookup_elem(&workloads, &zero);
	__u32 length = ctx->data_end - ctx->data;
	__be32 source;
	struct iphdr *ip;
	struct tcphdr *tcp;
	__be16 port;
	__u64 *frame;

	if (!workload || (length != FRAME_SIZE && bpf_xdp_adjust_tail(ctx, (int)(FRAME_SIZE - length))))
		return 0;
	frame = (void *)(long)ctx->data;
	if ((void *)frame + FRAME_SIZE > (void *)(long)ctx->data_end)
		return 0;
#pragma unroll
	for (int i = 0; i < FRAME_SIZE / 8; i++)
		frame[i] = workload->frame[i];
	*(__u16 *)(frame + FRAME_SIZE / 8) = workload->frame[FRAME_SIZE / 8];
	ip = (void *)frame + ETH_HLEN;
	tcp = (void *)(ip + 1);
	source = bpf_htonl(11u << 24 | (random & (workload->senders - 1) & 0xffffff));
	port = bpf_htons(1024 + (sequence >> 17));
	ip->saddr = source;
	ip->check = ~fold(workload->ip_sum + halves(source));
	tcp->source = port;
	tcp->seq = sequence;
	tcp->check = ~fold(workload->tcp_sum + halves(source) + halves(sequence) + port);
	return workload;
}

SEC("xdp.frags")
int run_syns(struct xdp_md *ctx)
{
	if (write_syn(ctx))
		bpf_tail_call(ctx, &subject, 0);
	return XDP_ABORTED;
}

SEC("xdp.frags")
int drop(struct xdp_md *ctx)
{
	return XDP_DROP;
}

/* The questions to the kernel that every answer takes, whatever the program: the route, the socket, its cookie, the length. */
SEC("xdp.frags")
int ask(struct xdp_md *ctx)
{
	const struct iphdr *ip = (void *)(long)ctx->data + ETH_HLEN;
	const struct tcphdr *tcp = (void *)(ip + 1);
	struct bpf_fib_lookup route = { .family = 2, .l4_protocol = IPPROTO_TCP, .ifindex = ctx->ingress_ifindex };
	struct bpf_sock_tuple tuple = {};
	struct bpf_sock *listener;
	__s64 cookie;

	if ((void *)tcp + FRAME_SIZE - ETH_HLEN - sizeof(*ip) > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	tuple.ipv4.saddr = route.ipv4_src = ip->saddr;
	tuple.ipv4.daddr = route.ipv4_dst = ip->daddr;
	tuple.ipv4.sport = tcp->source;
	tuple.ipv4.dport = tcp->dest;
	bpf_fib_lookup(ctx, &route, sizeof(route), 0);
	listener = bpf_skc_lookup_tcp(ctx, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
	if (!listener)
		return XDP_ABORTED;
	cookie = bpf_tcp_gen_syncookie(listener, (void *)ip, sizeof(*ip), (void *)tcp, FRAME_SIZE - ETH_HLEN - sizeof(*ip));
	bpf_sk_release(listener);
	return cookie < 0 || bpf_xdp_adjust_tail(ctx, 0) ? XDP_ABORTED : XDP_TX;
}

SEC("xdp")
int generate(struct xdp_md *ctx)
{
	const struct workload *workload = write_syn(ctx);

	return workload ? bpf_redirect(workload->ifindex, 0) : XDP_ABORTED;
}

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Only for benchmarks: gives each run of a test packet another destination port, then calls the program under test. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/tcp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__type(key, __u32);
	__type(value, __u32);
	__uint(max_entries, 1);
} subject SEC(".maps");

/* Number of runs so far. */
__u32 runs;

/* Behind the TCP header of the test packet: the ports to use. */
struct ports {
	__u16 first;
	__u16 count;		/* a power of two */
};

/* Prime to every count, and no stride of a table. */
#define STEP 7919

SEC("xdp.frags")
int run_ports(struct xdp_md *ctx)
{
	struct tcphdr *tcp = (void *)(long)ctx->data + sizeof(struct ethhdr) + sizeof(struct iphdr);
	const struct ports *ports = (void *)(tcp + 1);

	if ((void *)(ports + 1) > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	tcp->dest = bpf_htons(ports->first + (runs++ * STEP & (ports->count - 1)));
	bpf_tail_call(ctx, &subject, 0);
	return XDP_ABORTED;
}

SEC("xdp.frags")
int nothing(struct xdp_md *ctx)
{
	return XDP_PASS;
}

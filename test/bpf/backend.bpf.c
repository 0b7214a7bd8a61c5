/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Kernel features that a backend of the test network needs and this kernel may lack: decapsulation of IP in IP (RFC
 * 2003, RFC 2473) and of UDP directly followed by an IP packet. Also the program that a veth needs so that its peer's
 * XDP can transmit to it.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define GUE_PORT 6080

SEC("xdp")
int pass(struct xdp_md *ctx)
{
	return XDP_PASS;
}

/* Size of the outer headers, 0 = none. Sets the protocol of the inner packet. */
static __always_inline int outer_size(void *data, void *end, __be16 *inner)
{
	struct ethhdr *eth = data;
	struct udphdr *udp = 0;
	__u8 protocol;
	int size;

	if ((void *)(eth + 1) > end)
		return 0;
	if (eth->h_proto == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = (void *)(eth + 1);

		if ((void *)(ip + 1) > end || ip->ihl != 5)
			return 0;
		protocol = ip->protocol;
		size = sizeof(*ip);
		udp = (void *)(ip + 1);
	} else if (eth->h_proto == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr *ip = (void *)(eth + 1);

		if ((void *)(ip + 1) > end)
			return 0;
		protocol = ip->nexthdr;
		size = sizeof(*ip);
		udp = (void *)(ip + 1);
	} else {
		return 0;
	}
	if (protocol == IPPROTO_IPIP || protocol == IPPROTO_IPV6) {
		*inner = bpf_htons(protocol == IPPROTO_IPIP ? ETH_P_IP : ETH_P_IPV6);
		return size;
	}
	if (protocol != IPPROTO_UDP || (void *)(udp + 1) + 1 > end || udp->dest != bpf_htons(GUE_PORT))
		return 0;
	*inner = bpf_htons(*(__u8 *)(udp + 1) >> 4 == 4 ? ETH_P_IP : ETH_P_IPV6);
	return size + sizeof(*udp);
}

/* Removes the outer headers and passes the packet. */
SEC("xdp")
int unwrap(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr copy, *eth;
	__be16 inner = 0;
	int size = outer_size(data, end, &inner);

	if (!size || data + sizeof(copy) > end)
		return XDP_PASS;
	__builtin_memcpy(&copy, data, sizeof(copy));
	copy.h_proto = inner;
	if (bpf_xdp_adjust_head(ctx, size))
		return XDP_ABORTED;
	eth = (void *)(long)ctx->data;
	if ((void *)(eth + 1) > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	__builtin_memcpy(eth, &copy, sizeof(copy));
	return XDP_PASS;
}

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Anomalies: packets such as no ordinary sender sends, of those that neither lists nor bans decide. One packet says all;
 * nothing is remembered.
 */
#pragma once

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "abi.h"
#include "essential.h"
#include "flow.h"
#include "judge.h"
#include "match.h"
#include "parse.h"
#include "parts.h"
#include "translate.h"

const volatile __u32 part_anomalies = 1;

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct anomaly_counter);
	__uint(max_entries, ANOMALY_SLOTS);
} anomaly_stats SEC(".maps");

_Static_assert(ANOMALIES <= ANOMALY_SLOTS, "more anomalies than slots");

#define FOUND(name, condition) ((condition) ? 1u << ANOMALY_##name : 0)

/* RFC 9293 §3.1: flags of a TCP header, in its byte 13. */
#define FLAG_FIN 0x01
#define FLAG_SYN 0x02
#define FLAG_RST 0x04
#define FLAG_PSH 0x08
#define FLAG_ACK 0x10
#define FLAG_URG 0x20
#define KNOWN_FLAGS 0x3f
/* RFC 9293 §3.1: the byte of the data offset. */
#define TCP_OFFSET 12
/* RFC 8200 §4.4: the byte of the routing type. */
#define ROUTING_TYPE 2
/* RFC 4861 §4.1, §4.3 */
#define ROUTER_SOLICITATION 133
#define NEIGHBOR_SOLICITATION 135

/* IP protocol number, enum transport, whether the packet is IPv6, and its fragment field, as one number. */
#define ANOMALY_KIND(packet) \
	((__u64)(packet)->protocol | (__u64)(packet)->transport << 16 | (__u64)is_ipv6(packet) << 24 | \
	 (__u64)(packet)->fragment << 32)

/* Whether the first `length` bits of two addresses in host order are equal. */
static __always_inline int in_prefix(__u32 address, __u32 prefix, __u32 length)
{
	return !((address ^ prefix) >> (32 - length));
}

/* RFC 6890, the IANA IPv4 Special-Purpose Address Registry: what is not globally reachable, and multicast. */
static __always_inline int is_bogon4(__u32 source)
{
	switch (source >> 24) {
	case 0:
	case 10:
	case 127:
		return 1;
	case 100:
		return in_prefix(source, 0x64400000, 10);
	case 169:
		return in_prefix(source, 0xa9fe0000, 16);
	case 172:
		return in_prefix(source, 0xac100000, 12);
	case 192:
		return in_prefix(source, 0xc0000000, 24) || in_prefix(source, 0xc0000200, 24) ||
		       in_prefix(source, 0xc0a80000, 16);
	case 198:
		return in_prefix(source, 0xc6120000, 15) || in_prefix(source, 0xc6336400, 24);
	case 203:
		return in_prefix(source, 0xcb007100, 24);
	}
	return source >> 24 >= 224;
}

/*
 * RFC 4291, RFC 9637 and the IANA IPv6 registries: what lies outside of 2000::/3, and prefixes for documentation in it.
 * Link-local addresses (RFC 4291 §2.5.6) and those of NAT64 (RFC 6052) are none.
 */
static __always_inline int is_bogon6(const __be32 *source)
{
	const __u32 first = bpf_ntohl(source[0]);

	if (first == 0x20010db8 || in_prefix(first, 0x3fff0000, 20))
		return 1;
	if (in_prefix(first, 0x20000000, 3) || in_prefix(first, 0xfe800000, 10))
		return 0;
	return !(first == 0x0064ff9b && !source[1] && !source[2]);
}

/* The first octets 0, 127, and 224 to 239, and 255.255.255.255. */
static __always_inline int is_martian4(__u32 source)
{
	return source >> 24 == 0 || source >> 24 == 127 || source >> 28 == 0xe || source == 0xffffffff;
}

/* ff00::/8, and the first 80 bits zero: ::, ::1, and IPv4 as it is written inside of IPv6 (RFC 4291 §2.5). */
static __always_inline int is_martian6(const __be32 *source)
{
	const __u32 third = bpf_ntohl(source[2]);

	return bpf_ntohl(source[0]) >> 24 == 0xff || (!(source[0] | source[1]) && (third == 0 || third == 0xffff));
}

/* A host without an address asks for one (RFC 2131 §4.1), and a server of private address may answer (§4.3). */
static __always_inline int may_lack_address4(__u32 source, __u32 kind, __u32 head)
{
	if ((__u16)kind != IPPROTO_UDP || (__u8)(kind >> 16) != TRANSPORT_PORTS)
		return 0;
	return (!source && head == PORTS(DHCP4_CLIENT, DHCP4_SERVER)) || head == PORTS(DHCP4_SERVER, DHCP4_CLIENT);
}

/* RFC 4861 §4.1, §4.3 and RFC 3810 §5.2.13: from the unspecified address. */
static __always_inline int may_lack_address6(const __be32 *source, __u32 kind, __u32 head)
{
	const __u8 type = head >> 24;

	if (source[0] | source[1] | source[2] | source[3] || (__u8)(kind >> 16) != TRANSPORT_ICMP)
		return 0;
	return type == ROUTER_SOLICITATION || type == NEIGHBOR_SOLICITATION || type == MLD2_REPORT ||
	       (type > MLD_FIRST && type <= MLD_LAST);
}

static __always_inline int is_mld(__u32 kind, __u32 head)
{
	const __u8 type = head >> 24;

	return (__u8)(kind >> 16) == TRANSPORT_ICMP && ((type >= MLD_FIRST && type <= MLD_LAST) || type == MLD2_REPORT);
}

/* Anomalies of an IPv4 header. */
static __always_inline __u32 suspect_ipv4(struct xdp_md *ctx, struct suspect *suspect)
{
	const struct iphdr *ip = bytes_at(ctx, suspect->network, suspect->copy, sizeof(*ip));
	__u32 found, source;

	if (!ip)
		return 0;
	source = bpf_ntohl(ip->saddr);
	suspect->total = bpf_ntohs(ip->tot_len);
	if (!suspect->total)
		suspect->total = suspect->bytes - suspect->network;
	found = FOUND(IP_OPTIONS, ip->ihl > 5 && ip->protocol != IPPROTO_IGMP);
	if (!suspect->has_sources)
		return found;
	if (!may_lack_address4(source, suspect->kind, suspect->head))
		found |= FOUND(MARTIANS, is_martian4(source)) | FOUND(BOGONS, is_bogon4(source));
	return found | FOUND(LAND, ip->saddr == ip->daddr);
}

static __always_inline __u32 suspect_ipv6(struct xdp_md *ctx, struct suspect *suspect)
{
	const struct ipv6hdr *ip = bytes_at(ctx, suspect->network, suspect->copy, sizeof(*ip));
	const __be32 *source, *destination;
	const __u8 *routing;
	__u32 found = 0;
	__u8 next;

	if (!ip)
		return 0;
	source = ip->saddr.in6_u.u6_addr32;
	destination = ip->daddr.in6_u.u6_addr32;
	next = ip->nexthdr;
	suspect->total = bpf_ntohs(ip->payload_len) + sizeof(*ip);
	/* RFC 2675: a jumbogram has its length elsewhere. As read_ipv6, which reads no padding behind a datagram without payload. */
	if (!ip->payload_len && (next == IPPROTO_HOPOPTS || suspect->bytes - suspect->network > IP_LENGTH_LIMIT))
		suspect->total = suspect->bytes - suspect->network;
	if (suspect->has_sources) {
		if (!may_lack_address6(source, suspect->kind, suspect->head))
			found |= FOUND(MARTIANS, is_martian6(source)) | FOUND(BOGONS, is_bogon6(source));
		found |= FOUND(LAND, source[0] == destination[0] && source[1] == destination[1] &&
					     source[2] == destination[2] && source[3] == destination[3]);
	}
	found |= FOUND(IP_OPTIONS, next == IPPROTO_HOPOPTS && !is_mld(suspect->kind, suspect->head));
	if (next != IPPROTO_ROUTING)
		return found;
	routing = bytes_at(ctx, suspect->network + sizeof(*ip), suspect->copy, 8);
	return found | FOUND(IP_OPTIONS, routing && !routing[ROUTING_TYPE]);
}

/* Of `left` bytes of the datagram that begin with a TCP header. */
static __always_inline __u32 suspect_tcp(struct xdp_md *ctx, struct suspect *suspect, __u32 left)
{
	const __u8 *tcp = left < TCP_HEADER ? 0 : bytes_at(ctx, suspect->behind, suspect->copy, TCP_HEADER);
	__u32 found, header;
	__u8 flags;

	if (!tcp)
		return 0;
	header = (tcp[TCP_OFFSET] >> 4) * 4;
	flags = tcp[13] & KNOWN_FLAGS;
	found = FOUND(BAD_LENGTH, header < TCP_HEADER || (header > left && !suspect->fragment)) |
		FOUND(TINY_FRAGMENTS, header > left && suspect->fragment);
	return found | FOUND(TCP_NULL, !flags) |
	       FOUND(TCP_XMAS, (flags & (FLAG_FIN | FLAG_PSH | FLAG_URG | FLAG_ACK)) == (FLAG_FIN | FLAG_PSH | FLAG_URG)) |
	       FOUND(TCP_SYN_FIN, (flags & (FLAG_SYN | FLAG_FIN)) == (FLAG_SYN | FLAG_FIN)) |
	       FOUND(TCP_SYN_RST, (flags & (FLAG_SYN | FLAG_RST)) == (FLAG_SYN | FLAG_RST));
}

/* RFC 768; RFC 9868 has options behind the length, so a datagram may be longer. */
static __always_inline __u32 suspect_udp(struct xdp_md *ctx, struct suspect *suspect, __u32 left)
{
	const __be16 *udp = left < TRANSPORT_HEADER ? 0 : bytes_at(ctx, suspect->behind, suspect->copy, TRANSPORT_HEADER);
	__u32 length = udp ? bpf_ntohs(udp[2]) : 0;

	/* RFC 2675 §4: 0 where the length does not fit. */
	if (!udp || (!length && left > IP_LENGTH_LIMIT))
		return 0;
	return FOUND(BAD_LENGTH, length < TRANSPORT_HEADER || (length > left && !suspect->fragment));
}

/*
 * Anomalies of the transport header. RFC 1858 §3 and RFC 7112 §5: a first fragment has all of it; RFC 3128 §2: the second
 * one of TCP begins behind the flags.
 */
static __always_inline __u32 suspect_transport(struct xdp_md *ctx, struct suspect *suspect)
{
	const __u32 end = suspect->network + suspect->total, protocol = (__u16)suspect->kind;
	const __u32 left = end > suspect->behind ? end - suspect->behind : 0;
	const __u32 icmp = suspect->kind >> 24 & 1 ? IPPROTO_ICMPV6 : IPPROTO_ICMP;
	__u32 least;

	if (suspect->fragment & FRAGMENT_OFFSET)
		return FOUND(TINY_FRAGMENTS, (suspect->fragment & FRAGMENT_OFFSET) == 1 && protocol == IPPROTO_TCP);
	if (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP && protocol != icmp)
		return 0;
	least = protocol == IPPROTO_TCP ? TCP_HEADER : TRANSPORT_HEADER;
	if (left < least)
		return suspect->fragment ? FOUND(TINY_FRAGMENTS, 1) : FOUND(BAD_LENGTH, 1);
	if (protocol == icmp)
		return 0;
	return protocol == IPPROTO_TCP ? suspect_tcp(ctx, suspect, left) : suspect_udp(ctx, suspect, left);
}

/* Bits of the anomalies of a packet. A global function for the verifier's sake, as judge_class. */
static __always_inline __u32 find_anomalies(struct xdp_md *ctx)
{
	struct scratch *scratch = open_scratch();
	struct suspect *suspect;
	__u32 found;

	if (!scratch)
		return 0;
	suspect = &scratch->suspect;
	found = suspect->kind >> 24 & 1 ? suspect_ipv6(ctx, suspect) : suspect_ipv4(ctx, suspect);
	if (suspect->total > suspect->bytes - suspect->network)
		found |= FOUND(BAD_LENGTH, 1);
	found |= suspect_transport(ctx, suspect);
	/* The ports of a later fragment are not known: its addresses say enough. */
	if ((__u8)(suspect->kind >> 16) == TRANSPORT_PORTS && suspect->head >> 16 != (__u16)suspect->head)
		found &= ~FOUND(LAND, 1);
	return found;
}

static __always_inline void count_anomaly(__u32 slot, __u32 bytes, __u32 is_dropped)
{
	struct anomaly_counter *counter = bpf_map_lookup_elem(&anomaly_stats, &slot);

	if (!counter)
		return;
	counter->packets++;
	counter->bytes += bytes;
	if (!is_dropped)
		return;
	counter->dropped_packets++;
	counter->dropped_bytes += bytes;
}

/* Whether an anomaly is looked for on the receiving interface: see on_interface. */
static __always_inline int is_sought(const struct receiving *receiving, const struct settings *settings, __u32 slot,
				     __u32 anomaly)
{
	const struct scoped_interface *interface;
	const __u8 set = receiving->anomalies.interfaces[anomaly];

	if (set == ANOMALY_EVERYWHERE || !slot)
		return 1;
	interface = (const void *)policy_line(settings->interfaces + slot);
	return !interface || interface->sets >> set % INTERFACE_SETS & 1;
}

/* A walk along the anomalies of a packet, on the stack as the kernel demands. */
struct anomaly_walk {
	__u32 found;		/* bits of anomalies */
	__u32 slot;		/* of the receiving interface */
	__u32 bytes;		/* of the frame */
	__u32 is_live;		/* 0: nothing is counted */
	__u32 dropped;		/* number + 1 of the anomaly that drops the packet */
};

static long judge_anomaly(__u32 index, struct anomaly_walk *walk)
{
	const struct settings *settings = lookup_line(SETTINGS_LINE);
	const struct receiving *receiving = settings ? (const void *)policy_line(settings->interfaces) : 0;
	const __u32 number = index % ANOMALY_SLOTS;
	__u32 is_dropped;

	if (!receiving)
		return 1;
	if (!(walk->found >> number & 1) || !is_sought(receiving, settings, walk->slot, number))
		return 0;
	is_dropped = receiving->anomalies.drop >> number & 1;
	if (walk->is_live)
		count_anomaly(number, walk->bytes, is_dropped);
	if (is_dropped)
		walk->dropped = number + 1;
	return is_dropped ? 1 : 0;
}

/*
 * Counts the anomalies of a packet that the policy names. Returns the number + 1 of the first that drops it; 0: none.
 * `who`: who_of; `offsets`: of the IP header, and of the transport header << 16. A global
 * function for the verifier's sake, as judge_class.
 */
__noinline __u32 judge_anomalies(struct xdp_md *ctx, __u64 who, __u32 offsets, __u32 head, __u64 kind)
{
	const struct account account = { .origin = who, .bytes = who >> 32 };
	const struct settings *settings = lookup_line(SETTINGS_LINE);
	const struct receiving *receiving = settings ? (const void *)policy_line(settings->interfaces) : 0;
	const __u32 slot = slot_of(&account) % INTERFACE_SLOTS;
	struct scratch *scratch = open_scratch();
	struct anomaly_walk walk;

	if (!receiving || !scratch)
		return 0;
	scratch->suspect.network = (__u16)offsets;
	scratch->suspect.behind = offsets >> 16;
	scratch->suspect.head = head;
	scratch->suspect.kind = kind;
	scratch->suspect.fragment = kind >> 32;
	scratch->suspect.has_sources = !slot || arrival_of(ctx, &account) != TEST_IFINDEX;
	scratch->suspect.bytes = account.bytes;
	walk.found = find_anomalies(ctx) & (receiving->anomalies.drop | receiving->anomalies.observe);
	if (!walk.found)
		return 0;
	walk.slot = slot;
	walk.bytes = account.bytes;
	walk.is_live = is_live(&account);
	walk.dropped = 0;
	bpf_loop(ANOMALIES, judge_anomaly, &walk, 0);
	return walk.dropped;
}

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The groups of packets that default drop passes (policy.essential). */
#pragma once

#include "abi.h"
#include "icmp.h"
#include "parse.h"

/* RFC 4861: router solicitation to redirect. Without them, IPv6 does not work at all. */
#define ND_FIRST 133
#define ND_LAST 137
/* RFC 2710: query, report and done; RFC 3810: report of version 2. */
#define MLD_FIRST 130
#define MLD_LAST 132
#define MLD2_REPORT 143
/* RFC 2131, RFC 8415 */
#define DHCP4_SERVER 67
#define DHCP4_CLIENT 68
#define DHCP6_CLIENT 546
#define DHCP6_SERVER 547
/* Source and destination port as in packet->head. */
#define PORTS(source, destination) ((__u32)(source) << 16 | (destination))


/* enum essential bit of an ICMP message, or 0. */
static __always_inline __u32 essential_icmp(const struct packet *packet)
{
	__u8 type = icmp_type(packet);

	if (!is_ipv6(packet))
		return is_error4(type) ? ESSENTIAL_ICMP_ERRORS : 0;
	if (type >= ND_FIRST && type <= ND_LAST)
		return ESSENTIAL_NEIGHBOR_DISCOVERY;
	if ((type >= MLD_FIRST && type <= MLD_LAST) || type == MLD2_REPORT)
		return ESSENTIAL_MLD;
	return is_error6(type) ? ESSENTIAL_ICMP_ERRORS : 0;
}

/* enum essential bit of a UDP packet, or 0. RFC 2131 §4.1: relay agents use the server's port on both sides. */
static __always_inline __u32 essential_udp(const struct packet *packet)
{
	if (is_ipv6(packet)) {
		if (packet->head == PORTS(DHCP6_SERVER, DHCP6_CLIENT))
			return ESSENTIAL_DHCP_CLIENT;
		return packet->head == PORTS(DHCP6_CLIENT, DHCP6_SERVER) ||
				       packet->head == PORTS(DHCP6_SERVER, DHCP6_SERVER) ?
			       ESSENTIAL_DHCP_SERVER :
			       0;
	}
	if (packet->head == PORTS(DHCP4_SERVER, DHCP4_CLIENT))
		return ESSENTIAL_DHCP_CLIENT;
	return packet->head == PORTS(DHCP4_CLIENT, DHCP4_SERVER) || packet->head == PORTS(DHCP4_SERVER, DHCP4_SERVER) ?
		       ESSENTIAL_DHCP_SERVER :
		       0;
}

/* enum essential bit of the packet's group, or 0: packets without which not even allowed sources could reach the host. */
static __always_inline __u32 essential_group(const struct packet *packet)
{
	if (is_loopback(packet))
		return ESSENTIAL_LOOPBACK;
	if (packet->transport == TRANSPORT_ICMP)
		return essential_icmp(packet);
	return packet->transport == TRANSPORT_PORTS && packet->protocol == IPPROTO_UDP ? essential_udp(packet) : 0;
}

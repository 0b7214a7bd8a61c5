/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * spoof ADDRESS PORT COUNT RATE [FLAGS…]: sends so many TCP packets from addresses of 11.0.0.0/8 or 2001:db8:f::/48 that are
 * not its own, so many a second, with each of the flags (0x10: ACK) in turns; without any, SYNs. Prints "ready" before the
 * first one.
 */
#include <arpa/inet.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct pseudo {
	uint8_t source[16];
	uint8_t destination[16];
	uint32_t length;
	uint32_t protocol;
};

struct packet {
	union {
		struct iphdr v4;
		struct ip6_hdr v6;
	} ip;
	struct tcphdr tcp;
};

/* RFC 1071, of `size` bytes, an even number. */
static uint32_t sum(const void *bytes, int size)
{
	uint32_t total = 0;

	for (const uint16_t *word = bytes; size > 0; size -= 2)
		total += *word++;
	return total;
}

/* The pseudo header of IPv6 with zeros in front of IPv4 addresses has the sum of that of IPv4. */
static uint16_t checksum(const struct pseudo *pseudo, const struct tcphdr *tcp)
{
	uint32_t total = sum(pseudo, sizeof(*pseudo)) + sum(tcp, sizeof(*tcp));

	while (total >> 16)
		total = (total & 0xffff) + (total >> 16);
	return ~total;
}

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

/* Writes the headers of a packet from a random address; returns the start of the packet in `packet`. */
static void *write_packet(struct packet *packet, struct pseudo *pseudo, int is_ipv6)
{
	struct tcphdr *tcp = &packet->tcp;
	void *start = (char *)tcp - (is_ipv6 ? sizeof(struct ip6_hdr) : sizeof(struct iphdr));
	const uint32_t host = random();

	pseudo->length = htonl(sizeof(*tcp));
	pseudo->protocol = htonl(IPPROTO_TCP);
	if (is_ipv6) {
		struct ip6_hdr *ip = start;
		const uint8_t network[16] = { 0x20, 1, 0xd, 0xb8, 0, 0xf };

		memcpy(pseudo->source, network, 16);
		memcpy(pseudo->source + 12, &host, 4);
		*ip = (struct ip6_hdr){};
		ip->ip6_flow = htonl(6u << 28);
		ip->ip6_plen = htons(sizeof(*tcp));
		ip->ip6_nxt = IPPROTO_TCP;
		ip->ip6_hlim = 64;
		memcpy(&ip->ip6_src, pseudo->source, 16);
		memcpy(&ip->ip6_dst, pseudo->destination, 16);
	} else {
		struct iphdr *ip = start;
		const uint32_t source = htonl(11u << 24 | (host & 0xffffff));

		memcpy(pseudo->source + 12, &source, 4);
		*ip = (struct iphdr){ .version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_TCP };
		ip->tot_len = htons(sizeof(*ip) + sizeof(*tcp));
		ip->saddr = source;
		memcpy(&ip->daddr, pseudo->destination + 12, 4);
	}
	return start;
}

int main(int argc, char **argv)
{
	const struct timespec pause = { .tv_nsec = 1000000 };
	struct sockaddr_in to4 = { .sin_family = AF_INET };
	struct sockaddr_in6 to6 = { .sin6_family = AF_INET6 };
	const int is_ipv6 = argc > 1 && strchr(argv[1], ':');
	int fd = socket(is_ipv6 ? AF_INET6 : AF_INET, SOCK_RAW, IPPROTO_RAW), count, rate;
	const struct sockaddr *to = is_ipv6 ? (void *)&to6 : (void *)&to4;
	const socklen_t size = is_ipv6 ? sizeof(to6) : sizeof(to4);
	struct pseudo pseudo = {};
	struct packet packet = {};
	double start;

	if (argc < 5 || fd < 0 ||
	    inet_pton(is_ipv6 ? AF_INET6 : AF_INET, argv[1], is_ipv6 ? (void *)&to6.sin6_addr : &to4.sin_addr) != 1)
		return 1;
	memcpy(pseudo.destination + (is_ipv6 ? 0 : 12), is_ipv6 ? (void *)&to6.sin6_addr : &to4.sin_addr, is_ipv6 ? 16 : 4);
	count = atoi(argv[3]);
	rate = atoi(argv[4]);
	puts("ready");
	fflush(stdout);
	srandom(getpid());
	start = now();
	for (int sent = 0; sent < count;) {
		const void *bytes;

		if (sent > (now() - start) * rate) {
			nanosleep(&pause, 0);
			continue;
		}
		bytes = write_packet(&packet, &pseudo, is_ipv6);
		packet.tcp = (struct tcphdr){ .doff = 5 };
		packet.tcp.dest = htons(atoi(argv[2]));
		packet.tcp.window = htons(65535);
		packet.tcp.source = htons(1024 + random() % 60000);
		packet.tcp.seq = random();
		((uint8_t *)&packet.tcp)[13] = argc > 5 ? strtol(argv[5 + sent % (argc - 5)], 0, 16) : TH_SYN;
		if (((uint8_t *)&packet.tcp)[13] & TH_ACK)
			packet.tcp.ack_seq = random();
		packet.tcp.check = checksum(&pseudo, &packet.tcp);
		if (sendto(fd, bytes, (char *)(&packet + 1) - (char *)bytes, 0, to, size) > 0)
			sent++;
	}
	return 0;
}

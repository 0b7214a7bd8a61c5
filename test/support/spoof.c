/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * spoof ADDRESS PORT COUNT RATE: sends so many TCP SYNs from addresses of 11.0.0.0/8 that are not its own, so many a
 * second. Prints "ready" before the first one.
 */
#include <arpa/inet.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

struct segment {
	struct iphdr ip;
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

static uint16_t checksum(const struct segment *segment)
{
	uint32_t total = sum(&segment->ip.saddr, 8) + sum(&segment->tcp, sizeof(segment->tcp)) + htons(IPPROTO_TCP) +
			 htons(sizeof(segment->tcp));

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

int main(int argc, char **argv)
{
	const struct timespec pause = { .tv_nsec = 1000000 };
	struct sockaddr_in to = { .sin_family = AF_INET };
	struct segment segment = {};
	int fd = socket(AF_INET, SOCK_RAW, IPPROTO_RAW), count, rate;
	double start;

	if (argc != 5 || fd < 0 || inet_pton(AF_INET, argv[1], &to.sin_addr) != 1)
		return 1;
	count = atoi(argv[3]);
	rate = atoi(argv[4]);
	segment.ip.version = 4;
	segment.ip.ihl = 5;
	segment.ip.ttl = 64;
	segment.ip.protocol = IPPROTO_TCP;
	segment.ip.tot_len = htons(sizeof(segment));
	segment.ip.daddr = to.sin_addr.s_addr;
	segment.tcp.dest = htons(atoi(argv[2]));
	segment.tcp.doff = 5;
	segment.tcp.syn = 1;
	segment.tcp.window = htons(65535);
	puts("ready");
	fflush(stdout);
	start = now();
	for (int sent = 0; sent < count;) {
		if (sent > (now() - start) * rate) {
			nanosleep(&pause, 0);
			continue;
		}
		segment.ip.saddr = htonl(11u << 24 | (random() & 0xffffff));
		segment.tcp.source = htons(1024 + random() % 60000);
		segment.tcp.seq = random();
		segment.tcp.check = 0;
		segment.tcp.check = checksum(&segment);
		if (sendto(fd, &segment, sizeof(segment), 0, (struct sockaddr *)&to, sizeof(to)) == sizeof(segment))
			sent++;
	}
	return 0;
}

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Only for benchmarks: runs a pinned XDP program on live frames (UDP datagrams, of 64 bytes by default) for some time. bpftool has no
 * option for that, and a sender with a socket would measure how veth copies socket buffers for XDP.
 *
 * generator PINNED-PROGRAM MILLISECONDS DESTINATION-MAC DESTINATION-ADDRESS [SIZE]
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/udp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#define FRAME_SIZE 64
#define MOST_SIZE 1500
#define DISCARD_PORT 9

static volatile sig_atomic_t over;

static void stop(int signal)
{
	over = 1;
}

static long bpf(int command, union bpf_attr *attr)
{
	return syscall(SYS_bpf, command, attr, sizeof(*attr));
}

static unsigned short checksum(const void *header, int words)
{
	const unsigned short *word = header;
	unsigned int sum = 0;

	while (words--)
		sum += *word++;
	sum = (sum & 0xffff) + (sum >> 16);
	return ~(sum + (sum >> 16));
}

static int make_frame(unsigned char *frame, int size, const char *mac, const char *address)
{
	struct ethhdr *eth = (void *)frame;
	struct iphdr *ip = (void *)(eth + 1);
	struct udphdr *udp = (void *)(ip + 1);
	unsigned char *to = eth->h_dest;

	eth->h_source[0] = 2;
	eth->h_proto = htons(ETH_P_IP);
	ip->version = 4;
	ip->ihl = 5;
	ip->tot_len = htons(size - sizeof(*eth));
	ip->ttl = 64;
	ip->protocol = IPPROTO_UDP;
	udp->source = udp->dest = htons(DISCARD_PORT);
	udp->len = htons(size - sizeof(*eth) - sizeof(*ip));
	if (inet_pton(AF_INET, address, &ip->daddr) != 1 ||
	    sscanf(mac, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", to, to + 1, to + 2, to + 3, to + 4, to + 5) != 6)
		return -1;
	ip->check = checksum(ip, sizeof(*ip) / 2);
	return 0;
}

int main(int argc, char **argv)
{
	unsigned char frame[MOST_SIZE] = {};
	union bpf_attr attr = {};
	struct itimerval timer = {};
	struct sigaction action = { .sa_handler = stop };
	long program, milliseconds, size = argc > 5 ? atol(argv[5]) : FRAME_SIZE;

	if (argc < 5 || size < FRAME_SIZE || size > MOST_SIZE || make_frame(frame, size, argv[3], argv[4])) {
		fprintf(stderr, "usage: %s PROGRAM MILLISECONDS MAC ADDRESS [SIZE]\n", argv[0]);
		return 64;
	}
	attr.pathname = (unsigned long)argv[1];
	program = bpf(BPF_OBJ_GET, &attr);
	if (program < 0) {
		perror(argv[1]);
		return 1;
	}
	milliseconds = atol(argv[2]);
	timer.it_value.tv_sec = milliseconds / 1000;
	timer.it_value.tv_usec = milliseconds % 1000 * 1000;
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &timer, NULL);
	while (!over) {
		memset(&attr, 0, sizeof(attr));
		attr.test.prog_fd = program;
		attr.test.data_in = (unsigned long)frame;
		attr.test.data_size_in = size;
		/* As many as the time permits: starting a run costs more than thousands of frames. */
		attr.test.repeat = 2000000000;
		attr.test.flags = BPF_F_TEST_XDP_LIVE_FRAMES;
		attr.test.batch_size = 64;
		if (bpf(BPF_PROG_TEST_RUN, &attr) && errno != EINTR) {
			perror("BPF_PROG_TEST_RUN");
			return 1;
		}
	}
	return 0;
}

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * flow RECEIVER SENDER TARGET SOURCE…: sends a datagram from each source to the target every two milliseconds, from one
 * network namespace to another (paths in /run/netns). Each round is a number with a bit for each source whose datagram
 * arrived. For each line on its input prints the rounds since the last one, once they are complete: ROUND:COUNT for equal
 * ones in a row, `x` for a round that could not be sent.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PORT 9
#define PAUSE_NS 2000000
/* Rounds after which a datagram that has not arrived is lost. */
#define PATIENCE 50
#define MOST (1 << 22)
#define UNSENT 0x80

static uint8_t rounds[MOST];

static void enter(const char *path)
{
	int fd = open(path, O_RDONLY);

	if (fd < 0 || setns(fd, CLONE_NEWNET) != 0) {
		perror(path);
		exit(1);
	}
	close(fd);
}

static int open_socket(const char *address, int port)
{
	struct sockaddr_in own = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0), size = 1 << 22;

	inet_pton(AF_INET, address, &own.sin_addr);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	if (bind(fd, (struct sockaddr *)&own, sizeof(own)) != 0) {
		perror(address);
		exit(1);
	}
	return fd;
}

static void collect(int receiver)
{
	uint32_t datagram[2];

	while (recv(receiver, datagram, sizeof(datagram), 0) == sizeof(datagram))
		rounds[datagram[0]] |= 1 << datagram[1];
}

static void print_round(uint8_t round, unsigned int count)
{
	if (round & UNSENT)
		printf("x:%u ", count);
	else
		printf("%u:%u ", round, count);
}

static void report(uint32_t from, uint32_t to)
{
	unsigned int count = 0;

	for (uint32_t at = from; at < to; at++) {
		if (at > from && rounds[at] != rounds[at - 1]) {
			print_round(rounds[at - 1], count);
			count = 0;
		}
		count++;
	}
	if (to > from)
		print_round(rounds[to - 1], count);
	printf("\n");
	fflush(stdout);
}

int main(int argc, char **argv)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(PORT) };
	struct pollfd input = { .fd = 0, .events = POLLIN };
	struct timespec pause = { .tv_nsec = PAUSE_NS };
	uint32_t reported = 0, wanted = 0;
	int receiver, senders[8], count = argc - 4;
	char line[64];

	if (count < 1 || count > 7)
		return 1;
	enter(argv[1]);
	receiver = open_socket("0.0.0.0", PORT);
	enter(argv[2]);
	inet_pton(AF_INET, argv[3], &to.sin_addr);
	for (int i = 0; i < count; i++)
		senders[i] = open_socket(argv[4 + i], 0);
	printf("ready\n");
	fflush(stdout);
	for (uint32_t now = 0; now < MOST; now++) {
		for (int i = 0; i < count; i++) {
			uint32_t datagram[2] = { now, i };

			if (sendto(senders[i], datagram, sizeof(datagram), 0, (struct sockaddr *)&to, sizeof(to)) < 0)
				rounds[now] |= UNSENT;
		}
		nanosleep(&pause, NULL);
		collect(receiver);
		if (!wanted && poll(&input, 1, 0) > 0) {
			if (read(0, line, sizeof(line)) <= 0)
				return 0;
			wanted = now + 1;
		}
		if (wanted && now >= wanted + PATIENCE) {
			report(reported, wanted);
			reported = wanted;
			wanted = 0;
		}
	}
	return 1;
}

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * reuse PORT: two processes that listen on one port of any address (SO_REUSEPORT), of both families, and echo one message on
 * each connection. Prints "ready" once both listen; ends with its standard input.
 */
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

static int listener(int port)
{
	const struct sockaddr_in6 any = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	const int one = 1;
	int fd = socket(AF_INET6, SOCK_STREAM, 0);

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) ||
	    bind(fd, (const struct sockaddr *)&any, sizeof(any)) || listen(fd, 64))
		exit(1);
	return fd;
}

static void serve(int fd)
{
	char bytes[64];

	for (;;) {
		int client = accept(fd, 0, 0);
		int size = read(client, bytes, sizeof(bytes));

		if (size > 0 && write(client, bytes, size) == size)
			shutdown(client, SHUT_WR);
		while (read(client, bytes, sizeof(bytes)) > 0)
			;
		close(client);
	}
}

int main(int argc, char **argv)
{
	char byte;

	for (int i = 0; argc == 2 && i < 2; i++) {
		int fd = listener(atoi(argv[1]));

		if (fork() == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			serve(fd);
		}
	}
	puts("ready");
	fflush(stdout);
	return read(0, &byte, 1) > 0;
}

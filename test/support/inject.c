/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* inject INTERFACE: sends each line of hex digits on its input as an Ethernet frame. */
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

int main(int argc, char **argv)
{
	static char line[8192];
	static unsigned char frame[4096];
	struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_halen = 6 };
	int fd = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL));

	if (argc != 2 || fd < 0)
		return 1;
	to.sll_ifindex = if_nametoindex(argv[1]);
	while (fgets(line, sizeof(line), stdin)) {
		size_t size = 0;

		while (sscanf(line + size * 2, "%2hhx", &frame[size]) == 1)
			size++;
		if (sendto(fd, frame, size, 0, (struct sockaddr *)&to, sizeof(to)) != (ssize_t)size)
			return 1;
	}
	return 0;
}

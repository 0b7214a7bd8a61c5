/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * advertise INTERFACE LIFETIME: a router that sends an advertisement (RFC 4861 §4.2) with that lifetime in seconds four
 * times a second, and prints a line for each, until it is killed.
 */
#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/icmp6.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct sockaddr_in6 to = { .sin6_family = AF_INET6 };
	struct nd_router_advert advert = { .nd_ra_type = ND_ROUTER_ADVERT };
	int hops = 255, fd = socket(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6);
	int interface;

	if (argc != 3 || fd < 0)
		return 1;
	interface = if_nametoindex(argv[1]);
	advert.nd_ra_router_lifetime = htons(atoi(argv[2]));
	inet_pton(AF_INET6, "ff02::1", &to.sin6_addr);
	to.sin6_scope_id = interface;
	if (setsockopt(fd, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, &hops, sizeof(hops)) ||
	    setsockopt(fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, &interface, sizeof(interface)))
		return 1;
	for (;;) {
		if (sendto(fd, &advert, sizeof(advert), 0, (struct sockaddr *)&to, sizeof(to)) == sizeof(advert))
			puts("sent");
		fflush(stdout);
		usleep(250000);
	}
}

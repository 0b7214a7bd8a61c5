/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The shared bytes of the balancer, as abi.h has those of the filter. Services, backends and rings lie in the policy of
 * a generation; health, counters, flows and ports of full NAT lie in separate maps, which outlive generations.
 *
 * A packet finds its service by destination: address → endpoint → (protocol, port) → service → ring → backend.
 * Addresses are 16 bytes as on the wire, IPv4 as ::ffff:a.b.c.d (RFC 4291 §2.5.5.2). Line numbers count from the start
 * of the policy map.
 */
#pragma once

#include <linux/types.h>

/* Maximum number of services and backends per instance; their slots index counters and health. */
#define SERVICE_SLOTS 1024
#define BACKEND_SLOTS 65536
/* Stands for "none" in a field that holds a slot. */
#define NO_SLOT 0xffff

enum balance_flag {
	BALANCE_ENDPOINTS = 1,	/* there are services */
	BALANCE_REPLIES = 2,	/* some endpoint is the source of replies to translate: its `source` is set */
	BALANCE_POOLS = 4,	/* some endpoint is an address of a source pool of full NAT */
};

/* Line 9: positions of the balancer's tables. All zero: no services. */
struct balance {
	__u64 multiplier;	/* odd; see cellOf in src/tables/services/endpoints.ts */
	__u32 flags;		/* enum balance_flag */
	__u32 index;		/* first line; struct endpoint_cells: the first endpoint of each cell of the hash */
	__u32 cells;		/* their number */
	__u32 endpoints;	/* first line; endpoint n (from 1) is at line n - 1 from here */
	__u32 ports;		/* first line; run trees over (protocol << 16 | port); tree lines count from here */
	__u32 services;		/* first line; one struct service per line, by service slot */
	__u32 service_lines;	/* highest service slot in use + 1 */
	__u32 backends;		/* first line; one struct backend per line, by backend slot */
	__u32 backend_lines;	/* highest backend slot in use + 1 */
	__u32 flow_mask;	/* number of lines of `flows` - 1: a power of two minus one */
	__u32 flow_limit;	/* limit of new `flows` entries per CPU and tick */
	__u32 pools;		/* first line; one struct pool per line, by pool slot, then struct pool_list */
	__u32 pool_lines;	/* highest pool slot in use + 1; each has two blocks of SNAT_PORTS `snat_ports` lines */
	__u32 rings;		/* first line; see struct service */
};

/* First line of section SETTINGS: the key of the hash by which flows choose backends. The directory says whether it is there. */
struct hash_key {
	__u64 word[2];		/* the key of SipHash, as two little-endian numbers */
	__u64 pad[6];
};

/* Line 10: for each interface slot, the jobs of the program on packets received there. */
enum role {
	ROLE_FILTER = 1,
	ROLE_BALANCE = 2,
};

struct roles {
	__u8 lacks[64];		/* enum role bits of missing roles; zero, as in slot 0 of test runs, means every role */
};

/* In `fragments_tcp` and `fragments_udp`: no service of the VIP takes later fragments, which carry no ports. */
#define FRAGMENTS_DROP 0xffff

/* Endpoint numbers by the hash of the address; 0 = no endpoint has this one. */
#define ENDPOINT_CELLS 32
struct endpoint_cells {
	__u16 first[ENDPOINT_CELLS];
};

/* Maximum number of endpoints whose hash is the same. */
#define ENDPOINT_CHAIN 4

/* Ports of an endpoint that are found without a tree. */
#define EXACT_PORTS 4

/* An address that the balancer knows. Tree values are a slot + 1; 0 = not ours. */
struct endpoint {
	__u64 high;		/* the address as two numbers in host order, most significant half first */
	__u64 low;
	__u32 destination;	/* for packets to it: value as in run trees: class (service slot + 1) or VALUE_TREE | line */
	__u32 source;		/* for packets from it: backend slot + 1 instead, of a NAT service without snat */
	__u16 pool;		/* pool slot + 1 if it is an address of a source pool */
	__u16 fragments_tcp;	/* service slot + 1 that takes later fragments, FRAGMENTS_DROP, or 0: no TCP service */
	__u16 fragments_udp;
	__u16 next;		/* number of the next endpoint of the cell, 0 = none */
	__u32 exact_key[EXACT_PORTS];	/* protocol << 16 | port, of services on single ports: they are in the tree, too */
	__u16 exact[EXACT_PORTS];	/* their class; 0 = free */
	__u8 pad[8];
};

enum forwarding {
	FORWARDING_NAT = 1,	/* destination address and port rewritten, and MACs */
	FORWARDING_DSR = 2,	/* MACs rewritten: the VIP is configured on the backend */
	FORWARDING_IPIP = 3,	/* RFC 2003, RFC 2473 */
	FORWARDING_GUE = 4,	/* UDP header directly followed by the IP packet: variant 1 of draft-ietf-intarea-gue */
};

enum service_flag {
	SERVICE_SOURCE_HASH = 1,	/* hash: source */
	SERVICE_RANDOM = 2,		/* scheduler: random */
	SERVICE_EMPTY_PASS = 4,		/* on_empty: pass */
	SERVICE_SNAT = 8,		/* full NAT */
	SERVICE_ANY_PORT = 16,		/* port: any; then fragments can be forwarded if the service hashes by source */
	SERVICE_UDP = 32,		/* protocol: udp, else tcp */
	SERVICE_SORRY = 64,		/* `sorry` is a backend slot */
	SERVICE_DRAIN_TIMEOUT = 128,	/* the file sets drain_timeout; else the default applies */
};

/* Further flags of a service. */
enum service_option {
	SERVICE_REJECT = 1,		/* on_empty: reject */
	SERVICE_BOTH = 2,		/* protocol: tcp and udp */
	SERVICE_REPLIES_ANYWHERE = 4,	/* replies_from: anywhere */
};

/* Maximum number of backups of a service, and the slots of their table, which is of one size. */
#define BACKUPS_A_SERVICE 655
#define BACKUP_RING_SIZE 65537

/* Line of a service slot. All zero: the slot is free. */
struct service {
	__u8 vip[16];
	__u32 ring;		/* first line in `rings`: 32 backend slots per line, then each backend once; the next line
				 * begins the table of the backups in the same form, if there are any */
	__u32 ring_size;	/* slots, a prime; 0 = no backend takes new flows */
	__u16 takers;		/* backends in the ring */
	__u16 first_port;	/* the lowest port */
	__u16 last_port;	/* the highest port */
	__u8 forwarding;	/* enum forwarding */
	__u8 flags;		/* enum service_flag */
	__u16 sorry;		/* backend slot */
	__u16 gue_port;		/* UDP destination port of GUE */
	__u32 udp_timeout;	/* idle timeout of UDP flows in seconds */
	__u32 pool_list;	/* line of its struct pool_list in `pools` */
	__u16 pools;		/* number of addresses in its source pool */
	__u8 outer4_length;	/* length of the prefix in outer4 */
	__u8 outer4[4];		/* outer source of encapsulation: a prefix, followed by bits of the flow's hash */
	__u8 outer6[8];		/* outer source in IPv6: the first 64 bits; the lower half is from the hash */
	__u8 options;		/* enum service_option */
	__u16 backups;		/* backends in the table of backups */
	__u8 ranges;		/* in its struct port_list, for the control plane; 0 = first_port to last_port alone */
	__u8 pad;
};

/*
 * Facts of a service for the control plane only, by service slot; behind the last slot, one struct port_list for each
 * service with ranges, in the order of slots.
 */
struct service_record {
	char name[40];
	__u64 digest;		/* start of the SHA-256 of its lines as applied; differs from live = drift */
	__u32 drain_timeout;	/* seconds */
	__u32 mtu;		/* of the file, in bytes; 0 = none. `mtu` of backends without own_mtu is at most that */
	__u32 pad[2];
};

/* The ports of a service with several ranges, ascending and disjoint. For the control plane only. */
#define PORT_RANGES 16
struct port_list {
	__u16 first[PORT_RANGES];
	__u16 last[PORT_RANGES];
};

/* An address of a source pool. All zero: the slot is free. */
struct pool {
	__u8 address[16];
	__u16 host_first;	/* ports of sockets of this host, inclusive: not taken; both 0 = not an address of this host */
	__u16 host_last;
	__u8 pad[44];
};

/* Pool slots of a service, `pools` of them, in the order in which they were added to it: see snat_search.h. */
#define POOL_SLOTS 64
struct pool_list {
	__u8 pool[64];
};

enum backend_flag {
	BACKEND_IPV6 = 1,
	BACKEND_DRAIN = 2,	/* state: drain; takes no new flows and keeps its flows until `deadline` */
	BACKEND_DISABLED = 4,	/* keeps no flows */
	BACKEND_LEAVING = 8,	/* removed from the file: drained until `deadline`, then removed */
	BACKEND_SORRY = 16,	/* the service's sorry backend, not in the ring */
	BACKEND_USED = 32,	/* the slot is not free */
	BACKEND_BACKUP = 64,	/* backup: in the table of backups instead of the ring */
};

/* Line of a backend slot. All zero: the slot is free. */
struct backend {
	__u8 address[16];
	__u8 mac[6];		/* of the next hop; followed by source_mac as in a frame to it */
	__u8 source_mac[6];	/* of the egress interface */
	__u16 vlan;		/* VLAN tag of frames to it; 0 = none */
	__u16 mtu;		/* for the IP packet: of the egress interface, its route or the file, the least of them */
	__u32 ifindex;		/* egress; 0 = the next hop is unresolved: gets no traffic */
	__u32 deadline;		/* monotonic time in seconds at which it loses its flows; 0 = never */
	__u16 service;		/* slot */
	__u16 port;		/* 0 = the destination port stays (host order) */
	__u16 weight;		/* control plane only */
	__u8 flags;		/* enum backend_flag */
	__u8 own_mtu_high;	/* own_mtu: of the file for this backend, in bytes; 0 = none. `mtu` is at most that */
	__u8 interface[15];	/* name of the egress interface; it, weight and own_mtu are for the control plane only */
	__u8 own_mtu_low;
};

/*
 * Map `health`: scales the configured weights of backends and holds the mode of services. Zero = healthy, so that a new
 * map and a slot with a new owner need no special care.
 *
 * Lines 0 to 1023, byte = backend slot: the part of its share that the backend refuses: 255 = down, else that many of
 * 255 new flows go elsewhere (slow start). Lines 1024 to 1039, byte = service slot: enum service_health. Line 1040:
 * struct health_state. Written by byte and never by line, by runs of health_write: see abi_health.h.
 */
#define HEALTH_BACKEND_LINES (BACKEND_SLOTS / 64)
#define HEALTH_STATE_LINE (HEALTH_BACKEND_LINES + SERVICE_SLOTS / 64)
#define HEALTH_LINES (HEALTH_STATE_LINE + 1)
#define HEALTH_DOWN 255

enum service_health {
	SERVICE_WELL = 0,
	SERVICE_EMPTY = 1,	/* no backend takes new flows: on_empty or the sorry backend decides */
	SERVICE_FALLBACK_DROP = 2,	/* below min_healthy, fallback: drop */
	SERVICE_FALLBACK_SORRY = 3,	/* below min_healthy, fallback: sorry */
	SERVICE_FALLBACK_BACKUP = 4,	/* below min_healthy: the backups take new flows */
};

/*
 * Map `flows`: the flow table, which maps a flow to its backend. A line is a bucket of eight entries, selected by the
 * flow's place (see place_flow); an entry is one word, so that CPUs share the map without locks: each reads and writes an entry at once.
 *
 * tag << 32 | backend slot << 16 | established << 15 | seen. tag: further bits of the place, not 0; 0 = free. seen: tick
 * of the last packet (2^TICK_SHIFT ns of monotonic time, 1.07 s), 15 bits.
 */
#define FLOWS_A_LINE 8
#define FLOW_ESTABLISHED 0x8000
#define FLOW_SEEN 0x7fff
#define TICK_SHIFT 30
/*
 * Seconds after the last packet of an established entry in which a SYN does not replace it. RFC 9293 §3.4.2: TIME-WAIT
 * lasts two MSL of 2 minutes, and a client does not use its addresses and ports for a new connection before.
 */
#define FLOW_TIME_WAIT 240

/*
 * Map `flow_keys`, one value: the secret by which flows find their places in `flows` and `snat_ports`. User space fills
 * it with random bytes when it makes it, and generations hand it on with those maps.
 */
struct flow_keys {
	__u64 source_high;
	__u64 source_low;
	__u64 destination_high;
	__u64 destination_low;
	__u64 scope;
	__u64 pad[3];
};

/* One per CPU: counts its rate-limited actions in this tick. */
struct flow_budget {
	__u64 tick;
	__u32 flows;		/* entries of `flows` created */
	__u32 errors;		/* ICMP errors (RFC 4443 §2.4 (f)) and TCP resets sent */
};
/* Limit of ICMP errors and TCP resets per CPU and tick. */
#define ERROR_LIMIT 1000

/* By service slot, per CPU. All fields except bytes count packets or flows. */
struct service_counter {
	__u64 packets;		/* forwarded to a backend */
	__u64 bytes;
	__u64 flows;		/* new flows: of TCP by SYN, of UDP by the first packet */
	__u64 hits;		/* forwarded packets with a flow table entry */
	__u64 misses;		/* forwarded packets without one; hits + misses = packets */
	__u64 limited;		/* flows without an entry, because the CPU's budget was spent */
	__u64 empty;		/* packets that no backend took */
	__u64 unresolved;	/* packets that skipped a backend because its next hop is unresolved */
	__u64 too_big;		/* answered with "packet too big" */
	__u64 replies;		/* translated back */
	__u64 exhausted;	/* packets dropped because no port of the source pool was free */
	__u64 icmp;		/* ICMP errors forwarded to the backend of their flow */
};

/* By backend slot, per CPU. */
struct backend_counter {
	__u64 packets;
	__u64 bytes;
	__u64 flows;
};

/*
 * Map `snat_ports`: maps (pool address, protocol, source port) to a client: line (pool slot * 2 + (1 for UDP)) *
 * SNAT_PORTS + port. The client's tuple hashes to the few candidate ports, so that one map serves both directions and
 * no two flows share a port.
 */
#define SNAT_PORTS 65536
/* RFC 6056 §3.2: ephemeral ports */
#define SNAT_FIRST_PORT 1024
/* Number of candidate ports of a tuple. */
#define SNAT_PROBES 16

struct snat_port {
	__u64 owner;		/* hash of the tuple, not 0; 0 = never used; claimed first, by compare-and-swap */
	__u32 seen;		/* tick of the last packet; of a half-open TCP flow: of its SYN */
	__u32 ready;		/* 1: all fields are written */
	__u8 client[16];
	__u8 macs[12];		/* destination and source of answers: those of the client's packets, exchanged */
	__u32 ifindex;		/* interface that receives the client's packets: answers leave through it */
	__be16 client_port;
	__u16 backend;		/* slot */
	__u16 vlan;		/* VLAN tag of the client's packets, 0 = none */
	__u8 state;		/* enum snat_state */
	__u8 fraction;		/* of the tick in `seen`, in 1/256 */
	__u32 asked;		/* sequence number of the client's SYN; only of a half-open TCP flow, as is the next */
	__u32 answered;		/* sequence number of the backend's SYN-ACK, in SNAT_ANSWERED */
};

/* A flow is half-open in its first two states: anyone who can send a packet with a forged source can make one. */
enum snat_state {
	SNAT_OPENING = 1,	/* no answer yet */
	SNAT_OPEN = 2,		/* the client sent a packet that follows an answer */
	SNAT_CLOSING = 3,	/* was open; FIN or RST was seen */
	SNAT_ANSWERED = 4,	/* the backend answered: SYN-ACK, or any packet of UDP */
};

/* Seconds after which an idle port is free again. RFC 5382 §5: transitory and established; RFC 4787 §4.3 */
#define SNAT_HALF_OPEN 30
#define SNAT_TRANSITORY 240
#define SNAT_ESTABLISHED 7440
#define SNAT_UDP 120

/*
 * Number of half-open flows that one source prefix may have at one pool address, in one protocol: half of the ports.
 * Beyond it, a new flow of the prefix takes the place of another one: see snat_sources.h.
 */
#define SNAT_SOURCE_LIMIT ((SNAT_PORTS - SNAT_FIRST_PORT) / 2)

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The bytes of the balancer, as abi.h has those of the filter: services, backends and rings in the policy of a
 * generation; health, counters, flows and ports of full NAT in maps of their own, which generations come and go over.
 *
 * A packet finds its service by destination: address → endpoint → (protocol, port) → service → ring → backend. Addresses
 * are 16 bytes as on the wire, IPv4 as ::ffff:a.b.c.d (RFC 4291 §2.5.5.2). Line numbers count from the start of the
 * policy map.
 */
#pragma once

#include <linux/types.h>

/* Most services and backends of one instance: what their counters and their health are indexed by. */
#define SERVICE_SLOTS 1024
#define BACKEND_SLOTS 65536
/* No backend or service, where a slot is expected. */
#define NO_SLOT 0xffff

enum balance_flag {
	BALANCE_ENDPOINTS = 1,	/* there is a service */
	BALANCE_REPLIES = 2,	/* some endpoint is the source of replies to translate back: `source` of endpoints */
	BALANCE_POOLS = 4,	/* some endpoint is an address of a source pool of full NAT */
};

/* Line 6: where the balancer's tables lie. All zero: there is no service. */
struct balance {
	__u64 multiplier;	/* odd; see endpoint_hash in balance.h and src/model/flow-hash.ts */
	__u32 flags;		/* enum balance_flag */
	__u32 hash;		/* first line; see struct host_line, whose `address` holds tags here, whose `class` endpoint numbers */
	__u32 hash_lines;	/* buckets; HOST_PROBES - 1 further lines take what runs over at the end */
	__u32 endpoints;	/* first line; endpoint n (from 1) is at line n - 1 of these */
	__u32 ports;		/* first line; trees of run lines over (protocol << 16 | port); tree lines count from here */
	__u32 services;		/* first line; one struct service a line, by service slot */
	__u32 service_lines;	/* highest service slot in use + 1 */
	__u32 backends;		/* first line; one struct backend a line, by backend slot */
	__u32 backend_lines;	/* highest backend slot in use + 1 */
	__u32 flow_mask;	/* lines of `flows` - 1, a power of two less one */
	__u32 flow_limit;	/* new entries of `flows` that one CPU may make in a second */
	__u32 pools;		/* first line; one struct pool a line, by pool slot, and behind them struct pool_list */
	__u32 pool_lines;	/* highest pool slot in use + 1; `snat_ports` holds two blocks of SNAT_PORTS lines for each */
	__u32 rings;		/* first line; see struct service */
};

/* Line 7: by interface slot, what is done with packets that come in there. */
enum role {
	ROLE_FILTER = 1,
	ROLE_BALANCE = 2,
};

struct roles {
	__u8 lacks[64];		/* enum role bits of what is not done; so zero, as of slot 0 of test runs, is everything */
};

/* Of a VIP's protocol, what becomes of later fragments, which do not tell their ports. */
#define FRAGMENTS_DROP 0xffff

/* An address that the balancer knows. Trees give a slot + 1; 0 = nothing of ours there. */
struct endpoint {
	__u64 high;		/* the address as a number, most significant half first */
	__u64 low;
	__u32 destination;	/* of packets to it: value as of run trees (class or VALUE_TREE | line): service slot + 1 */
	__u32 source;		/* of packets from it: the same: backend slot + 1 of a NAT service without snat */
	__u16 pool;		/* pool slot + 1, where it is an address of a source pool */
	__u16 fragments_tcp;	/* service slot + 1 that takes later fragments, FRAGMENTS_DROP, or 0: no service of TCP */
	__u16 fragments_udp;
	__u8 pad[34];
};

enum forwarding {
	FORWARDING_NAT = 1,	/* destination address and port rewritten, and MACs */
	FORWARDING_DSR = 2,	/* MACs rewritten: the backend holds the VIP */
	FORWARDING_IPIP = 3,	/* RFC 2003, RFC 2473 */
	FORWARDING_GUE = 4,	/* UDP header with the IP packet right behind it: variant 1 of draft-ietf-intarea-gue */
};

enum service_flag {
	SERVICE_SOURCE_HASH = 1,	/* hash: source */
	SERVICE_RANDOM = 2,		/* scheduler: random */
	SERVICE_EMPTY_PASS = 4,		/* on_empty: pass */
	SERVICE_SNAT = 8,		/* full NAT */
	SERVICE_ANY_PORT = 16,		/* port: any; then fragments can be forwarded where the hash is the source's */
	SERVICE_UDP = 32,		/* protocol: udp, else tcp */
	SERVICE_SORRY = 64,		/* `sorry` is a backend slot */
	SERVICE_DRAIN_TIMEOUT = 128,	/* drain_timeout is written in the file; else its default holds */
};

/* By slot. All zero: the slot is free. */
struct service {
	__u8 vip[16];
	__u32 ring;		/* first of its lines of `rings`: 32 backend slots a line; behind them those in the ring, each once */
	__u32 ring_size;	/* slots, a prime; 0 = no backend takes new flows */
	__u16 takers;		/* backends in the ring */
	__u16 first_port;
	__u16 last_port;
	__u8 forwarding;	/* enum forwarding */
	__u8 flags;		/* enum service_flag */
	__u16 sorry;		/* backend slot */
	__u16 gue_port;		/* UDP destination port of GUE */
	__u32 udp_timeout;	/* seconds after which an idle flow of UDP is forgotten */
	__u32 pool_list;	/* its struct pool_list, a line of `pools` */
	__u16 pools;		/* addresses of its source pool */
	__u8 outer4_length;	/* of the prefix in outer4 */
	__u8 outer4[4];		/* outer source of encapsulation: prefix, and below its length the hash of the flow */
	__u8 outer6[8];		/* the same of IPv6: first 64 bits; the lower half is of the hash */
	__u8 pad[5];
};

/* What only the control plane reads of a service, by service slot. */
struct service_record {
	char name[40];
	__u64 digest;		/* start of the SHA-256 of its lines as applied; differs from live = drift */
	__u32 drain_timeout;	/* seconds */
	__u32 pad[3];
};

/* An address of a source pool. All zero: the slot is free. */
struct pool {
	__u8 address[16];
	__u8 pad[48];
};

/* Pool slots of a service; as many as its `pools` says. */
#define POOL_SLOTS 64
struct pool_list {
	__u8 pool[64];
};

enum backend_flag {
	BACKEND_IPV6 = 1,
	BACKEND_DRAIN = 2,	/* state: drain; takes no new flows and keeps those it has, until `deadline` */
	BACKEND_DISABLED = 4,	/* keeps none */
	BACKEND_LEAVING = 8,	/* no longer in the file: drained until `deadline`, then forgotten */
	BACKEND_SORRY = 16,	/* the service's sorry backend, in no ring */
	BACKEND_USED = 32,	/* the slot is not free */
};

/* By slot. All zero: the slot is free. */
struct backend {
	__u8 address[16];
	__u8 mac[6];		/* of the next hop; with source_mac as in a frame to it */
	__u8 source_mac[6];	/* of the egress interface */
	__u16 vlan;		/* tag that frames to it carry; 0 = none */
	__u16 mtu;		/* of the egress interface, for the IP packet */
	__u32 ifindex;		/* egress; 0 = the next hop is not known: gets no traffic */
	__u32 deadline;		/* monotonic time in seconds from which on it keeps no flow; 0 = none */
	__u16 service;		/* slot */
	__u16 port;		/* 0 = as in the packet (host order) */
	__u16 weight;		/* control plane only */
	__u8 flags;		/* enum backend_flag */
	__u8 pad;
	char interface[16];	/* name of the egress; control plane only */
};

/*
 * Map `health`: what the backends and services may take now, apart from the configured weight. Zero = all is well, so
 * that a new map and a slot with a new owner need no special care.
 *
 * Lines 0 to 1023, byte = backend slot: how much of its share the backend does not take: 255 = down, else of 255 new
 * flows so many go elsewhere (slow start). Lines 1024 to 1039, byte = service slot: enum service_health. Line 1040:
 * struct health_state. Written by byte and never by line, by runs of health_write: see abi_health.h.
 */
#define HEALTH_BACKEND_LINES (BACKEND_SLOTS / 64)
#define HEALTH_STATE_LINE (HEALTH_BACKEND_LINES + SERVICE_SLOTS / 64)
#define HEALTH_LINES (HEALTH_STATE_LINE + 1)
#define HEALTH_DOWN 255

enum service_health {
	SERVICE_WELL = 0,
	SERVICE_EMPTY = 1,	/* nothing to choose: on_empty or the sorry backend at once */
	SERVICE_FALLBACK_DROP = 2,	/* below min_healthy, fallback: drop */
	SERVICE_FALLBACK_SORRY = 3,	/* below min_healthy, fallback: sorry */
};

/*
 * Map `flows`: which backend a flow goes to. A line is a bucket of eight entries, chosen by the hash of the flow; an
 * entry is one word, so that CPUs share the map without locks: each reads and writes it in one go.
 *
 * tag << 32 | backend slot << 16 | established << 15 | seen. tag: further bits of the hash, not 0; 0 = free. seen:
 * the last packet's time in ticks (2^TICK_SHIFT ns of monotonic time, 1.07 s), 15 bits.
 */
#define FLOWS_A_LINE 8
#define FLOW_ESTABLISHED 0x8000
#define FLOW_SEEN 0x7fff
#define TICK_SHIFT 30

/* One for each CPU: what it did in this tick that is limited. */
struct flow_budget {
	__u64 tick;
	__u32 flows;		/* entries of `flows` made */
	__u32 errors;		/* ICMP errors sent (RFC 4443 §2.4 (f)) */
};
/* ICMP errors that one CPU sends in a tick at most. */
#define ERROR_LIMIT 1000

/* By service slot, per CPU. All but bytes count packets or flows. */
struct service_counter {
	__u64 packets;		/* forwarded to a backend */
	__u64 bytes;
	__u64 flows;		/* new: of TCP by SYN, of UDP by the first packet */
	__u64 hits;		/* forwarded packets whose flow was known */
	__u64 misses;		/* forwarded packets whose flow was not: with hits all */
	__u64 limited;		/* flows not remembered, because the CPU's budget was spent */
	__u64 empty;		/* no backend would take it */
	__u64 unresolved;	/* backends passed over because their next hop is not known */
	__u64 too_big;		/* answered with "packet too big" */
	__u64 replies;		/* translated back */
	__u64 exhausted;	/* no port of the source pool was free */
	__u64 icmp;		/* ICMP errors passed on to the backend of their flow */
};

/* By backend slot, per CPU. */
struct backend_counter {
	__u64 packets;
	__u64 bytes;
	__u64 flows;
};

/*
 * Map `snat_ports`: by (pool address, protocol, source port) the client that it stands for: line (pool slot * 2 +
 * (1 for UDP)) * SNAT_PORTS + port. The client's tuple hashes to the ports that may be its own, so that the same map
 * answers in both directions and no two flows share a port.
 */
#define SNAT_PORTS 65536
/* RFC 6056 §3.2: ephemeral ports */
#define SNAT_FIRST_PORT 1024
/* Ports that a tuple may have. */
#define SNAT_PROBES 16

struct snat_port {
	__u64 owner;		/* hash of the tuple, not 0, 0 = never used; taken by compare-and-swap before the rest is written */
	__u32 seen;		/* tick of the last packet */
	__u32 ready;		/* 1: all fields are written */
	__u8 client[16];
	__u8 macs[12];		/* destination and source of answers: exchanged, those of the client's packets */
	__u32 ifindex;		/* where the client's packets come in: answers leave there */
	__be16 client_port;
	__u16 backend;		/* slot */
	__u16 vlan;		/* tag of the client's packets, 0 = none */
	__u8 state;		/* enum snat_state */
	__u8 pad[9];
};

enum snat_state {
	SNAT_OPENING = 1,	/* no answer yet */
	SNAT_OPEN = 2,
	SNAT_CLOSING = 3,	/* FIN or RST was seen */
};

/* Seconds after which an idle port is free again. RFC 5382 §5: transitory and established; RFC 4787 §4.3 */
#define SNAT_TRANSITORY 240
#define SNAT_ESTABLISHED 7440
#define SNAT_UDP 120

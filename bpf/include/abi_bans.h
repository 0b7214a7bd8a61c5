/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The shared bytes of bans, as abi.h has those of the policy: dynamic entries that drop a source address until they
 * expire, in separate maps, which outlive policies and programs.
 */
#pragma once

#include <linux/types.h>

/* Size of the table of bans, as a power of two: the least, the greatest, and that of a policy that sets none. */
#define BANS_LEAST_SHIFT 5
#define BANS_MOST_SHIFT 22
#define BANS_SHIFT 17
#define BANS (1 << BANS_SHIFT)
/* A table keeps a part of 1 / 2^this free of new bans with BAN_YIELD. */
#define BANS_KEPT_SHIFT 3
/* Position of that power in the flags of the settings: the difference from BANS_SHIFT, as 0 did not have it. */
#define BANS_SETTING_SHIFT 27

/*
 * The filter in front of the bans: of each ban, four bits of one 64-bit word, whose place and bits are a hash of its
 * prefix. An address whose bits are not all set is not banned, so most packets read one word for each prefix length in
 * use, however many bans there are. There are two halves of as many words: readers use one, writers set bits in both. A
 * removed ban leaves its bits, until ban_sweep fills the other half from the map and makes it the one that is read.
 */
#define BAN_WORDS_SHIFT 2	/* words of a half: one for each four bans */
#define BAN_WORDS_A_LINE 8
/* Maximum number of requests per run of ban_write: less than half a millisecond, during which softirqs are off. */
#define BAN_REQUESTS 256

enum ban_op {
	OP_ADD = 1,
	OP_REMOVE = 2,
};

enum ban_result {
	RESULT_NONE = 0,		/* not processed */
	RESULT_ADDED = 1,		/* no ban of the prefix was in force */
	RESULT_REFRESHED = 2,	/* the prefix was banned: the new ban replaces it */
	RESULT_REMOVED = 3,
	RESULT_ABSENT = 4,		/* the prefix to remove was not banned */
	RESULT_FULL = 5,
	RESULT_NO_MEMORY = 6,
	RESULT_INVALID = 7,		/* a bug of user space */
	RESULT_KEPT = 8,		/* with BAN_YIELD or BAN_UNLESS_BANNED: the ban of the prefix that is in force stays */
	RESULT_ENFORCED = 9,	/* with BAN_YIELD: the prefix was banned with BAN_OBSERVE, and is no longer */
	RESULT_REPLACED = 10,	/* with BAN_YIELD: replaced a ban by its author that ended earlier and had another reason */
};

/* A prefix: its bits from the most significant bit of `high` on, all others zero. */
struct ban_key {
	__u64 high;
	__u64 low;
	__u32 family;		/* 4 or 6 */
	__u32 length;		/* of the prefix in bits */
};

struct ban {
	__u64 expires;		/* boot time in ns at which the ban expires; 0 = never */
	__u32 since;		/* Unix time in seconds */
	__u32 flags;		/* enum ban_flag */
	char reason[56];	/* NUL-padded UTF-8 */
	char by[24];		/* NUL-padded UTF-8 */
};

enum ban_flag {
	BAN_OBSERVE = 1,	/* packets are counted, and go on */
	BAN_YIELD = 2,		/* of a request: room for others stays, and so does a ban of the prefix by another author, one that drops if this one does not, or one with another reason that ends no earlier, unless it is over */
	BAN_UNLESS_BANNED = 4,	/* of a request: any ban of the prefix stays, unless it is over */
};

/*
 * The one value of ban_state. The data plane reads the first half: the prefix lengths in use, stored as length + 1. A
 * length keeps its place while in use, so that a concurrent reader sees each length or not.
 */
#define BAN_LENGTHS4 33
#define BAN_LENGTHS6 129
struct ban_state {
	__u32 places4;		/* used places in lengths4, gaps (0) included; 0 = no IPv4 address is banned */
	__u32 places6;
	__u8 lengths4[36];
	__u32 half;		/* of the filter that is read: 0 or 1 */
	__u8 lengths6[136];
	__u32 entries;		/* bans in the map, expired or not */
	__u32 live;		/* unexpired bans at the last run of ban_count */
	__u64 next_expiry;	/* no ban expires before this boot time; 0 = none will */
	__u64 now;		/* boot time in ns of the last run of ban_count */
	__u32 counts[248];	/* number of bans by prefix length; those of IPv6 begin at BAN_COUNTS6 */
	__u32 removed;		/* bans removed since the filter was last filled */
	__u32 pad[3];
	__u64 observed_packets;	/* that bans with BAN_OBSERVE would have dropped, since the table was made */
	__u64 observed_bytes;
};
#define BAN_COUNTS6 64

/* First 64 bytes of the data of ban_write; requests follow, and results are written over them. */
struct ban_header {
	__u64 since;		/* Unix time in seconds */
	__u64 netns;		/* inode of the caller's network namespace */
	__u32 count;		/* of requests */
	__u32 over;		/* written by the run: 1 = ban_sweep has work */
	__u32 pad[10];
};

/* Labels that a ban must carry to be lifted. */
#define BAN_MATCH_REASON 1
#define BAN_MATCH_BY 2

struct ban_request {
	struct ban_key key;
	__u64 ttl;		/* ns; 0 = never expires */
	__u32 op;		/* enum ban_op */
	__u32 result;		/* enum ban_result */
	char reason[56];	/* NUL-padded */
	char by[24];
	__u32 match;		/* BAN_MATCH_*, for OP_REMOVE */
	__u32 flags;		/* enum ban_flag, for OP_ADD */
};

/* A ban as ban_list copies it out of the map, so that many can be read by number. */
struct ban_record {
	struct ban_key key;
	struct ban ban;
};

/* Maximum number of records per run of ban_page. */
#define BAN_RECORDS 512

/* First 64 bytes of the data of ban_page; records follow. */
struct ban_page_header {
	__u32 first;		/* number of the first record */
	__u32 count;		/* of records */
	__u32 pad[14];
};

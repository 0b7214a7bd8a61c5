/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Changes of bans: runs started by `bpftool prog run` under the lock of the bans, so that there is one writer. Each run
 * leaves map and state consistent: a run cannot be killed half-way.
 */
#pragma once

#include "abi.h"
#include "addr.h"
#include "ban.h"
#include "ban_filter.h"
#include "maps.h"

/* linux/errno.h */
#define ERROR_NO_MEMORY 12
#define ERROR_TOO_BIG 7

/* Line of the policy with struct meta. */
#define META_LINE 2

struct ban_run {
	struct xdp_md *ctx;
	struct ban_state *state;
	__u64 now;		/* boot time in ns */
	__u64 since;		/* Unix time in seconds */
	__u32 words;		/* of a half of the filter */
	__u32 failed;
};

static __always_inline struct ban_state *own_ban_state(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&ban_state, &zero);
}

/* Stores a prefix length in the first gap, or at the end. */
static __always_inline void use_length(__u8 *lengths, __u32 most, __u32 *places, __u32 length)
{
	for (__u32 i = 0; i < most; i++) {
		if (lengths[i] != 0)
			continue;
		lengths[i] = length + 1;
		if (i >= *places)
			*places = i + 1;
		return;
	}
}

/* Removes a prefix length, and trims gaps at the end. */
static __always_inline void free_length(__u8 *lengths, __u32 most, __u32 *places, __u32 length)
{
	__u32 used = 0;

	for (__u32 i = 0; i < most; i++) {
		if (lengths[i] == length + 1)
			lengths[i] = 0;
		else if (lengths[i] != 0)
			used = i + 1;
	}
	*places = used;
}

/* Global functions, because prefix lengths rarely come or go, and the verifier then walks them only once. */
__noinline int length_used(__u32 family, __u32 length)
{
	struct ban_state *state = own_ban_state();

	if (!state)
		return 0;
	if (family == FAMILY_IPV4)
		use_length(state->lengths4, BAN_LENGTHS4, &state->places4, length);
	else
		use_length(state->lengths6, BAN_LENGTHS6, &state->places6, length);
	return 0;
}

__noinline int length_unused(__u32 family, __u32 length)
{
	struct ban_state *state = own_ban_state();

	if (!state)
		return 0;
	if (family == FAMILY_IPV4)
		free_length(state->lengths4, BAN_LENGTHS4, &state->places4, length);
	else
		free_length(state->lengths6, BAN_LENGTHS6, &state->places6, length);
	return 0;
}

static __always_inline int is_valid(const struct ban_key *key)
{
	if (key->family == FAMILY_IPV4)
		return key->length < BAN_LENGTHS4;
	return key->family == FAMILY_IPV6 && key->length < BAN_LENGTHS6;
}

/* Returns the counter of a prefix length. */
static __always_inline __u32 *length_count(struct ban_state *state, const struct ban_key *key)
{
	__u32 index = key->length + (key->family == FAMILY_IPV6 ? BAN_COUNTS6 : 0);

	/* A mask that the verifier can see; valid keys are below it in any case. */
	asm volatile("%0 &= 255" : "+r"(index));
	return &state->counts[index];
}

static __always_inline void count_in(struct ban_state *state, const struct ban_key *key)
{
	__u32 *count = length_count(state, key);

	state->entries++;
	if ((*count)++ == 0)
		length_used(key->family, key->length);
}

static __always_inline void count_out(struct ban_state *state, const struct ban_key *key)
{
	__u32 *count = length_count(state, key);

	state->entries--;
	state->removed++;
	if (--(*count) == 0)
		length_unused(key->family, key->length);
}

/* Stores when the first ban ends. */
static __always_inline void expect_expiry(struct ban_state *state, __u64 expires)
{
	if (expires && (state->next_expiry == 0 || expires < state->next_expiry))
		state->next_expiry = expires;
}

/* Whether two texts of a ban are equal. Both are aligned and padded with NUL. */
static __always_inline int same_text(const char *left, const char *right, __u32 size)
{
	__u64 differ = 0;

	for (__u32 i = 0; i < size / sizeof(__u64); i++)
		differ |= ((const __u64 *)left)[i] ^ ((const __u64 *)right)[i];
	return differ == 0;
}

/* Whether only the part of the table is free that is kept for bans that do not yield. */
static __always_inline int is_room_kept(const struct ban_run *run)
{
	const __u32 most = run->words << BAN_WORDS_SHIFT;

	return run->state->entries >= most - (most >> BANS_KEPT_SHIFT);
}

/* Whether a ban in force stays in place of a new one, which ends at `expires`. */
static __always_inline int stays(const struct ban *old, const struct ban_request *request, __u64 expires)
{
	if (request->flags & BAN_UNLESS_BANNED)
		return 1;
	if (!(request->flags & BAN_YIELD))
		return 0;
	if (!same_text(old->by, request->by, sizeof(old->by)))
		return 1;
	if ((old->flags ^ request->flags) & BAN_OBSERVE)
		return request->flags & BAN_OBSERVE;
	if (same_text(old->reason, request->reason, sizeof(old->reason)))
		return 0;
	return !old->expires || (expires && old->expires >= expires);
}

/* The result of a ban in place of another one. */
static __always_inline __u32 replacement(const struct ban *old, const struct ban_request *request)
{
	if (!(request->flags & BAN_YIELD))
		return RESULT_REFRESHED;
	if (old->flags & ~request->flags & BAN_OBSERVE)
		return RESULT_ENFORCED;
	return same_text(old->reason, request->reason, sizeof(old->reason)) ? RESULT_REFRESHED : RESULT_REPLACED;
}

static __always_inline __u32 add_ban(const struct ban_run *run, const struct ban_request *request)
{
	struct ban ban = {
		.since = run->since,
		.flags = request->flags & BAN_OBSERVE,
		.expires = request->ttl ? run->now + request->ttl : 0,
	};
	struct ban_state *state = run->state;
	const struct ban *old = bpf_map_lookup_elem(&bans, &request->key);
	const int known = old != 0, yields = request->flags & BAN_YIELD;
	__u32 result = RESULT_ADDED;
	long error;

	if (old && (!old->expires || old->expires > run->now)) {
		if (stays(old, request, ban.expires))
			return RESULT_KEPT;
		result = replacement(old, request);
	}
	if (!known && yields && is_room_kept(run))
		return RESULT_FULL;
	__builtin_memcpy(ban.reason, request->reason, sizeof(ban.reason));
	__builtin_memcpy(ban.by, request->by, sizeof(ban.by));
	error = bpf_map_update_elem(&bans, &request->key, &ban, BPF_ANY);
	if (error == -ERROR_TOO_BIG)
		return RESULT_FULL;
	if (error)
		return RESULT_NO_MEMORY;
	enter_filter(&request->key, run->words);
	expect_expiry(state, ban.expires);
	if (!known)
		count_in(state, &request->key);
	return result;
}

/* Whether a ban carries the labels that `match` asks for. */
static __always_inline int is_labelled(const struct ban *ban, __u32 match, const char *reason, const char *by)
{
	if (match & BAN_MATCH_REASON && !same_text(ban->reason, reason, sizeof(ban->reason)))
		return 0;
	return !(match & BAN_MATCH_BY) || same_text(ban->by, by, sizeof(ban->by));
}

static __always_inline __u32 remove_ban(const struct ban_run *run, const struct ban_request *request)
{
	if (request->match) {
		const struct ban *ban = bpf_map_lookup_elem(&bans, &request->key);

		if (!ban || !is_labelled(ban, request->match, request->reason, request->by))
			return RESULT_ABSENT;
	}
	if (bpf_map_delete_elem(&bans, &request->key))
		return RESULT_ABSENT;
	count_out(run->state, &request->key);
	return RESULT_REMOVED;
}

static long write_ban(__u32 index, struct ban_run *run)
{
	__u32 offset = sizeof(struct ban_header) + index * sizeof(struct ban_request);
	struct ban_request request;

	if (bpf_xdp_load_bytes(run->ctx, offset, &request, sizeof(request))) {
		run->failed = 1;
		return 1;
	}
	request.reason[sizeof(request.reason) - 1] = 0;
	request.by[sizeof(request.by) - 1] = 0;
	if (!is_valid(&request.key))
		request.result = RESULT_INVALID;
	else if (request.op == OP_ADD)
		request.result = add_ban(run, &request);
	else
		request.result = remove_ban(run, &request);
	offset += offsetof(struct ban_request, result);
	if (bpf_xdp_store_bytes(run->ctx, offset, &request.result, sizeof(request.result))) {
		run->failed = 1;
		return 1;
	}
	return 0;
}

/* Whether the instance belongs to another network namespace, whose addresses the caller cannot know. */
static __always_inline int is_elsewhere(__u64 netns)
{
	const struct meta *meta = (const void *)policy_line(META_LINE);

	return meta && meta->netns != 0 && meta->netns != netns;
}

/* Whether a ban may have expired. */
static __always_inline __u32 may_be_over(const struct ban_state *state, __u64 now)
{
	return state->next_expiry != 0 && now >= state->next_expiry;
}

/* Whether the filter has bits of so many removed bans that it is worth filling again: a quarter of what it is made for. */
static __always_inline __u32 is_worn(const struct ban_state *state, __u32 words)
{
	return state->removed >= words;
}

/*
 * Data: a struct ban_header and its requests; each gets its result. XDP_PASS if all were processed; XDP_DROP if the
 * instance belongs to another namespace and none was; XDP_ABORTED for invalid data.
 */
static __always_inline int write_bans(struct xdp_md *ctx)
{
	struct ban_run run = {
		.ctx = ctx,
		.state = own_ban_state(),
		.now = bpf_ktime_get_boot_ns(),
		.words = filter_words(bans_shift()),
	};
	struct ban_header header;

	if (!run.state || bpf_xdp_load_bytes(ctx, 0, &header, sizeof(header)) || header.count > BAN_REQUESTS)
		return XDP_ABORTED;
	if (is_elsewhere(header.netns))
		return XDP_DROP;
	run.since = header.since;
	header.over = may_be_over(run.state, run.now) || is_worn(run.state, run.words);
	bpf_loop(header.count, write_ban, &run, 0);
	if (bpf_xdp_store_bytes(ctx, offsetof(struct ban_header, over), &header.over, sizeof(header.over)))
		return XDP_ABORTED;
	return run.failed ? XDP_ABORTED : XDP_PASS;
}

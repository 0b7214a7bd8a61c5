/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The map of bans, which the programs of two objects share. */
#pragma once

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "abi_bans.h"

/* Banned prefixes. The kernel allocates elements on insertion: most hosts have few. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct ban_key);
	__type(value, struct ban);
	__uint(max_entries, BANS);
} bans SEC(".maps");

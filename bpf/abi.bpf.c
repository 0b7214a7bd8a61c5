/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Never loaded: gives every type of abi.h a place in BTF, from which the build generates src/abi/generated.ts. */
#include "abi.h"

struct line abi_line;
struct table4 abi_table4;
struct table6 abi_table6;
struct settings abi_settings;
struct meta abi_meta;
struct directory abi_directory;
struct list abi_list;
struct class abi_class;
struct rule abi_rule;
struct range_line abi_range_line;
struct host_line abi_host_line;
struct block_line abi_block_line;
struct run_line abi_run_line;
struct deep_line abi_deep_line;
struct transfer abi_transfer;
struct progress abi_progress;
struct span abi_span;
struct counter abi_counter;
struct interface_entry abi_interface_entry;
struct attachment abi_attachment;
struct explanation abi_explanation;
struct ban_key abi_ban_key;
struct ban abi_ban;
struct ban_state abi_ban_state;
struct ban_header abi_ban_header;
struct ban_request abi_ban_request;

enum reason abi_reason;
enum settings_flag abi_settings_flag;
enum table_flag abi_table_flag;
enum rule_flag abi_rule_flag;
enum section abi_section;
enum attach_mode abi_attach_mode;
enum ban_op abi_ban_op;
enum ban_result abi_ban_result;

/* Macros are not in BTF; an enum carries them there. */
enum abi_constant {
	CONST_ABI_VERSION = ABI_VERSION,
	CONST_LINE_SIZE = LINE_SIZE,
	CONST_INTERFACE_SLOTS = INTERFACE_SLOTS,
	CONST_INTERFACE_INDEX_SIZE = INTERFACE_INDEX_SIZE,
	CONST_INTERFACE_PROBES = INTERFACE_PROBES,
	CONST_LIST_SLOTS = LIST_SLOTS,
	CONST_REASON_SLOTS = REASON_SLOTS,
	CONST_CLASS_RULES = CLASS_RULES,
	CONST_HEADER_LINES = HEADER_LINES,
	CONST_HOST_PROBES = HOST_PROBES,
	CONST_BLOCK_PROBES = BLOCK_PROBES,
	CONST_BLOCK_32 = BLOCK_32,
	CONST_BLOCK_48 = BLOCK_48,
	CONST_BLOCK_64 = BLOCK_64,
	CONST_VALUE_TREE = VALUE_TREE,
	CONST_VALUE_MASK = VALUE_MASK,
	CONST_TREE_DEPTH = TREE_DEPTH,
	CONST_TRANSFER_EXTENTS = TRANSFER_EXTENTS,
	CONST_TRANSFER_LINES = TRANSFER_LINES,
	CONST_WALK_TURNS = WALK_TURNS,
	CONST_WALK_SPANS = WALK_SPANS,
	CONST_DIRECTORY_SECTIONS = DIRECTORY_SECTIONS,
	CONST_BANS = BANS,
	CONST_BAN_REQUESTS = BAN_REQUESTS,
};
enum abi_constant abi_constant;

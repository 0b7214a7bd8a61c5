/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The walk along IPv6 extension headers. */
#pragma once

#include "parse.h"

/* RFC 8200 §4.1 names seven headers in its recommended order, ESP among them, which hides what follows it. */
#define IPV6_EXTENSIONS 8
/* RFC 8200 §4.5 */
#define IPV6_OFFSET 0xfff8
#define IPV6_MORE_FRAGMENTS 1

/* Common start of all IPv6 extension headers. */
struct extension {
	__u8 next;
	__u8 length;		/* beyond the first 8 bytes in 8-byte units; AH: beyond the first 8 in 4-byte units */
	__be16 fragment;	/* fragment header only: offset, reserved, more fragments */
	__be32 rest;		/* fragment header: identification */
};

static __always_inline int is_extension(__u16 protocol)
{
	return protocol == IPPROTO_HOPOPTS || protocol == IPPROTO_ROUTING || protocol == IPPROTO_FRAGMENT ||
	       protocol == IPPROTO_DSTOPTS || protocol == IPPROTO_AH;
}

/*
 * Walks extension headers to the upper-layer protocol, or to the end of the headers in a later fragment. Any result
 * except PARSED leaves the protocol unknown. Copies the headers, because they may lie outside of the linear part.
 *
 * A global function, because the verifier checks those once and separately, from an unknown offset; inlined, every
 * possible length of a header would be a separate state.
 */
__noinline int walk_extensions(struct xdp_md *ctx, struct chain *chain)
{
	__u32 end = bpf_xdp_get_buff_len(ctx);

	if (!chain)
		return PARSED_IMPOSSIBLE;
	for (int i = 0; i < IPV6_EXTENSIONS; i++) {
		struct extension header = {};
		__u32 size = 8;

		if (!is_extension(chain->next))
			return PARSED;
		if (chain->left < sizeof(header))
			return PARSED_IMPOSSIBLE;
		if (chain->offset > LINEAR_LIMIT || bpf_xdp_load_bytes(ctx, chain->offset, &header, sizeof(header)))
			return PARSED_SHORT;
		if (chain->next == IPPROTO_AH)
			size += header.length * 4;
		else if (chain->next != IPPROTO_FRAGMENT)
			size += header.length * 8;
		if (chain->left < size)
			return PARSED_IMPOSSIBLE;
		if (chain->offset + size > end)
			return PARSED_SHORT;

		if (chain->next == IPPROTO_FRAGMENT)
			chain->identification = header.rest;
		if (chain->next == IPPROTO_FRAGMENT && header.fragment & bpf_htons(IPV6_MORE_FRAGMENTS))
			chain->fragment = FRAGMENT_MORE;
		if (chain->next == IPPROTO_FRAGMENT && header.fragment & bpf_htons(IPV6_OFFSET)) {
			chain->fragment = bpf_ntohs(header.fragment) >> 3;
			chain->next = header.next;
			return PARSED;
		}
		chain->offset += size;
		chain->left -= size;
		chain->next = header.next;
	}
	return is_extension(chain->next) ? PARSED_TOO_DEEP : PARSED;
}

/* Walks a chain from packet->protocol on, and stores the upper-layer protocol there, if it is known. */
static __always_inline enum parsed skip_extensions(struct xdp_md *ctx, struct chain *chain, struct packet *packet)
{
	enum parsed parsed;

	chain->next = packet->protocol;
	parsed = walk_extensions(ctx, chain);
	packet->fragment = chain->fragment;
	packet->protocol = parsed != PARSED || is_extension(chain->next) ? PROTOCOL_UNKNOWN : chain->next;
	return parsed;
}

/* Steps over IPv6 extension headers. */
static __always_inline enum parsed parse_extensions(struct xdp_md *ctx, struct cursor *cursor, struct packet *packet)
{
	void *data = (void *)(long)ctx->data;
	struct chain chain = { .offset = cursor->pos - data, .left = cursor->left };
	enum parsed parsed;

	if (!is_extension(packet->protocol))
		return PARSED;
	parsed = skip_extensions(ctx, &chain, packet);
	if (chain.offset > LINEAR_LIMIT)
		return PARSED_SHORT;
	cursor->pos = data + chain.offset;
	cursor->left = chain.left;
	return parsed;
}

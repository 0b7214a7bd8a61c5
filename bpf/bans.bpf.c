/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Programs that list many bans: loaded only while they run, never attached. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "ban_list.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Run to copy all bans. Not an XDP program: it may take milliseconds, and the kernel can preempt this type. */
SEC("syscall")
int ban_list(void *ctx)
{
	return copy_bans();
}

/* Run on a request to read a page of the copy. */
SEC("xdp.frags")
int ban_page(struct xdp_md *ctx)
{
	return read_ban_page(ctx);
}

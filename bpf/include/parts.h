/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Optional parts of the programs: code that only some policies need, each under `if (PART(name))`. An object as it is
 * compiled has all of them. User space takes out those that a policy does not need before it hands the object to the
 * loader. The header with the code of a part defines `const volatile __u32 part_NAME = 1`; `parts` of its feature's
 * record in src/features says which policies need it.
 */
#pragma once

#include <linux/types.h>

/*
 * 1 or 0, to the verifier a constant. The jump comes right behind it, which an ordinary comparison need not become:
 * from the jump user space knows which code is never reached.
 */
#define PART(name) \
	({ \
		__label__ without; \
		int has = 0; \
\
		asm goto("r0 = part_" #name " ll\n" \
			 "r0 = *(u32 *)(r0 + 0)\n" \
			 "if r0 == 0 goto %l[without]" : : : "r0" : without); \
		has = 1; \
	without: \
		has; \
	})

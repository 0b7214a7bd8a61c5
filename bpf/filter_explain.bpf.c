/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The program of explain.bpf.c for a policy without services, as filter.bpf.c is for xdp.bpf.c. */
#define BALANCES 0

#include "explain.bpf.c"

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The programs of xdp.bpf.c for a policy without services. Verdicts are equal, but the verifier, which takes a large
 * part of an apply's time, need not walk the balancer.
 */
#define BALANCES 0

#include "xdp.bpf.c"

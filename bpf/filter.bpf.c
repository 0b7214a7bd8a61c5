/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The programs of xdp.bpf.c for a policy without services. They judge just as those do; but the verifier, which takes a
 * large part of the time that an apply takes, need not walk through the balancer.
 */
#define BALANCES 0

#include "xdp.bpf.c"

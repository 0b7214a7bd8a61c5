// Programs of others behind ours: packets that pass on an interface go on to the program that was attached there before
// (bpf/include/chain.h).

import type { Feature } from './feature.ts'

export const CHAIN = {
  name: 'chain',
  maps: {},
  programs: {},
  parts: { chain: ({ interfaces }) => [...interfaces.values()].some(({ chain }) => chain !== undefined) },
  reasons: [],
  needs: [{ since: [5, 10], what: 'tail calls beside calls of functions (bpf_tail_call)' }],
  metrics: [],
} as const satisfies Feature

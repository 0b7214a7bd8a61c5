// Connections that this host opened: their packets pass where a list or the default would drop them. The sockets of the
// kernel are the state (bpf/include/established.h).

import { asksSockets } from '../model/scope.ts'
import type { Feature } from './feature.ts'

export const ESTABLISHED = {
  name: 'established',
  maps: {},
  programs: {},
  parts: { established: asksSockets },
  reasons: ['established'],
  needs: [{ since: [5, 2], what: 'lookups of sockets in XDP (bpf_skc_lookup_tcp, bpf_sk_lookup_udp)' }],
  metrics: [],
} as const satisfies Feature

// Entries with `socket: none`: TCP packets to this host that no socket of it expects. The sockets of the kernel are the
// state (bpf/include/socketless.h).

import { socketlessScopes } from '../model/scope.ts'
import type { Feature } from './feature.ts'

export const SOCKETLESS = {
  name: 'socketless',
  maps: {},
  programs: {},
  parts: { socketless: (state) => socketlessScopes(state).length > 0 },
  reasons: [],
  needs: [
    {
      since: [5, 2],
      what: 'lookups of sockets and checks of SYN cookies in XDP (bpf_skc_lookup_tcp, bpf_tcp_check_syncookie)',
    },
  ],
  metrics: [],
} as const satisfies Feature

// Entries that ask more of a packet than its source, protocol and ports (bpf/include/match.h).

import { scopesOf } from '../model/scope.ts'
import type { Feature } from './feature.ts'

export const MATCH = {
  name: 'match',
  maps: {},
  programs: {},
  parts: { match: (state) => scopesOf(state).some(({ match }) => match !== undefined) },
  reasons: [],
  needs: [],
  metrics: [],
} as const satisfies Feature

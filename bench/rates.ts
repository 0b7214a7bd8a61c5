// npm run bench rates: the cost of rate limits and of anomalies for a packet, of one source and of many.
//
// Every figure is the median over rounds of policies with and without them, in turns, above a program that passes
// everything. The packets count as those of an interface. Compare differences: nanoseconds depend on the machine and its
// other load. Many sources take the cost of cold cache lines with them, which the policy without limits has not.

import { ANOMALY_NAMES } from '../src/model/anomaly.ts'
import { DEFAULT_POLICY } from '../src/model/policy.ts'
import { EMPTY_SET } from '../src/model/ranges.ts'
import type { RateLimit } from '../src/model/rate-limit.ts'
import { EMPTY_STATE, type State } from '../src/model/state.ts'
import { ranges, scope } from '../test/support/lists.ts'
import { listOfSources } from '../test/support/rate-sources.ts'
import { datagramOf, NOTHING, timePolicies } from './support/policies.ts'
import { type Claim, conclude, table } from './support/report.ts'

const SLOT = 5
const ROUNDS = 15
const FRAMES = {
  'one source': datagramOf(1),
  '4,096 sources': datagramOf(2 ** 12),
  '1,048,576 sources': datagramOf(2 ** 20),
} as const
type Frame = keyof typeof FRAMES
const NAMES = Object.keys(FRAMES) as Frame[]

/** More than any test sends. */
const FAST = { perSecond: 1_000_000_000, burst: 3_000_000_000 }

const limit = (position: number, port: number, own: Partial<RateLimit> = {}): RateLimit => ({
  name: `limit-${position}`,
  position,
  scope: scope(17, { destination: [port] }),
  per: 'source',
  prefix: { v4: 32, v6: 64 },
  packets: FAST,
  action: 'drop',
  buckets: 65_536,
  ...own,
})

const limited = (...limits: readonly RateLimit[]): State => ({
  ...EMPTY_STATE,
  rateLimits: new Map(limits.map((one) => [one.name, one])),
})

const others = Array.from({ length: 8 }, (_, i) => limit(i, 1000 + i))

/** Ranges that hold nearly all sources, and do not touch: as many of each /24 as there are. */
const apart = (count: number) => {
  const texts = Array.from({ length: count }, (_, i) => `198.${i >> 8}.${i & 255}.0-198.${i >> 8}.${i & 255}.253`)
  return { v4: ranges(4, texts), v6: EMPTY_SET.v6 }
}

/** The limits, each with a list of these sources. */
function listed(count: number, ...limits: readonly RateLimit[]): State {
  const lists = limits.map(({ name }) => listOfSources(name, apart(count)))
  const state = limited(...limits.map((one) => ({ ...one, sources: 'list' as const })))
  return { ...state, lists: new Map(lists.map((list) => [list.name, list])) }
}

const STATES = {
  'no limit': EMPTY_STATE,
  'every anomaly': { ...EMPTY_STATE, policy: { ...DEFAULT_POLICY, anomalies: ANOMALY_NAMES } },
  'a limit of other packets': limited(limit(0, 443)),
  'eight limits of other packets': limited(...others),
  'packets per source': limited(limit(0, 53)),
  'bits per source': limited(limit(0, 53, { packets: undefined, bits: { perSecond: 1e13, burst: 3e13 } })),
  'both, in 1,048,576 buckets': limited(limit(0, 53, { bits: { perSecond: 1e13, burst: 3e13 }, buckets: 2 ** 20 })),
  'packets of all sources': limited(limit(0, 53, { per: 'all' })),
  'packets per source, of 8 ranges in the limit': limited(limit(0, 53, { sources: apart(8) })),
  'packets per source, of a list of 65,536': listed(65_536, limit(0, 53)),
  'eight limits of others, with such lists': listed(65_536, ...others),
} as const satisfies Readonly<Record<string, State>>
type Policy = keyof typeof STATES
const POLICIES = Object.keys(STATES) as Policy[]

const at = await timePolicies({
  ...{ object: 'rates.bpf.o', run: 'run_sources', slot: SLOT, rounds: ROUNDS },
  ...{ states: STATES, frames: FRAMES },
})
const added = (policy: Policy, name: Frame): number => at(policy, name) - at('no limit', name)
const rows = POLICIES.map((policy) => [
  policy,
  ...NAMES.map((name) =>
    (policy === 'no limit' ? at(policy, name) - at(NOTHING, name) : added(policy, name)).toFixed(0),
  ),
])
console.log(table(['ns per packet, added to no limit', ...NAMES], rows))
const claims: Claim[] = [
  {
    kind: 'budget',
    what: 'every anomaly, one source: added',
    limit: 30,
    measured: added('every anomaly', 'one source'),
    unit: 'ns',
  },
  {
    kind: 'budget',
    what: 'packets per source, one source: added',
    limit: 40,
    measured: added('packets per source', 'one source'),
    unit: 'ns',
  },
]
const figures = POLICIES.map((policy) => [policy, Object.fromEntries(NAMES.map((name) => [name, added(policy, name)]))])
conclude('rates', claims, { added: Object.fromEntries(figures) })

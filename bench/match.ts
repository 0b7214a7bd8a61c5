// npm run bench match: the cost of entries that ask for header fields, and of entries that only observe, for a packet of one
// source that none of them drops.
//
// Every figure is the median over rounds of all policies in turns. Compare differences: nanoseconds depend on the machine and
// its other load.

import { EMPTY_SET } from '../src/model/ranges.ts'
import { EMPTY_STATE, type Scope, type State } from '../src/model/state.ts'
import { ANY, block, policy, ranges, scope } from '../test/support/lists.ts'
import { datagramOf, NOTHING, timePolicies } from './support/policies.ts'
import { type Claim, conclude, table } from './support/report.ts'

const SLOT = 5
const ROUNDS = 25

/** The source of the packets is 198.x.x.x, their destination 192.0.2.1. */
const SOURCES = '198.0.0.0/8'
const listed = (of: Scope, sources = SOURCES): State => policy('pass', block('entry', [sources, of]))
const others = Array.from({ length: 64 }, (_, i) => `10.0.${i * 2}.0/24`)
const to = (...texts: readonly string[]): Scope => ({
  ...ANY,
  match: { destinations: { ...EMPTY_SET, v4: ranges(4, texts) } },
})
const long: Scope = { ...ANY, match: { length: { first: 1000, last: 65_535 } } }

const STATES = {
  'no entry': EMPTY_STATE,
  'length, of other sources': listed(long, '203.0.113.0/24'),
  'another port': listed(scope(17, { destination: [443] })),
  'another length': listed(long),
  'another port and length': listed({
    ...scope(17, { destination: [443] }),
    match: { length: { first: 0, last: 65_535 } },
  }),
  'another destination': listed(to('10.0.0.0/8')),
  '64 other destinations': listed(to(...others)),
  observed: listed({ ...ANY, action: 'observe' }),
} as const satisfies Readonly<Record<string, State>>
type Policy = keyof typeof STATES
const POLICIES = Object.keys(STATES) as Policy[]

const at = await timePolicies({
  ...{ object: 'rates.bpf.o', run: 'run_sources', slot: SLOT, rounds: ROUNDS },
  states: STATES,
  frames: { one: datagramOf(1) },
})
const added = (name: Policy): number => at(name, 'one') - at('no entry', 'one')
console.log(
  table(
    ['ns per packet, added to no entry', ''],
    POLICIES.map((name) => [
      name,
      (name === 'no entry' ? at(name, 'one') - at(NOTHING, 'one') : added(name)).toFixed(0),
    ]),
  ),
)
const claims: Claim[] = [
  {
    kind: 'budget',
    what: 'a length, of other sources: added',
    limit: 5,
    measured: added('length, of other sources'),
    unit: 'ns',
  },
]
conclude('match', claims, { added: Object.fromEntries(POLICIES.map((name) => [name, added(name)])) })

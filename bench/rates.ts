// npm run bench rates: the cost of rate limits and of anomalies for a packet, of one source and of many.
//
// Every figure is the median over rounds of policies with and without them, in turns, above a program that passes
// everything. The packets count as those of an interface. Compare differences: nanoseconds depend on the machine and its
// other load. Many sources take the cost of cold cache lines with them, which the policy without limits has not.

import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { bpftool } from '../src/abi/command.ts'
import { runBatch, runBpftool } from '../src/kernel/tools/bpftool.ts'
import { withExchange } from '../src/kernel/tools/exchange.ts'
import { ANOMALY_NAMES } from '../src/model/anomaly.ts'
import { DEFAULT_POLICY } from '../src/model/policy.ts'
import { EMPTY_SET } from '../src/model/ranges.ts'
import type { RateLimit } from '../src/model/rate-limit.ts'
import { EMPTY_STATE, type State } from '../src/model/state.ts'
import { LOW } from '../src/tables/lines/lines.ts'
import { DataPlane } from '../test/support/bpf.ts'
import { ranges, scope } from '../test/support/lists.ts'
import { listOfSources } from '../test/support/rate-sources.ts'
import { createMap } from './support/lookup.ts'
import { type Claim, conclude, median, table } from './support/report.ts'

const WRAPPER = fileURLToPath(new URL('./rates.bpf.o', import.meta.url))
const SLOT = 5
const REPEAT = 2 ** 16
const ROUNDS = 15
const PASS = 2
const SOURCES = { 'one source': 1, '4,096 sources': 2 ** 12, '1,048,576 sources': 2 ** 20 } as const
const NAMES = Object.keys(SOURCES) as (keyof typeof SOURCES)[]

/** A UDP datagram to port 53; the number of sources follows the UDP header. */
function frameOf(sources: number): Uint8Array {
  const frame = new Uint8Array(64)
  const view = new DataView(frame.buffer)
  frame.set([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0, 0, 50], 0)
  frame.set([64, 17], 22)
  frame.set([198, 0, 0, 1, 192, 0, 2, 1, 0, 9, 0, 53, 0, 30], 26)
  view.setUint32(42, sources, LOW === 0)
  return frame
}

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

/** Nanoseconds per packet of the second of two runs. */
async function timeOne(directory: string, program: string, frame: string): Promise<number> {
  const array = ['map', 'update', 'pinned', `${directory}/subject`, 'key', '0', '0', '0', '0']
  const run = bpftool(
    ...['prog', 'run', 'pinned', `${directory}/run/run_sources`, 'data_in', frame],
    ...['data_out', '/dev/null', 'repeat', `${REPEAT}`],
  )
  const outputs = await runBatch([bpftool(...array, 'value', 'pinned', program), run, run])
  const { retval, duration } = outputs.at(-1) as { retval: number; duration: number }
  if (retval !== PASS) throw new Error(`a packet did not pass: ${retval}`)
  return duration
}

const directory = `/sys/fs/bpf/xdp-bench-rates-${process.pid}`
const planes: DataPlane[] = []
mkdirSync(directory)
try {
  const subject = { name: 'subject', type: 'prog_array', valueSize: 4, entries: 1, flags: 0 } as const
  await runBatch([createMap(`${directory}/subject`, subject)])
  const reuse = ['map', 'name', 'subject', 'pinned', `${directory}/subject`]
  await runBpftool('prog', 'loadall', WRAPPER, `${directory}/run`, ...reuse)
  for (const policy of POLICIES) {
    const plane = await DataPlane.open()
    planes.push(plane)
    await plane.loadState(STATES[policy])
    await plane.attachTestRuns(SLOT)
  }
  const programs = new Map<string, string>([
    ...POLICIES.map((policy, i) => [policy, planes[i]?.program('xdp_filter') ?? ''] as const),
    ['nothing', `${directory}/run/nothing`],
  ])
  const times = new Map<string, number[]>()
  await withExchange(async (files) => {
    for (const name of NAMES) writeFileSync(`${files}/${SOURCES[name]}`, frameOf(SOURCES[name]))
    for (let round = 0; round < ROUNDS; round++)
      for (const name of NAMES)
        for (const [policy, program] of programs) {
          const key = `${policy} ${name}`
          const duration = await timeOne(directory, program, `${files}/${SOURCES[name]}`)
          times.set(key, [...(times.get(key) ?? []), duration])
        }
  })
  const at = (policy: string, name: string): number => median(times.get(`${policy} ${name}`) as readonly number[])
  const added = (policy: Policy, name: string): number => at(policy, name) - at('no limit', name)
  const rows = POLICIES.map((policy) => [
    policy,
    ...NAMES.map((name) =>
      (policy === 'no limit' ? at(policy, name) - at('nothing', name) : added(policy, name)).toFixed(0),
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
  const figures = POLICIES.map((policy) => [
    policy,
    Object.fromEntries(NAMES.map((name) => [name, added(policy, name)])),
  ])
  conclude('rates', claims, { added: Object.fromEntries(figures) })
} finally {
  for (const plane of planes) plane.close()
  rmSync(directory, { recursive: true })
}

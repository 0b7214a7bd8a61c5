// npm run bench match: the cost of entries that ask for header fields, and of entries that only observe, for a packet of one
// source that none of them drops.
//
// Every figure is the median over rounds of all policies in turns. Compare differences: nanoseconds depend on the machine and
// its other load.

import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { bpftool } from '../src/abi/command.ts'
import { runBatch, runBpftool } from '../src/kernel/tools/bpftool.ts'
import { withExchange } from '../src/kernel/tools/exchange.ts'
import { EMPTY_SET } from '../src/model/ranges.ts'
import { EMPTY_STATE, type Scope, type State } from '../src/model/state.ts'
import { LOW } from '../src/tables/lines/lines.ts'
import { DataPlane } from '../test/support/bpf.ts'
import { ANY, block, policy, ranges, scope } from '../test/support/lists.ts'
import { createMap } from './support/lookup.ts'
import { type Claim, conclude, median, table } from './support/report.ts'

const WRAPPER = fileURLToPath(new URL('./rates.bpf.o', import.meta.url))
const SLOT = 5
const REPEAT = 2 ** 16
const ROUNDS = 25
const PASS = 2
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

const directory = `/sys/fs/bpf/xdp-bench-match-${process.pid}`
const planes: DataPlane[] = []
mkdirSync(directory)
try {
  const subject = { name: 'subject', type: 'prog_array', valueSize: 4, entries: 1, flags: 0 } as const
  await runBatch([createMap(`${directory}/subject`, subject)])
  const reuse = ['map', 'name', 'subject', 'pinned', `${directory}/subject`]
  await runBpftool('prog', 'loadall', WRAPPER, `${directory}/run`, ...reuse)
  for (const name of POLICIES) {
    const plane = await DataPlane.open()
    planes.push(plane)
    await plane.loadState(STATES[name])
    await plane.attachTestRuns(SLOT)
  }
  const programs = new Map<string, string>([
    ...POLICIES.map((name, i) => [name, planes[i]?.program('xdp_filter') ?? ''] as const),
    ['nothing', `${directory}/run/nothing`],
  ])
  const times = new Map<string, number[]>()
  await withExchange(async (files) => {
    writeFileSync(`${files}/frame`, frameOf(1))
    for (let round = 0; round < ROUNDS; round++)
      for (const [name, program] of programs) {
        const duration = await timeOne(directory, program, `${files}/frame`)
        times.set(name, [...(times.get(name) ?? []), duration])
      }
  })
  const at = (name: string): number => median(times.get(name) as readonly number[])
  const added = (name: Policy): number => at(name) - at('no entry')
  console.log(
    table(
      ['ns per packet, added to no entry', ''],
      POLICIES.map((name) => [name, (name === 'no entry' ? at(name) - at('nothing') : added(name)).toFixed(0)]),
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
} finally {
  for (const plane of planes) plane.close()
  rmSync(directory, { recursive: true })
}

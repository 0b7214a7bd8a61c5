// npm run bench bans [-- --rounds N]: measures the cost of bans per packet, above a program that drops everything, in
// the same run: for a packet from a banned source, and for one from another source. See balance.ts for how runs are
// timed.

import { parseArgs } from 'node:util'
import { DEFAULT_POLICY } from '../src/model/policy.ts'
import { type Banning, bansOf } from '../test/support/bans.ts'
import { block, policy } from '../test/support/lists.ts'
import { Bench, type Outcome, openArrival, VERDICTS, type Workload } from './support/balance.ts'
import { conclude, median, table } from './support/report.ts'

const { values: options } = parseArgs({ options: { rounds: { type: 'string', default: '11' } } })

const HOUR = 3_600_000
/** Numbers of other bans, in a table with room for the most of them. */
const MANY = [1000, 100_000, 1_000_000]
const ROOM = 2 ** 20
/** Number of requests per run. */
const CHUNK = 4096
/** Source of the packets of a workload with one flow. */
const SOURCE = '11.0.0.0'
const OTHER = '10.0.0.1'

const PASSED: Outcome = { verdict: VERDICTS.pass, reason: 'default-pass' }
const DROPPED: Outcome = { verdict: VERDICTS.drop, reason: 'ban' }

interface Case {
  readonly name: string
  readonly bans: readonly Banning[]
  readonly outcome: Outcome
  readonly flows: number
}

const CASES: readonly Case[] = [
  { name: 'no bans', bans: [], outcome: PASSED, flows: 1 },
  { name: 'another source is banned', bans: [{ prefix: OTHER, ttlMs: HOUR }], outcome: PASSED, flows: 1 },
  { name: 'banned without an end', bans: [{ prefix: SOURCE }], outcome: DROPPED, flows: 1 },
  { name: 'banned for an hour', bans: [{ prefix: SOURCE, ttlMs: HOUR }], outcome: DROPPED, flows: 1 },
  {
    name: 'other sources of two prefix lengths are banned',
    bans: [{ prefix: OTHER, ttlMs: HOUR }, { prefix: '10.0.1.0/24' }],
    outcome: PASSED,
    flows: 1,
  },
  { name: 'no bans, packets from 65,536 sources', bans: [], outcome: PASSED, flows: 2 ** 16 },
  ...MANY.map((many) => ({
    name: `${many.toLocaleString('en')} other sources are banned, packets from 65,536 sources`,
    bans: Array.from({ length: many }, (_, i) => ({
      prefix: `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`,
      ttlMs: HOUR,
    })),
    outcome: PASSED,
    flows: 2 ** 16,
  })),
]

/** Nanoseconds above XDP_DROP, the median of rounds. */
async function measure(bench: Bench, { name, bans, outcome, flows }: Case, rounds: number): Promise<number> {
  const own = bansOf(bench.plane)
  for (let i = 0; i < bans.length; i += CHUNK) await own.ban(...bans.slice(i, i + CHUNK))
  const workload: Workload = { family: 4, protocol: 'tcp', flows, destination: '192.0.2.1' }
  await bench.prepare(workload)
  const times: number[] = []
  for (let round = 0; round < rounds; round++) {
    const drop = await bench.time({ name, program: 'do_drop', kind: 'frags', verdict: VERDICTS.drop }, workload)
    times.push((await bench.time(bench.subject(name, outcome), workload)) - drop)
  }
  for (let i = 0; i < bans.length; i += CHUNK) await own.unban(...bans.slice(i, i + CHUNK).map(({ prefix }) => prefix))
  return median(times)
}

const bench = await Bench.open('bans', openArrival())
try {
  const state = policy('pass', block('list', '198.51.100.0/24'))
  await bench.load({ ...state, policy: { ...DEFAULT_POLICY, bans: ROOM } })
  const results: { readonly name: string; readonly over: number }[] = []
  for (const one of CASES) results.push({ name: one.name, over: await measure(bench, one, Number(options.rounds)) })
  const rows = results.map(({ name, over }) => [name, over.toFixed(0)])
  console.log(table(['ns per packet above XDP_DROP', 'ours'], rows))
  conclude('bans', [], { results })
} finally {
  bench.close()
}

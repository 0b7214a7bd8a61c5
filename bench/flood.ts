// npm run bench flood [-- --rounds N] [-- --milliseconds N]: measures the receiver's CPU time per dropped frame of a
// flood, by filter, end to end over a veth pair.
//
// Rounds interleave all filters; every figure is the median over rounds, as a ratio to a program that only drops (one
// source), of the same run. A filter that passes a frame fails the benchmark.

import { parseArgs } from 'node:util'
import { publicAddresses } from './support/addresses.ts'
import { type Filter, type Filters, makeFilters } from './support/filters.ts'
import { type Flooded, type FloodHost, makeFloodHost, whyNoFlood } from './support/flood.ts'
import { makeHost } from './support/host.ts'
import { machineLoad } from './support/loaders.ts'
import { type Claim, conclude, median, table } from './support/report.ts'

const { values: options } = parseArgs({
  options: { rounds: { type: 'string', default: '3' }, milliseconds: { type: 'string', default: '2000' } },
})
/** Share of the frames; a filter is set up before the flood begins, so none should pass. */
const MOST_PASSED = 0

interface Measured {
  readonly filter: Filter
  readonly runs: Flooded[]
}

async function measure(host: FloodHost, { usable }: Filters): Promise<Measured[]> {
  const measured = usable.map((filter): Measured => ({ filter, runs: [] }))
  const rounds = Number(options.rounds)
  for (let round = 0; round < rounds; round++) {
    process.stderr.write(`round ${round + 1} of ${rounds}, load ${machineLoad()}\n`)
    for (const { filter, runs } of measured) {
      filter.set()
      try {
        const run = await host.flood(filter.sources, Number(options.milliseconds))
        if (!filter.passes && run.passed > MOST_PASSED) {
          throw new Error(`${filter.name}, ${filter.sources} sources: ${(100 * run.passed).toFixed(2)} % passed`)
        }
        runs.push(run)
      } finally {
        filter.clear()
      }
    }
  }
  return measured
}

const ns = ({ runs }: Measured): number => median(runs.map((run) => run.ns))

function print(measured: readonly Measured[], skipped: Filters['skipped']): void {
  const base = ns(measured[0] as Measured)
  const rows = measured
    .toSorted((a, b) => ns(a) - ns(b))
    .map((one) => [
      one.filter.name,
      one.filter.sources.toLocaleString('en'),
      ns(one).toFixed(0),
      `${Math.min(...one.runs.map((run) => run.ns)).toFixed(0)}-${Math.max(...one.runs.map((run) => run.ns)).toFixed(0)}`,
      (ns(one) / base).toFixed(2),
      (1e3 / ns(one)).toFixed(2),
      `${(100 * median(one.runs.map((run) => run.busy))).toFixed(0)} %`,
    ])
  console.log(table(['filter', 'sources', 'ns per frame', 'range', '× drop', 'Mpps per core', 'busy'], rows))
  for (const { name, reason } of skipped) console.log(`SKIP ${name}: ${reason}`)
}

function claimsOf(measured: readonly Measured[]): Claim[] {
  const of = (name: string, sources: number): number =>
    ns(measured.find(({ filter }) => filter.name === name && filter.sources === sources) as Measured)
  const xdp = of('xdp', 10_000)
  const drop = 'XDP drop, nothing else'
  const what = '10,000 listed sources against a bare drop'
  return [
    { what: `${what} of one source`, kind: 'target', limit: 1.6, measured: xdp / of(drop, 1) },
    { what: `${what} of as many sources`, kind: 'target', limit: 1.6, measured: xdp / of(drop, 10_000) },
  ]
}

const reason = whyNoFlood()
if (reason) {
  console.log(`SKIP: ${reason}`)
} else {
  const addresses = publicAddresses(1_000_000)
  const host = makeHost(`xb${process.pid}`)
  const floodHost = await makeFloodHost(host, addresses)
  const filters = makeFilters(host, addresses, floodHost.drop)
  const measured = await measure(floodHost, filters)
  print(measured, filters.skipped)
  conclude('flood', claimsOf(measured), {
    filters: measured.map(({ filter: { name, sources }, runs }) => ({ name, sources, runs })),
    skipped: filters.skipped,
  })
}

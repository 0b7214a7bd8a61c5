// npm run bench lookup [-- --all [--ten-million]]: measures the cost of one address lookup, in the address tables and
// in an LPM trie of the same prefixes.
//
// Every figure is the median over rounds. A round runs, in immediate succession and each in one test run of its
// program, 16,384 dependent lookups of random listed (hit) or unlisted (miss) addresses in either structure, and the
// same loop without a lookup, whose cost is subtracted. Each timed run comes after two untimed ones of the same kind.
// Compare ratios: nanoseconds depend on the machine and its other load.
//
// With --all also sets of growing size, BPF hashes of the single addresses, whole programs (ours and xdp-filter's) on
// packets, and docs/performance.svg.

import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { normalize } from '../src/model/ranges.ts'
import { drawChart } from './support/chart.ts'
import { costTable, measure, type Row, ratio } from './support/cost.ts'
import { compile, instanceMemory, stateOf } from './support/lookup.ts'
import { measurePackets, type PacketCost, whyNoXdpFilter } from './support/packets.ts'
import { type Claim, conclude, MIB, table } from './support/report.ts'
import { chartOf, measureSeries } from './support/series.ts'
import { hosts4, mixed6 } from './support/sets.ts'

const CHART = fileURLToPath(new URL('../../docs/performance.svg', import.meta.url))

const { values: options } = parseArgs({
  options: { all: { type: 'boolean', default: false }, 'ten-million': { type: 'boolean', default: false } },
})

/** Kernel memory of an instance with a ten-line file: five IPv4 and five IPv6 prefixes and hosts. */
async function tenLines(): Promise<number> {
  const v4 = normalize(
    4,
    Uint32Array.of(0x0a000000, 0xc0000200, 0xc6336400, 0xc6336501, 0xcb007100),
    Uint32Array.of(0x0affffff, 0xc00002ff, 0xc63364ff, 0xc6336501, 0xcb00717f),
  )
  const site = (number: number): number[] => [0x20010db8, number << 16, 0, 0]
  const ends = (number: number): number[] => [0x20010db8, (number << 16) | 0xffff, 0xffffffff, 0xffffffff]
  const sites = [1, 3, 5, 7]
  const v6 = normalize(
    6,
    Uint32Array.from([...sites.flatMap(site), 0x2a000000, 0, 0, 0]),
    Uint32Array.from([...sites.flatMap(ends), 0x2a00ffff, 0xffffffff, 0xffffffff, 0xffffffff]),
  )
  return instanceMemory(compile(stateOf([v4, v6])))
}

function budgets(rows: readonly Row[], ten: number): Claim[] {
  const [v4ten, v4small, v6, v4large] = rows as [Row, Row, Row, Row]
  const kind = 'budget'
  return [
    { kind, what: `${v4ten.set}: hit against the trie`, limit: 1, measured: ratio(v4ten.hit) },
    { kind, what: `${v4ten.set}: miss against the trie`, limit: 1, measured: ratio(v4ten.miss) },
    { kind, what: `${v4small.set}: hit against the trie`, limit: 1, measured: ratio(v4small.hit) },
    { kind, what: `${v4small.set}: miss against the trie`, limit: 1, measured: ratio(v4small.miss) },
    { kind, what: `${v4large.set}: hit against the trie`, limit: 1 / 6, measured: ratio(v4large.hit) },
    { kind, what: `${v4large.set}: miss against the trie`, limit: 1 / 20, measured: ratio(v4large.miss) },
    { kind, what: `${v6.set}: hit against the trie`, limit: 1 / 2, measured: ratio(v6.hit) },
    { kind, what: `${v6.set}: miss against the trie`, limit: 1 / 4, measured: ratio(v6.miss) },
    { kind, what: `${v4large.set}: kernel memory`, limit: 32, measured: v4large.memory.tables / MIB, unit: 'MiB' },
    { kind, what: 'a ten-line file: kernel memory', limit: 4, measured: ten / MIB, unit: 'MiB' },
  ]
}

/** Targets beyond the budgets. */
function targets(rows: readonly Row[]): Claim[] {
  const [, , v6, v4] = rows as [Row, Row, Row, Row]
  const kind = 'target'
  return [
    { kind, what: `${v4.set}: hit against the trie`, limit: 1 / 9, measured: ratio(v4.hit) },
    { kind, what: `${v4.set}: miss against the trie`, limit: 1 / 35, measured: ratio(v4.miss) },
    { kind, what: `${v4.set}: memory per prefix`, limit: 20, measured: v4.memory.tables / v4.prefixes, unit: 'bytes' },
    { kind, what: `${v6.set}: hit against the trie`, limit: 1 / 7, measured: ratio(v6.hit) },
    { kind, what: `${v6.set}: miss against the trie`, limit: 1 / 12, measured: ratio(v6.miss) },
  ]
}

function printPackets(packets: readonly PacketCost[]): void {
  const cells = (cost: PacketCost['theirs']): string[] => [cost?.miss.toFixed(0) ?? '-', cost?.hit.toFixed(0) ?? '-']
  const head = ['whole programs, ns per packet', 'miss', 'hit', 'xdp-filter: miss', 'hit']
  const rows = packets.map(({ count, ours, theirs }) => [
    `${count.toLocaleString('en')} IPv4 hosts`,
    ...cells(ours),
    ...cells(theirs),
  ])
  console.log(table(head, rows))
  const reason = whyNoXdpFilter()
  if (reason) console.log(`SKIP xdp-filter: ${reason}`)
}

// The largest set comes last: freeing a trie of a million entries keeps a CPU busy for a second.
const rows = [
  await measure('10 IPv4 hosts', hosts4(10)),
  await measure('10,000 IPv4 hosts', hosts4(10_000)),
  await measure('100,000 IPv6 prefixes', mixed6(100_000)),
  await measure('1,000,000 IPv4 hosts', hosts4(1_000_000)),
]
const claims = [...budgets(rows, await tenLines()), ...targets(rows)]
const series = options.all ? await measureSeries(options['ten-million']) : []
for (const measured of [rows, ...series.map((one) => one.rows)]) console.log(`${table(...costTable(measured))}\n`)
const packets = options.all ? await measurePackets() : []
if (options.all) {
  writeFileSync(CHART, drawChart(chartOf(series)))
  printPackets(packets)
}
conclude('lookup', claims, { rows, ...(options.all ? { series, packets } : {}) })

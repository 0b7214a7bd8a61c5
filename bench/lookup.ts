// npm run bench lookup: what one address lookup costs, in the address tables and in an LPM trie of the same prefixes.
//
// Every figure is the median over rounds. A round runs, one right after the other and each in one test run of its
// program, 16,384 dependent lookups of random listed (hit) or unlisted (miss) addresses in either structure, and the
// same loop without a lookup, whose cost is subtracted. Each timed run comes after two of the same kind that are not
// timed. Compare ratios: nanoseconds depend on the machine and on whoever else uses it.

import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { normalize } from '../src/model/ranges.ts'
import { compile, instanceMemory, load, stateOf } from './support/lookup.ts'
import { hosts4, mixed6, type Workload } from './support/sets.ts'

const ROUNDS = 21
const MIB = 2 ** 20
const REPORT = fileURLToPath(new URL('./lookup.json', import.meta.url))

interface Cost {
  readonly tables: number
  readonly trie: number
}

interface Row {
  readonly set: string
  readonly prefixes: number
  /** Nanoseconds a lookup. */
  readonly hit: Cost
  readonly miss: Cost
  /** Nanoseconds of the loop without a lookup. */
  readonly loop: number
  /** Bytes of kernel memory. */
  readonly memory: Cost
  /** Milliseconds. */
  readonly compile: number
}

interface Budget {
  readonly what: string
  readonly limit: number
  readonly measured: number
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[sorted.length >> 1] as number
}

async function measure(set: string, workload: Workload): Promise<Row> {
  process.stderr.write(`${set} …\n`)
  const loaded = await load(workload, ROUNDS)
  try {
    const times = await loaded.measure(ROUNDS)
    const loop = median(times.nothing)
    // A lookup cannot cost nothing; the timer cannot tell less than this.
    const net = (values: readonly number[]): number => Math.max(0.1, median(values) - loop)
    return {
      set,
      prefixes: loaded.prefixes,
      hit: { tables: net(times.tableHit), trie: net(times.trieHit) },
      miss: { tables: net(times.tableMiss), trie: net(times.trieMiss) },
      loop,
      memory: { tables: loaded.memory, trie: loaded.trieMemory },
      compile: loaded.compile,
    }
  } finally {
    loaded.close()
  }
}

/** What an instance takes whose file has ten lines: five IPv4 and five IPv6 prefixes and hosts. */
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

const ratio = ({ tables, trie }: Cost): number => tables / trie

function budgets(rows: readonly Row[], ten: number): Budget[] {
  const [v4ten, v4small, v6, v4large] = rows as [Row, Row, Row, Row]
  return [
    { what: `${v4ten.set}: hit against the trie`, limit: 1, measured: ratio(v4ten.hit) },
    { what: `${v4ten.set}: miss against the trie`, limit: 1, measured: ratio(v4ten.miss) },
    { what: `${v4small.set}: hit against the trie`, limit: 1, measured: ratio(v4small.hit) },
    { what: `${v4small.set}: miss against the trie`, limit: 1, measured: ratio(v4small.miss) },
    { what: `${v4large.set}: hit against the trie`, limit: 1 / 6, measured: ratio(v4large.hit) },
    { what: `${v4large.set}: miss against the trie`, limit: 1 / 20, measured: ratio(v4large.miss) },
    { what: `${v6.set}: hit against the trie`, limit: 1 / 2, measured: ratio(v6.hit) },
    { what: `${v6.set}: miss against the trie`, limit: 1 / 4, measured: ratio(v6.miss) },
    { what: `${v4large.set}: MiB of kernel memory`, limit: 32, measured: v4large.memory.tables / MIB },
    { what: 'a ten-line file: MiB of kernel memory', limit: 4, measured: ten / MIB },
  ]
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => (row[column] as string).length)),
  )
  const line = (cells: readonly string[]): string =>
    cells.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] as number) : cell.padStart(widths[i] as number))).join('  ')
  return [head, widths.map((width) => '-'.repeat(width)), ...rows].map(line).join('\n')
}

const isMet = ({ limit, measured }: Budget): boolean => measured <= limit
const ns = (value: number): string => value.toFixed(value < 10 ? 1 : 0)
const fraction = (value: number): string => (value < 1 ? `1/${(1 / value).toFixed(1)}` : value.toFixed(2))

function print(rows: readonly Row[], checked: readonly Budget[]): void {
  const costs = rows.map(({ set, hit, miss, memory, compile }) => [
    set,
    ...[miss, hit].flatMap((cost) => [ns(cost.tables), ns(cost.trie), fraction(ratio(cost))]),
    (memory.tables / MIB).toFixed(1),
    memory.trie > MIB ? (memory.trie / MIB).toFixed(1) : '-',
    compile.toFixed(0),
  ])
  const head = ['ns a lookup', 'miss', 'LPM', '', 'hit', 'LPM', '', 'MiB', 'LPM', 'compile ms']
  console.log(table(head, costs))
  console.log()
  const shown = (value: number, what: string): string => (what.includes('MiB') ? value.toFixed(1) : fraction(value))
  console.log(
    table(
      ['budget', 'limit', 'measured', ''],
      checked.map((budget) => [
        budget.what,
        shown(budget.limit, budget.what),
        shown(budget.measured, budget.what),
        isMet(budget) ? 'met' : 'MISSED',
      ]),
    ),
  )
}

// The largest comes last: freeing a trie of a million entries keeps a CPU busy for a second.
const rows = [
  await measure('10 IPv4 hosts', hosts4(10)),
  await measure('10,000 IPv4 hosts', hosts4(10_000)),
  await measure('100,000 IPv6 prefixes', mixed6(100_000)),
  await measure('1,000,000 IPv4 hosts', hosts4(1_000_000)),
]
const checked = budgets(rows, await tenLines())
print(rows, checked)
mkdirSync(dirname(REPORT), { recursive: true })
writeFileSync(
  REPORT,
  `${JSON.stringify({ rows, budgets: checked.map((budget) => ({ ...budget, met: isMet(budget) })) }, null, 2)}\n`,
)
if (!checked.every(isMet)) process.exitCode = 1

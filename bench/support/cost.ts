// Cost of one lookup in each structure: medians over rounds, without the loop around it.

import { load } from './lookup.ts'
import { MIB, median, ratioText } from './report.ts'
import type { Workload } from './sets.ts'

export const ROUNDS = 21

export interface Cost {
  readonly tables: number
  readonly trie: number
  /** For sets of single addresses, if requested. */
  readonly hash?: number
}

export interface Row {
  readonly set: string
  readonly prefixes: number
  /** Nanoseconds per lookup. */
  readonly hit: Cost
  readonly miss: Cost
  /** Nanoseconds of the loop without a lookup. */
  readonly loop: number
  /** Bytes of kernel memory. */
  readonly memory: Cost
  /** Milliseconds. */
  readonly compile: number
}

export async function measure(set: string, workload: Workload, withHash = false, rounds = ROUNDS): Promise<Row> {
  process.stderr.write(`${set} …\n`)
  const loaded = await load(workload, rounds, withHash)
  try {
    const times = await loaded.measure(rounds)
    const loop = median(times.nothing)
    // A lookup always costs something; smaller differences are below the timer's resolution.
    const net = (values: readonly number[]): number => Math.max(0.1, median(values) - loop)
    const hash = (values: readonly number[]): { hash?: number } => (values.length > 0 ? { hash: net(values) } : {})
    return {
      set,
      prefixes: loaded.prefixes,
      hit: { tables: net(times.tableHit), trie: net(times.trieHit), ...hash(times.hashHit) },
      miss: { tables: net(times.tableMiss), trie: net(times.trieMiss), ...hash(times.hashMiss) },
      loop,
      memory: { tables: loaded.memory, trie: loaded.trieMemory },
      compile: loaded.compile,
    }
  } finally {
    loaded.close()
  }
}

export const ratio = ({ tables, trie }: Cost): number => tables / trie
const ns = (value: number | undefined): string => value?.toFixed(value < 10 ? 1 : 0) ?? '-'

/** Head and rows of the table of costs. */
export function costTable(rows: readonly Row[]): [readonly string[], readonly (readonly string[])[]] {
  const withHash = rows.some(({ hit }) => hit.hash !== undefined)
  const one = (name: string): string[] => [name, 'LPM', 'ours/LPM', ...(withHash ? ['hash'] : [])]
  const cells = (cost: Cost): string[] => [
    ns(cost.tables),
    ns(cost.trie),
    ratioText(ratio(cost)),
    ...(withHash ? [ns(cost.hash)] : []),
  ]
  const body = rows.map((row) => [
    row.set,
    ...[row.miss, row.hit].flatMap(cells),
    (row.memory.tables / MIB).toFixed(1),
    row.memory.trie > MIB ? (row.memory.trie / MIB).toFixed(1) : '-',
    row.compile.toFixed(0),
  ])
  return [['ns per lookup', ...one('miss'), ...one('hit'), 'MiB', 'LPM', 'compile ms'], body]
}

// Lookups in sets of growing size, as a table and a chart.

import type { Chart, Line } from './chart.ts'
import { measure, type Row } from './cost.ts'
import { hosts4, mixed4, mixed6, type Workload } from './sets.ts'

const SIZES = [10, 1000, 100_000, 1_000_000]
/** Fewer rounds for ten million: the queries alone would take hundreds of megabytes. */
const LARGE = { size: 10_000_000, rounds: 7 }

export interface Series {
  readonly name: string
  readonly rows: readonly Row[]
}

const KINDS: readonly (readonly [string, (count: number) => Workload])[] = [
  ['IPv4 hosts', hosts4],
  ['IPv4 mixture', mixed4],
  ['IPv6 mixture', mixed6],
]

export async function measureSeries(large: boolean): Promise<Series[]> {
  const series: Series[] = []
  for (const [name, make] of KINDS) {
    const rows: Row[] = []
    for (const size of SIZES) rows.push(await measure(`${size.toLocaleString('en')} ${name}`, make(size), true))
    if (large && make === hosts4) {
      rows.push(await measure(`${LARGE.size.toLocaleString('en')} ${name}`, make(LARGE.size), true, LARGE.rounds))
    }
    series.push({ name, rows })
  }
  return series
}

const COLOURS = { tables: 'blue', trie: 'red', hash: 'violet' } as const
const NAMES = { tables: 'xdp', trie: 'LPM trie', hash: 'BPF hash' } as const

function linesOf(rows: readonly Row[]): Line[] {
  return (['tables', 'trie', 'hash'] as const).flatMap((structure) =>
    (['miss', 'hit'] as const).flatMap((outcome): Line[] => {
      const points = rows.flatMap((row): [number, number][] => {
        const cost = row[outcome][structure]
        // Values below one nanosecond are noise.
        return cost === undefined ? [] : [[row.prefixes, Math.max(1, cost)]]
      })
      const line = { name: `${NAMES[structure]}, ${outcome}`, colour: COLOURS[structure], dashed: outcome === 'miss' }
      return points.length > 0 ? [{ ...line, points }] : []
    }),
  )
}

export const chartOf = (series: readonly Series[]): Chart => ({
  title: 'One lookup of a random source address, nanoseconds above the loop around it',
  x: 'prefixes listed',
  y: 'nanoseconds',
  panels: series.map(({ name, rows }) => ({ title: name, lines: linesOf(rows) })),
})

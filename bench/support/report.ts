// Shared by all benchmarks: medians, tables, and comparisons of figures with their limits.

import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export interface Claim {
  readonly what: string
  /** Missing a budget fails the benchmark; missing a target does not. */
  readonly kind: 'budget' | 'target'
  readonly limit: number
  readonly measured: number
  /** Unit of limit and measured; default: a ratio. */
  readonly unit?: 'MiB' | 'bytes' | 'ms' | 'ns' | 'instructions'
}

export const MIB = 2 ** 20

/** The upper of the two middle values if their number is even. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[sorted.length >> 1] as number
}

export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => (row[column] as string).length)),
  )
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, i) => (i === 0 ? cell.padEnd(widths[i] as number) : cell.padStart(widths[i] as number)))
      .join('  ')
      .trimEnd()
  return [head, widths.map((width) => '-'.repeat(width)), ...rows].map(line).join('\n')
}

export const isMet = ({ limit, measured }: Claim): boolean => measured <= limit
/** A ratio of 1/4 or less as a fraction, any other as a factor. */
export const ratioText = (value: number): string => (value <= 0.25 ? `1/${(1 / value).toFixed(1)}` : value.toFixed(2))
const shown = (value: number, { unit }: Claim): string =>
  unit ? `${value.toFixed(unit === 'instructions' ? 0 : 1)} ${unit}` : ratioText(value)

/** Prints the claims, writes the report beside the bundle, and sets the exit status. */
export function conclude(name: string, claims: readonly Claim[], results: Readonly<Record<string, unknown>>): void {
  if (claims.length > 0) {
    const rows = claims.map((claim) => [
      `${claim.kind}: ${claim.what}`,
      shown(claim.limit, claim),
      shown(claim.measured, claim),
      isMet(claim) ? 'met' : 'MISSED',
    ])
    console.log(`\n${table(['', 'limit', 'measured', ''], rows)}`)
  }
  const report = join(dirname(fileURLToPath(import.meta.url)), `${name}.json`)
  mkdirSync(dirname(report), { recursive: true })
  const judged = claims.map((claim) => ({ ...claim, met: isMet(claim) }))
  writeFileSync(report, `${JSON.stringify({ ...results, claims: judged }, null, 2)}\n`)
  if (claims.some((claim) => claim.kind === 'budget' && !isMet(claim))) process.exitCode = 1
}

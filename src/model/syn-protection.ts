// `syn_protection` as the setting of a policy: a text, in canonical form, so that equal settings are equal texts.

import { formatCount } from './numbers.ts'
import { formatPorts, type PortRange } from './ports.ts'

/** `auto`: SYNs are answered while a flood lasts. */
export type SynMode = 'auto' | 'always'

export interface SynProtection {
  readonly mode: SynMode
  /** SYNs per second without completion that begin a flood. */
  readonly threshold: number
  /** Ports of this host: disjoint, ascending and not adjacent. */
  readonly ports: readonly PortRange[]
}

/** SYNs per second. */
export const SYN_THRESHOLD = { least: 10, most: 1_000_000, initial: 2000 } as const

/** `auto 2000 443,8000-8099`. */
export const synText = ({ mode, threshold, ports }: SynProtection): string =>
  `${mode} ${threshold} ${ports.map(formatPorts).join(',')}`

const FORM = /^(auto|always) (\d+) ([\d,-]+)$/

/** undefined: the text is empty, which stands for no protection. */
export function parseSyn(text: string): SynProtection | undefined {
  const [, mode, threshold = '', ports = ''] = FORM.exec(text) ?? []
  if (mode === undefined) return undefined
  const ranges = ports.split(',').map((range) => {
    const [first = 0, last = first] = range.split('-').map(Number)
    return { first, last }
  })
  return { mode: mode as SynMode, threshold: Number(threshold), ports: ranges }
}

/** For people: `auto from 2,000 SYNs/s on ports 443, 8000-8099`. */
export function shownSyn(text: string): string {
  const protection = parseSyn(text)
  if (protection === undefined) return 'none'
  const { mode, threshold, ports } = protection
  const when = mode === 'auto' ? `auto from ${formatCount(threshold)} SYNs/s` : 'always'
  return `${when} on ports ${ports.map(formatPorts).join(', ')}`
}

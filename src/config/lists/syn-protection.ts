// `syn_protection:` → the setting of the policy.

import type { Location } from '../../diagnostics.ts'
import { formatPorts } from '../../model/ports.ts'
import { canonicalPorts } from '../../model/scope.ts'
import { SYN_THRESHOLD, synText } from '../../model/syn-protection.ts'
import { readPortRanges } from '../entries/scope.ts'
import type { Part } from '../text/part.ts'
import { keyLocation, type Reading, reportAt } from '../text/place.ts'
import type { Report } from '../text/report.ts'
import type { Placed } from '../text/tree.ts'
import type { WrittenPorts, WrittenSynProtection } from '../text/written.ts'

/** Port ranges that fit into its line of the tables. */
const MOST_RANGES = 15

export interface PlacedSyn {
  /** As in a policy; empty: none. */
  readonly text: string
  /** Place of the key; undefined: not written. */
  readonly at: Location | undefined
}

function refusePortZero(written: WrittenPorts, placed: Placed, reading: Reading): void {
  const items = Array.isArray(written) ? (written as readonly (number | string)[]) : [written as number | string]
  for (const [index, item] of items.entries()) {
    const [first, last = 0] = `${item}`.split('-').map(Number)
    if (first !== 0) continue
    const hint = last === 0 ? 'remove it' : `write "${formatPorts({ first: 1, last })}"`
    reportAt(reading, placed.items?.[index] ?? placed, 'E253', 'no connection has port 0', hint)
  }
}

/** The setting in the top file. Reports wrong ranges, port 0, and too many of them. */
export function readSynProtection({ root, source, wrong }: Part, report: Report): PlacedSyn {
  const placed = root.fields?.get('syn_protection')
  if (placed === undefined || [...wrong].some((path) => /^syn_protection(?:\/|$)/.test(path)))
    return { text: '', at: undefined }
  const { ports: written, mode = 'auto', threshold = SYN_THRESHOLD.initial } = placed.value as WrittenSynProtection
  const at = placed.fields?.get('ports') ?? placed
  const reading = { source, report }
  const ports = canonicalPorts(readPortRanges(written, at, reading))
  refusePortZero(written, at, reading)
  if (ports.length > MOST_RANGES) {
    const message = `syn_protection names ${ports.length} separate port ranges, but at most ${MOST_RANGES} fit`
    const hint = 'join neighbouring ranges: ports in between that nothing listens on are left alone'
    report.error('E253', source.locate(at.from, at.to), message, hint)
  }
  const text = mode === 'off' || ports.length === 0 ? '' : synText({ mode, threshold, ports })
  return { text, at: keyLocation({ source }, placed) }
}

// `syn_protection:` → the setting of the policy.

import { formatPorts } from '../../model/ports.ts'
import { canonicalPorts } from '../../model/scope.ts'
import { SYN_THRESHOLD, synText } from '../../model/syn-protection.ts'
import { readPortRanges } from '../entries/scope.ts'
import type { Part } from '../text/part.ts'
import type { Report } from '../text/report.ts'
import type { WrittenSynProtection } from '../text/written.ts'

/** Port ranges that fit into its line of the tables. */
const MOST_RANGES = 15

/** The setting in the top file; empty: none. Reports wrong ranges, port 0, and too many of them. */
export function readSynProtection({ root, source, wrong }: Part, report: Report): string {
  const placed = root.fields?.get('syn_protection')
  if (placed === undefined || [...wrong].some((path) => /^syn_protection(?:\/|$)/.test(path))) return ''
  const { ports: written, mode = 'auto', threshold = SYN_THRESHOLD.initial } = placed.value as WrittenSynProtection
  const at = placed.fields?.get('ports') ?? placed
  const ports = canonicalPorts(readPortRanges(written, at, { source, report }))
  if (ports[0]?.first === 0) {
    const rest = ports[0].last === 0 ? 'remove it' : `write "${formatPorts({ first: 1, last: ports[0].last })}"`
    report.error('E253', source.locate(at.from, at.to), 'no connection has port 0', rest)
  }
  if (ports.length > MOST_RANGES) {
    const message = `syn_protection names ${ports.length} separate port ranges, but at most ${MOST_RANGES} fit`
    const hint = 'join neighbouring ranges: ports in between that nothing listens on are left alone'
    report.error('E253', source.locate(at.from, at.to), message, hint)
  }
  return mode === 'off' || ports.length === 0 ? '' : synText({ mode, threshold, ports })
}

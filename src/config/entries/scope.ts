// Protocol and ports of an entry → its scope in canonical form.

import { type PortRange, PROTOCOL_NUMBERS } from '../../model/ports.ts'
import { ANY, canonicalPorts } from '../../model/scope.ts'
import type { Scope } from '../../model/state.ts'
import type { Report } from '../text/report.ts'
import { quote } from '../text/show.ts'
import type { Source } from '../text/source.ts'
import type { Placed } from '../text/tree.ts'
import type { WrittenEntry, WrittenPorts } from '../text/written.ts'

interface Context {
  readonly source: Source
  readonly report: Report
}

/** The ports a value names. Reports invalid ranges. */
function readPorts(
  written: WrittenPorts | undefined,
  placed: Placed | undefined,
  { source, report }: Context,
): PortRange[] {
  if (written === undefined || placed === undefined) return []
  const items = Array.isArray(written) ? (written as readonly (number | string)[]) : [written as number | string]
  return items.flatMap((item, index) => {
    if (typeof item === 'number') return [{ first: item, last: item }]
    const [first = 0, last = 0] = item.split('-').map(Number)
    if (first <= last && last <= 65_535) return [{ first, last }]
    const { from, to } = placed.items?.[index] ?? placed
    const message = last > 65_535 || first > 65_535 ? 'names a port above 65535' : 'ends before it starts'
    const hint = message.startsWith('ends') ? `write "${last}-${first}"` : 'ports go from 0 to 65535'
    report.error('E028', source.locate(from, to), `the port range ${quote(item)} ${message}`, hint)
    return []
  })
}

const PROTOCOLS = { ...PROTOCOL_NUMBERS, icmp: 'icmp' } as const

/** The packets that an entry applies to. Reports invalid port ranges. */
export function readScope(entry: WrittenEntry, placed: Placed, context: Context): Scope {
  const { protocol } = entry
  if (protocol === undefined) return ANY
  const port = (key: 'source_port' | 'destination_port'): readonly PortRange[] =>
    canonicalPorts(readPorts(entry[key], placed.fields?.get(key), context))
  return {
    protocol: typeof protocol === 'number' ? protocol : PROTOCOLS[protocol],
    sourcePorts: port('source_port'),
    destinationPorts: port('destination_port'),
  }
}

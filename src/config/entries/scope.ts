// Protocol, ports and interfaces of an entry → its scope in canonical form.

import type { Address } from '../../model/address.ts'
import { INTERFACE_SETS } from '../../model/limits.ts'
import { nearest } from '../../model/nearest.ts'
import type { Established } from '../../model/policy.ts'
import { type PortRange, TCP, WRITTEN_PROTOCOLS } from '../../model/ports.ts'
import { ANY, canonicalPorts } from '../../model/scope.ts'
import type { ListKind, Scope } from '../../model/state.ts'
import type { OwnHost } from '../text/own-host.ts'
import type { Report } from '../text/report.ts'
import { quote } from '../text/show.ts'
import type { Source } from '../text/source.ts'
import type { Placed } from '../text/tree.ts'
import type { WrittenEntry, WrittenPorts } from '../text/written.ts'
import { readMatch } from './match.ts'

/** The interfaces of a config, and the sets of them that entries have named so far. */
export interface KnownInterfaces {
  readonly names: ReadonlySet<string>
  /** Names joined by spaces. */
  readonly sets: Set<string>
  /** VIPs of its services, by name. */
  readonly vips: ReadonlyMap<string, Address>
  readonly host: OwnHost
}

export interface ScopeContext {
  readonly source: Source
  readonly report: Report
  readonly interfaces: KnownInterfaces
}

/** The ports a value names. Reports invalid ranges. */
export function readPortRanges(
  written: WrittenPorts | undefined,
  placed: Placed | undefined,
  { source, report }: Pick<ScopeContext, 'source' | 'report'>,
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

function unknownInterface(name: string, { from, to }: Placed, { source, report, interfaces }: ScopeContext): void {
  const meant = nearest(name, interfaces.names)
  const known = [...interfaces.names].sort()
  const some = `${known.slice(0, 8).join(', ')}${known.length > 8 ? ', …' : ''}`
  const hint = meant === undefined ? `the interfaces of the config are ${some}` : `did you mean ${meant}?`
  report.error('E056', source.locate(from, to), `the config has no interface ${quote(name)}`, hint)
}

/** The interfaces that an entry names, sorted. Reports unknown ones. */
export function readInterfaces(
  written: readonly string[] | undefined,
  placed: Placed | undefined,
  context: ScopeContext,
): readonly string[] | undefined {
  if (written === undefined || placed === undefined) return undefined
  const { source, report, interfaces } = context
  for (const [index, name] of written.entries()) {
    if (!interfaces.names.has(name)) unknownInterface(name, placed.items?.[index] ?? placed, context)
  }
  const sorted = written.toSorted()
  const known = interfaces.sets.size
  interfaces.sets.add(sorted.join(' '))
  if (known === INTERFACE_SETS && interfaces.sets.size > known) {
    const message = `entries name more than ${INTERFACE_SETS} different sets of interfaces`
    const hint = 'give entries for similar interfaces equal `interfaces`'
    report.error('E216', source.locate(placed.from, placed.to), message, hint)
  }
  return sorted
}

/** Whether connections of this host pass an entry of a blocklist. Reports the key in an allowlist. */
function readEstablished(
  kind: ListKind,
  { established }: WrittenEntry,
  placed: Placed,
  { source, report }: ScopeContext,
): Established | undefined {
  const key = placed.fields?.get('established')
  if (kind === 'blocklist' || established === undefined || key === undefined) return established
  const message = 'an allowlist drops nothing that `established` could let pass'
  report.error('E057', source.locate(key.from, key.to), message, 'remove the key, or write the entry under blocklist')
  return undefined
}

/** Whether an entry applies only to packets without a socket. Reports where the key cannot be meant. */
function readSocket(
  kind: ListKind,
  { socket, protocol, established }: WrittenEntry,
  placed: Placed,
  { source, report }: ScopeContext,
): 'none' | undefined {
  const key = placed.fields?.get('socket')
  if (socket === undefined || key === undefined) return undefined
  const at = source.locate(key.from, key.to)
  const refuse = (message: string, hint: string): undefined => {
    report.error('E250', at, message, hint)
  }
  if (kind === 'allowlist')
    return refuse(
      'an allowlist has no packets of floods that `socket: none` could match',
      'write the entry under blocklist',
    )
  if (protocol !== 'tcp' && protocol !== TCP)
    return refuse('`socket: none` applies to TCP packets only', 'add `protocol: tcp` to the entry')
  if (established !== undefined)
    return refuse(
      'a packet without a socket belongs to no connection that `established` could let pass',
      'remove `established` from the entry',
    )
  return socket
}

/** Whether an entry only observes. Reports the key in an allowlist. */
function readAction(
  kind: ListKind,
  { action }: WrittenEntry,
  placed: Placed,
  { source, report }: ScopeContext,
): 'observe' | undefined {
  const key = placed.fields?.get('action')
  if (action === undefined || key === undefined) return undefined
  if (kind === 'blocklist') return action === 'observe' ? action : undefined
  const message = 'an entry of the allowlist drops nothing that `action` could be about'
  report.error('E126', source.locate(key.from, key.to), message, 'remove the key, or write the entry under blocklist')
  return undefined
}

/** The packets that an entry applies to. Reports invalid port ranges, unknown interfaces, and keys of the other list. */
export function readScope(kind: ListKind, entry: WrittenEntry, placed: Placed, context: ScopeContext): Scope {
  const { protocol } = entry
  const established = readEstablished(kind, entry, placed, context)
  const interfaces = readInterfaces(entry.interfaces, placed.fields?.get('interfaces'), context)
  const socket = readSocket(kind, entry, placed, context)
  const match = readMatch(entry, placed, { ...context, vips: context.interfaces.vips, host: context.interfaces.host })
  const action = readAction(kind, entry, placed, context)
  const limited = {
    ...(interfaces && { interfaces }),
    ...(established && { established }),
    ...(socket && { socket }),
    ...(match && { match }),
    ...(action && { action }),
  }
  if (protocol === undefined) return { ...ANY, ...limited }
  const port = (key: 'source_port' | 'destination_port'): readonly PortRange[] =>
    canonicalPorts(readPortRanges(entry[key], placed.fields?.get(key), context))
  return {
    protocol: typeof protocol === 'number' ? protocol : WRITTEN_PROTOCOLS[protocol],
    sourcePorts: port('source_port'),
    destinationPorts: port('destination_port'),
    ...limited,
  }
}

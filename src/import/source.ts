// The import room: the configuration of another filter → lists and a default, that of another balancer → services.
// Parsers turn the output of a tool, as bytes, into `Imported`; document.ts turns that into a config and its list files.
// This room reads no file and starts no tool. If a config cannot express a rule exactly, the import drops fewer packets
// than the source, never more, and reports it: a rule that drops is left out, and a rule that lets packets pass stands
// for every packet it may match. A service sends packets where its source does, or the import is refused.

import type { Diagnostic } from '../diagnostics.ts'
import type { AddressSet } from '../model/address.ts'
import type { AnomalyName } from '../model/anomaly.ts'
import type { DefaultVerdict, Established } from '../model/policy.ts'
import type { PortRange } from '../model/ports.ts'
import type { AttachMode, ListKind, Scope } from '../model/state.ts'
import type { RateSpec } from './rate-spec.ts'

export const SOURCES = ['ipset', 'nft', 'xdp-filter', 'iptables', 'keepalived', 'ipvsadm'] as const
export type SourceName = (typeof SOURCES)[number]

/** Behaviour of the source that a config cannot express and that the user may choose to leave out. */
export const IGNORABLE = [
  'state',
  'forwarding',
  'fragments',
  'services',
  'checks',
  'persistence',
  'thresholds',
] as const
export type Ignorable = (typeof IGNORABLE)[number]

/** The output of a tool. */
export interface Printed {
  /** Name for messages: a path, or the command that printed the output. */
  readonly name: string
  readonly bytes: Uint8Array
}

/**
 * The files that an include names, by its pattern and the file that contains it; undefined if it names one file, which
 * cannot be read.
 */
export type Include = (pattern: string, from: string) => readonly Printed[] | undefined

export interface Input extends Printed {
  /** Interfaces of the new policy, as far as they are known; rules for other interfaces are ignored. */
  readonly interfaces: readonly string[]
  /** Output of further tools: of ip6tables-save and ipset save, for iptables-save. */
  readonly beside?: readonly Printed[]
  /**
   * `state`: rules that accept packets by the state of their connection count as absent, apart from `established`. `forwarding`: drops of local
   * packets may apply to forwarded ones. `fragments`: later fragments of an accepted port may be dropped. `services`:
   * virtual servers that no service is like may be left out. `checks`: backends may have weaker checks, or none.
   * `persistence`: clients of one network may go to different backends. `thresholds`: backends have no limit of
   * connections.
   */
  readonly ignore?: readonly Ignorable[]
  /** undefined: the source includes no files. */
  readonly include?: Include | undefined
}

/** The bytes as a Buffer, without a copy. */
export const bufferOf = ({ bytes }: Printed): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)

/** One entry of a config: addresses under one scope. */
export interface ImportedList {
  readonly kind: ListKind
  /** undefined: an entry without a name, which belongs to the list named like its kind. */
  readonly name: string | undefined
  readonly scope: Scope
  readonly addresses: AddressSet
  /** The comment in the source. */
  readonly comment: string | undefined
  /** Places in the source: `iptables-save:7`. */
  readonly places: readonly string[]
}

/** One rate limit of a config. */
export interface ImportedLimit {
  readonly name: string
  readonly scope: Scope
  /** undefined: every source. */
  readonly sources: AddressSet | undefined
  readonly rate: RateSpec
  readonly place: Place
}

/** One service of a config. */
export interface ImportedService {
  /** Describes it; names.ts makes it a valid and unique name. */
  readonly name: string
  readonly place: Place
  /** Keys and values as a config has them, in the order of the config. */
  readonly fields: Readonly<Record<string, unknown>>
}

export interface ImportedInterface {
  readonly name: string
  /** undefined: the source does not say. */
  readonly mode: AttachMode | undefined
}

export interface Imported {
  /** Interfaces that the source names. */
  readonly interfaces: readonly ImportedInterface[]
  readonly default: DefaultVerdict
  /** Whether packets of connections that this host opened pass a default drop; undefined: they do not. */
  readonly established?: Established
  readonly lists: readonly ImportedList[]
  /** Anomalies to drop. */
  readonly anomalies?: readonly AnomalyName[]
  readonly limits?: readonly ImportedLimit[]
  /** Limits that are near to rules that were left out. */
  readonly suggestions?: readonly ImportedLimit[]
  /** Ports whose SYNs the source answers with cookies. */
  readonly protects?: readonly PortRange[]
  /** undefined: the source is no balancer. */
  readonly services?: readonly ImportedService[]
  /**
   * Rules that were left out or imported with a loss: W400; drops that lost packets to an earlier rule: W403; rules that
   * accept known connections: W402. Of a
   * balancer: W241 for packets that go elsewhere, W242 for other shares or times.
   */
  readonly leftOut: readonly Diagnostic[]
  /**
   * Why the lists may drop packets that the source lets through, or the services send them elsewhere; undefined if they
   * cannot.
   */
  readonly refusal?: Diagnostic | undefined
}

/** A place in the source: `ipset save:7` for a line, else in words. */
export interface Place {
  readonly text: string
  readonly file?: string
  readonly line?: number
}

export const linePlace = (file: string, line: number): Place => ({ text: `${file}:${line}`, file, line })

/** The warning for a rule that the config cannot express. */
export const leftOut = (place: Place, message: string): Diagnostic => warning('W400', place, message)

/** The warning for a rule that lets more packets pass, or drops fewer, than in the source. */
export const widened = (place: Place, message: string): Diagnostic => warning('W403', place, message)

/** The warning for a rule that accepts known connections, as `established` does for most of them. */
export const replyRule = (place: Place, message: string): Diagnostic => warning('W402', place, message)

function warning(code: 'W400' | 'W402' | 'W403', { text, file, line }: Place, message: string): Diagnostic {
  const base = { code, severity: 'warning' } as const
  if (file === undefined || line === undefined) return { ...base, message: `${text}: ${message}` }
  return { ...base, message, at: { file, line, column: 1, length: 1 } }
}

/** Foreign text for messages: at most 100 characters. */
export function excerpt(text: string): string {
  const characters = [...text.slice(0, 400)]
  return characters.length > 100 ? `${characters.slice(0, 99).join('')}…` : characters.join('')
}

/** `table[key]` for a foreign key: undefined for `constructor`, unless the table lists it. */
export const lookUp = <T>(table: Readonly<Record<string, T>>, key: string): T | undefined =>
  Object.hasOwn(table, key) ? table[key] : undefined

/**
 * The error for drops of local packets that would also apply to packets that the host forwards. XDP sees both, and no
 * list tells them apart.
 */
export function mayDropForwarded(chain: Place, forwarding: Place): Diagnostic {
  const base = { code: 'E406', severity: 'error' } as const
  const message = `${forwarding.text} shows that this host forwards packets; ${chain.text} does not judge them, but its drops as lists would drop them too`
  return { ...base, message, hint: 'if these lists may drop forwarded packets too: --ignore forwarding' }
}

// The import room: what another filter was told, as the lists and the default of a config. Parsers take the bytes that
// a tool printed and give `Imported`; document.ts turns that into the text of a config and its list files. Nothing
// here reads a file or starts a tool. Nothing is rounded: what a config cannot say exactly is left out and told.

import type { Diagnostic } from '../diagnostics.ts'
import type { AddressSet } from '../model/address.ts'
import type { AttachMode, DefaultVerdict, ListKind, Scope } from '../model/state.ts'

export const SOURCES = ['ipset', 'nft', 'xdp-filter', 'iptables'] as const
export type SourceName = (typeof SOURCES)[number]

/** What a tool printed. */
export interface Printed {
  /** What to call it in messages: a path, or the command that printed it. */
  readonly name: string
  readonly bytes: Uint8Array
}

export interface Input extends Printed {
  /** Interfaces that the policy is for, as far as they are known; a rule for others does not apply. */
  readonly interfaces: readonly string[]
  /** What further tools printed: ip6tables-save and ipset save beside iptables-save. */
  readonly beside?: readonly Printed[]
}

/** The same bytes, with the methods of a Buffer. */
export const bufferOf = ({ bytes }: Printed): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)

/** One entry of a config: addresses under one scope. */
export interface ImportedList {
  readonly kind: ListKind
  /** undefined: an entry without a name, which belongs to the list named like its kind. */
  readonly name: string | undefined
  readonly scope: Scope
  readonly addresses: AddressSet
  /** What the source says about it. */
  readonly comment: string | undefined
  /** Where it stands there: `iptables-save:7`. */
  readonly places: readonly string[]
}

export interface ImportedInterface {
  readonly name: string
  /** undefined: the source does not say. */
  readonly mode: AttachMode | undefined
}

export interface Imported {
  /** Those that the source names. */
  readonly interfaces: readonly ImportedInterface[]
  readonly default: DefaultVerdict
  readonly lists: readonly ImportedList[]
  /** What was left out or changed: W400. */
  readonly leftOut: readonly Diagnostic[]
}

/** Where something stands: `ipset save:7` for a line, else in words. */
export interface Place {
  readonly text: string
  readonly file?: string
  readonly line?: number
}

export const linePlace = (file: string, line: number): Place => ({ text: `${file}:${line}`, file, line })

/** One thing that the config cannot say. */
export function leftOut({ text, file, line }: Place, message: string): Diagnostic {
  const base = { code: 'W400', severity: 'warning' } as const
  if (file === undefined || line === undefined) return { ...base, message: `${text}: ${message}` }
  return { ...base, message, at: { file, line, column: 1, length: 1 } }
}

/** Text of others as messages quote it: at most 100 characters. */
export function excerpt(text: string): string {
  const characters = [...text.slice(0, 400)]
  return characters.length > 100 ? `${characters.slice(0, 99).join('')}…` : characters.join('')
}

/** `table[key]` for a key that others wrote: `constructor` is not in a table that does not list it. */
export const lookUp = <T>(table: Readonly<Record<string, T>>, key: string): T | undefined =>
  Object.hasOwn(table, key) ? table[key] : undefined

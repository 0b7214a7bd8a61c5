// Options of iptables that match header fields: iptables-extensions(8).

import type { Family } from '../model/address.ts'
import { DSCP_NAMES, TCP_FLAG_NAMES, type TcpFlagName } from '../model/packet-match.ts'
import { codeNumber, ofTypes, typeNumber } from './icmp-types.ts'
import { bytesWith, type Field, LATER, parsePorts } from './scopes.ts'
import { lookUp } from './source.ts'
import type { Spans } from './spans.ts'

export interface FieldMatch {
  readonly field: Field
  readonly spans: Spans
}

export interface FieldOption {
  /** Number of words behind the option. */
  readonly words: number
  /** Returns why a list cannot express it, if so; undefined for one that matches every packet. */
  readonly read: (values: readonly string[], family: Family) => FieldMatch | string | undefined
}

const FLAG_WORDS: Readonly<Record<string, readonly TcpFlagName[]>> = {
  NONE: [],
  ALL: ['fin', 'syn', 'rst', 'psh', 'ack', 'urg'],
}

/** `SYN,ACK` as names of flags; undefined for other text. */
function flagsOf(text: string): readonly TcpFlagName[] | undefined {
  const names = text.split(',').map((word) => {
    const own = TCP_FLAG_NAMES.filter((name) => name === word.toLowerCase())
    return lookUp(FLAG_WORDS, word) ?? (own.length > 0 ? own : undefined)
  })
  return names.includes(undefined) ? undefined : names.flatMap((own) => own ?? [])
}

function readFlags([mask = '', value = '']: readonly string[]): FieldMatch | string {
  const [under, set] = [flagsOf(mask), flagsOf(value)]
  if (under === undefined || set === undefined) return `its flags are unknown (${mask} ${value})`
  return { field: 'flags', spans: bytesWith(under, set) }
}

function readType([text = '']: readonly string[], family: Family): FieldMatch | string | undefined {
  if (text === 'any' || text === '255') return undefined
  const [typeText = '', codeText] = text.split('/')
  const type = typeNumber(typeText, family)
  const code = codeText === undefined ? undefined : codeNumber(codeText, family)
  if (type === undefined || (codeText !== undefined && code === undefined))
    return `its type of ICMP is unknown (${text})`
  const spans =
    code === undefined ? ofTypes({ first: type, last: type }) : { first: type * 256 + code, last: type * 256 + code }
  return { field: 'icmp', spans: [spans] }
}

const readLength = ([text = '']: readonly string[]): FieldMatch | string => {
  const range = parsePorts(text.replace(/^:/, '0:').replace(/:$/, ':65535'), ':')
  return range === undefined ? `its length is not a number (${text})` : { field: 'length', spans: [range] }
}

/** `--ttl-lt 5`; IPv6 calls it the hop limit. */
const hops = (range: (value: number) => { first: number; last: number }): FieldOption => ({
  words: 1,
  read: ([text = '']) =>
    /^\d{1,3}$/.test(text) ? { field: 'ttl', spans: [range(Number(text))] } : `its TTL is not a number (${text})`,
})

const equal = hops((value) => ({ first: value, last: value }))
const less = hops((value) => ({ first: -1, last: value - 1 }))
const greater = hops((value) => ({ first: value + 1, last: 256 }))

function readDscp([text = '']: readonly string[]): FieldMatch | string {
  const named = text.toLowerCase() === 'be' ? 0 : lookUp(DSCP_NAMES, text.toLowerCase())
  const number = named ?? (/^(?:0x[\da-f]+|\d+)$/i.test(text) ? Number(text) : undefined)
  if (number === undefined || number > 63) return `its code point is unknown (${text})`
  return { field: 'dscp', spans: [{ first: number, last: number }] }
}

const laterFragments: FieldOption = {
  words: 0,
  read: () => ({ field: 'fragments', spans: [{ first: LATER, last: LATER }] }),
}

export const FIELD_OPTIONS: Readonly<Record<string, FieldOption>> = {
  '--tcp-flags': { words: 2, read: readFlags },
  '--syn': { words: 0, read: () => readFlags(['FIN,SYN,RST,ACK', 'SYN']) },
  '--icmp-type': { words: 1, read: readType },
  '--icmpv6-type': { words: 1, read: readType },
  '--length': { words: 1, read: readLength },
  '--ttl-eq': equal,
  '--ttl-lt': less,
  '--ttl-gt': greater,
  '--hl-eq': equal,
  '--hl-lt': less,
  '--hl-gt': greater,
  '--dscp': { words: 1, read: readDscp },
  '--dscp-class': { words: 1, read: readDscp },
  '-f': laterFragments,
  '--fragment': laterFragments,
}

/** Fields that the options of a target rewrite. */
export const REWRITING: readonly (readonly [target: RegExp, field: Field])[] = [
  [/-j (?:TTL|HL)\b/, 'ttl'],
  [/-j (?:DSCP|TOS)\b/, 'dscp'],
]

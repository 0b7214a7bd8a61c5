// Keys of an entry that ask more of a packet than its source, protocol and ports → a match in canonical form.

import { type Address, isLinkLocal, isLoopback } from '../../model/address.ts'
import { MATCH_DESTINATIONS } from '../../model/limits.ts'
import { nearest } from '../../model/nearest.ts'
import { formatCount } from '../../model/numbers.ts'
import {
  compareKinds,
  DSCP_NAMES,
  ICMP_CODES,
  ICMP_TYPES,
  type IcmpKind,
  type PacketMatch,
  TCP_FLAG_NAMES,
  type TcpFlags,
} from '../../model/packet-match.ts'
import { type PortRange, TCP } from '../../model/ports.ts'
import type { OwnHost } from '../text/own-host.ts'
import type { Report } from '../text/report.ts'
import { quote } from '../text/show.ts'
import type { Source } from '../text/source.ts'
import type { Placed } from '../text/tree.ts'
import type { WrittenEntry } from '../text/written.ts'
import { EntryCollector } from './entries.ts'
import { explainRange, rangeBuffer, readRangeText } from './range.ts'

interface Context {
  readonly source: Source
  readonly report: Report
  /** VIPs of the services of the config, by name. */
  readonly vips: ReadonlyMap<string, Address>
  readonly host: OwnHost
}

/** One key of an entry, with its place. */
interface Key extends Context {
  readonly name: keyof WrittenEntry
  readonly placed: Placed
}

function refuse(
  { source, report, placed }: Key,
  code: 'E126' | 'E127' | 'E128',
  message: string,
  hint?: string,
): undefined {
  report.error(code, source.locate(placed.from, placed.to), message, hint)
}

const itemsOf = <T>(written: T | readonly T[], { placed }: Key): (readonly [item: T, at: Placed])[] =>
  Array.isArray(written)
    ? written.map((item: T, index) => [item, placed.items?.[index] ?? placed] as const)
    : [[written as T, placed]]

const isIcmp = (protocol: WrittenEntry['protocol']): boolean => protocol === 'icmp' || protocol === 1 || protocol === 58

function readFlags(
  written: NonNullable<WrittenEntry['tcp_flags']>,
  entry: WrittenEntry,
  key: Key,
): TcpFlags | undefined {
  if (entry.protocol !== 'tcp' && entry.protocol !== TCP)
    return refuse(key, 'E126', 'tcp_flags applies to TCP packets only', 'write `protocol: tcp` in the entry')
  let [mask, value] = [0, 0]
  for (const [item, placed] of itemsOf(written, key)) {
    const name = item.replace('!', '')
    const bit = 1 << TCP_FLAG_NAMES.indexOf(name as (typeof TCP_FLAG_NAMES)[number])
    const wanted = item === name ? bit : 0
    if (mask & bit && (value & bit) !== wanted)
      return refuse({ ...key, placed }, 'E127', `no packet has ${name} and "!${name}"`, `remove one of the two`)
    mask |= bit
    value |= wanted
  }
  return { mask, value }
}

/** A type of ICMP for the families of a protocol; undefined after an error. */
function readType(item: number | string, protocol: WrittenEntry['protocol'], key: Key): IcmpKind | undefined {
  const known = typeof item === 'number' ? { v4: item, v6: item } : ICMP_TYPES[item]
  if (known === undefined) {
    const meant = nearest(`${item}`, Object.keys(ICMP_TYPES))
    const hint = meant ? `did you mean ${meant}?` : 'for example echo-request, or a number from 0 to 255'
    return refuse(key, 'E127', `${quote(`${item}`)} is not an ICMP type`, hint)
  }
  const v4 = protocol === 58 ? undefined : known.v4
  const v6 = protocol === 1 ? undefined : known.v6
  if (v4 !== undefined || v6 !== undefined) return { ...(v4 !== undefined && { v4 }), ...(v6 !== undefined && { v6 }) }
  const family = protocol === 1 ? 'ICMP' : 'ICMPv6'
  return refuse(key, 'E127', `${family} has no type ${item}`, 'write `protocol: icmp`, which is ICMP and ICMPv6')
}

/** A code by family. */
interface Code {
  readonly v4?: number
  readonly v6?: number
}

function readCode(item: number | string, types: readonly IcmpKind[], key: Key): Code | undefined {
  if (typeof item === 'number') return { v4: item, v6: item }
  const known = ICMP_CODES[item]
  if (known === undefined) {
    const meant = nearest(item, Object.keys(ICMP_CODES))
    return refuse(
      key,
      'E127',
      `${quote(item)} is not an ICMP code`,
      meant ? `did you mean ${meant}?` : 'write the number of the code, from 0 to 255',
    )
  }
  const { v4, v6 } = ICMP_TYPES[known.type] ?? {}
  const fits = types.every((type) => (type.v4 ?? v4) === v4 && (type.v6 ?? v6) === v6)
  if (fits) return known
  return refuse(key, 'E127', `the code ${item} belongs to ${known.type}`, `write \`icmp_type: ${known.type}\``)
}

/** A type with a code; undefined if its families have no such code. */
function withCode({ v4, v6 }: IcmpKind, code: Code): IcmpKind[] {
  const kind: IcmpKind = {
    ...(v4 !== undefined && code.v4 !== undefined && { v4, code4: code.v4 }),
    ...(v6 !== undefined && code.v6 !== undefined && { v6, code6: code.v6 }),
  }
  return Object.keys(kind).length > 0 ? [kind] : []
}

const keyOf = ({ v4, code4, v6, code6 }: IcmpKind): string => [v4, code4, v6, code6].join()

function readIcmp(entry: WrittenEntry, keyFor: (name: keyof WrittenEntry) => Key): readonly IcmpKind[] | undefined {
  const { icmp_type, icmp_code, protocol } = entry
  if (icmp_type === undefined) {
    if (icmp_code !== undefined) refuse(keyFor('icmp_code'), 'E126', 'icmp_code needs icmp_type', 'add `icmp_type:`')
    return undefined
  }
  const key = keyFor('icmp_type')
  if (!isIcmp(protocol))
    return refuse(key, 'E126', 'icmp_type applies to ICMP only', 'write `protocol: icmp` in the entry')
  const types = itemsOf(icmp_type, key).flatMap(([item, placed]) => readType(item, protocol, { ...key, placed }) ?? [])
  const code = icmp_code === undefined ? undefined : readCode(icmp_code, types, keyFor('icmp_code'))
  const kinds = code ? types.flatMap((type) => withCode(type, code)) : types
  if (types.length > 0 && kinds.length === 0)
    return refuse(keyFor('icmp_code'), 'E127', `no type of the entry has the code ${icmp_code}`)
  return [...new Map(kinds.map((kind) => [keyOf(kind), kind])).values()].sort(compareKinds)
}

/** A range within bounds; undefined after an error. */
function readSpan(written: number | string, least: number, most: number, key: Key): PortRange | undefined {
  const [first = 0, last = first] = typeof written === 'number' ? [written] : written.split('-').map(Number)
  const { name } = key
  if (first > last)
    return refuse(key, 'E127', `${name} ${quote(`${written}`)} ends before it starts`, `write "${last}-${first}"`)
  if (last < least || first > most)
    return refuse(key, 'E127', `no packet has the ${name} ${written}`, `${name} is from ${least} to ${most}`)
  if (last > most) return refuse(key, 'E127', `${name} goes up to ${most}, not ${last}`, `write "${first}-${most}"`)
  return { first, last }
}

function readDscp(written: NonNullable<WrittenEntry['dscp']>, key: Key): readonly number[] {
  const points = itemsOf(written, key).flatMap(([item, placed]) => {
    const number = typeof item === 'number' ? item : DSCP_NAMES[item]
    if (number !== undefined) return [number]
    const meant = nearest(`${item}`, Object.keys(DSCP_NAMES))
    const hint = meant ? `did you mean ${meant}?` : 'write a number from 0 to 63'
    refuse({ ...key, placed }, 'E127', `${quote(`${item}`)} is not a code point`, hint)
    return []
  })
  return [...new Set(points)].sort((a, b) => a - b)
}

const range = rangeBuffer()

/** Stands for the addresses of this machine. */
const HOST = 'host'

/** fe80::/10, which every interface has an address of: packets to others do not reach this machine. */
const LINK_LOCAL = [Uint32Array.of(0xfe800000, 0, 0, 0), Uint32Array.of(0xfebfffff, ~0, ~0, ~0)] as const

/** Adds the addresses of this machine, except those that only it can reach. */
function addHost(v4: EntryCollector, v6: EntryCollector, key: Key): void {
  const { host, vips } = key
  host.isNamed = true
  if (vips.has(HOST))
    refuse(
      key,
      'E128',
      '"host" is a service of the config, and stands for this machine',
      'rename the service, or write its VIP',
    )
  const others = (host.addresses ?? []).filter((address) => !isLoopback(address))
  for (const address of others) {
    const { family, words } = address
    if (family === 4) v4.add(words, words, 1)
    else if (isLinkLocal(address)) v6.add(LINK_LOCAL[0], LINK_LOCAL[1], 1)
    else v6.add(words, words, 1)
  }
  if (host.addresses === undefined || others.length > 0) return
  const { source, report, placed } = key
  const hint = '`xdp watch` reads the config again when it gets one'
  report.warning(
    'W272',
    source.locate(placed.from, placed.to),
    'no address of this host is known: the entry matches no packet',
    hint,
  )
}

function readDestinations(written: NonNullable<WrittenEntry['destination']>, key: Key): PacketMatch['destinations'] {
  const [v4, v6] = [new EntryCollector(4), new EntryCollector(6)]
  for (const [text, placed] of itemsOf(written, key)) {
    const vip = key.vips.get(text)
    if (text === HOST) addHost(v4, v6, { ...key, placed })
    else if (vip) (vip.family === 4 ? v4 : v6).add(vip.words, vip.words, 1)
    else if (readRangeText(text, range)) (range.family === 4 ? v4 : v6).add(range.start, range.end, 1)
    else refuseDestination(text, { ...key, placed })
  }
  const count = v4.ranges.length + v6.ranges.length
  if (count > MATCH_DESTINATIONS && itemsOf(written, key).some(([text]) => text === HOST)) refuseHost(count, key)
  else if (count > MATCH_DESTINATIONS) {
    const message = `the entry has ${formatCount(count)} ranges of destinations; an entry can have ${MATCH_DESTINATIONS}`
    refuse(key, 'E128', message, 'name fewer prefixes, or write several entries')
  }
  return { v4: v4.ranges, v6: v6.ranges }
}

/** The message is equal for any number of addresses, so that a daemon reports it once, however often they change. */
function refuseHost(count: number, { source, report, placed }: Key): void {
  const message = `with "host" the destination has more than ${MATCH_DESTINATIONS} ranges: this machine has many addresses`
  const found = `they are ${formatCount(count)} ranges`
  const hint = `${found}; write their networks instead, such as 192.0.2.0/24, or no destination if every packet is for this machine`
  report.error('E274', source.locate(placed.from, placed.to), message, hint)
}

function refuseDestination(text: string, key: Key): void {
  if (/^[a-z][\w.-]*$/i.test(text) && !/^[0-9a-f:.]+$/i.test(text)) {
    const meant = nearest(text, [...key.vips.keys(), HOST])
    const hint = meant
      ? `did you mean ${meant}?`
      : 'write an address, CIDR or range, the name of a service of the config, or host for the addresses of this machine'
    refuse(key, 'E128', `${quote(text)} is neither an address nor a service of the config`, hint)
    return
  }
  const { message, hint } = explainRange(text)
  refuse(key, 'E128', message, hint)
}

/** The match of an entry; undefined if it asks for nothing more. Reports what no packet has. */
export function readMatch(entry: WrittenEntry, placed: Placed, context: Context): PacketMatch | undefined {
  const keyFor = (name: keyof WrittenEntry): Key => ({ ...context, name, placed: placed.fields?.get(name) ?? placed })
  const { tcp_flags, length, ttl, dscp, fragments, vlan, destination } = entry
  const read = {
    tcpFlags: tcp_flags === undefined ? undefined : readFlags(tcp_flags, entry, keyFor('tcp_flags')),
    icmp: readIcmp(entry, keyFor),
    length: length === undefined ? undefined : readSpan(length, 20, 65_535, keyFor('length')),
    ttl: ttl === undefined ? undefined : readSpan(ttl, 0, 255, keyFor('ttl')),
    dscp: dscp === undefined ? undefined : readDscp(dscp, keyFor('dscp')),
    fragments,
    vlan: vlan === undefined ? undefined : readSpan(vlan, 1, 4094, keyFor('vlan')),
    destinations: destination === undefined ? undefined : readDestinations(destination, keyFor('destination')),
  }
  if (fragments === 'later') refuseHeaders(entry, keyFor)
  const known = Object.fromEntries(Object.entries(read).filter(([, value]) => value !== undefined)) as PacketMatch
  return Object.keys(known).length > 0 ? known : undefined
}

/** Keys about headers that later fragments do not have. */
const HEADERS = ['source_port', 'destination_port', 'tcp_flags', 'icmp_type', 'socket'] as const

function refuseHeaders(entry: WrittenEntry, keyFor: (name: keyof WrittenEntry) => Key): void {
  const name = HEADERS.find((key) => entry[key] !== undefined)
  if (name === undefined) return
  const message = `later fragments have no ${name.replace('_', ' ')}: the entry matches no packet`
  refuse(keyFor(name), 'E126', message, `remove ${name}, or write \`fragments: first\``)
}

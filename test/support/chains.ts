// Rules of iptables as data: their text, and the kernel's algorithm for a packet, as the reference for imports.

import fc from 'fast-check'
import type { IpFacts } from '../../src/semantics/judge.ts'
import type { Traits } from '../../src/semantics/match.ts'

const PREFIXES = ['10.0.0.0/8', '10.0.0.0/16', '10.0.128.0/17', '10.0.0.1/32', '10.0.128.1/32', '0.0.0.0/1'] as const
const ADDRESSES = [0x0a000000, 0x0a000001, 0x0a008001, 0x0a010000, 0x0b000000, 0x80000000] as const
const PORTS = [21, 22, 23, 53] as const
const TARGETS = [0x0a090001, 0x0a090002, 0x0a0a0001] as const
const TARGET_PREFIXES = ['10.9.0.1/32', '10.9.0.0/16'] as const
const LENGTHS = [40, 100, 501, 1400] as const
/** SYN, ACK, SYN and FIN, none, PSH and ACK. */
const FLAGS = [0x02, 0x10, 0x03, 0, 0x18] as const
const TYPES = [
  { type: 8, code: 0 },
  { type: 0, code: 0 },
  { type: 3, code: 4 },
] as const

/** Options with what they match. */
const FLAG_MATCHES = {
  '--tcp-flags FIN,SYN,RST,ACK SYN': [0x17, 0x02],
  '--tcp-flags SYN SYN': [0x02, 0x02],
  '--tcp-flags FIN,SYN FIN,SYN': [0x03, 0x03],
  '--tcp-flags FIN,SYN,RST,PSH,ACK,URG NONE': [0x3f, 0],
} as const
const TYPE_MATCHES = {
  '--icmp-type 8': (type: number) => type === 8,
  '--icmp-type 3/4': (type: number, code: number) => type === 3 && code === 4,
} as const
const LENGTH_MATCHES = { '0:100': [0, 100], '500:65535': [500, 65_535], '100:600': [100, 600] } as const

const keys = <T extends object>(table: T): (keyof T & string)[] => Object.keys(table) as (keyof T & string)[]

export interface Rule {
  readonly source: (typeof PREFIXES)[number] | undefined
  readonly destination: (typeof TARGET_PREFIXES)[number] | undefined
  readonly protocol: 'tcp' | 'udp' | 'icmp' | undefined
  readonly port: readonly [side: 'dport' | 'sport', first: number, last: number] | undefined
  readonly flags: keyof typeof FLAG_MATCHES | undefined
  readonly type: keyof typeof TYPE_MATCHES | undefined
  /** Of flags and type. */
  readonly negated: boolean
  readonly length: keyof typeof LENGTH_MATCHES | undefined
  readonly target: string
}

/** Mostly undefined, because a rule with many conditions matches nothing. */
const seldom = <T>(one: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> =>
  fc.oneof({ weight: 4, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary: one })

export const rule = (...targets: readonly string[]): fc.Arbitrary<Rule> =>
  fc
    .record({
      source: fc.option(fc.constantFrom(...PREFIXES), { nil: undefined }),
      destination: seldom(fc.constantFrom(...TARGET_PREFIXES)),
      protocol: fc.option(fc.constantFrom('tcp' as const, 'udp' as const, 'icmp' as const), { nil: undefined }),
      port: fc.option(
        fc.tuple(fc.constantFrom('dport' as const, 'sport' as const), fc.constantFrom(21, 22), fc.constantFrom(22, 53)),
        { nil: undefined },
      ),
      flags: seldom(fc.constantFrom(...keys(FLAG_MATCHES))),
      type: fc.option(fc.constantFrom(...keys(TYPE_MATCHES)), { nil: undefined }),
      negated: fc.boolean(),
      length: seldom(fc.constantFrom(...keys(LENGTH_MATCHES))),
      target: fc.constantFrom(...targets),
    })
    .map(({ protocol, port, flags, type, ...rest }) => ({
      ...rest,
      protocol,
      port: protocol === 'tcp' || protocol === 'udp' ? port : undefined,
      flags: protocol === 'tcp' ? flags : undefined,
      type: protocol === 'icmp' ? type : undefined,
    }))

/** A rule for every packet. */
export const anyRule = (target: string): Rule => ({
  ...{ source: undefined, destination: undefined, protocol: undefined, port: undefined, flags: undefined },
  ...{ type: undefined, negated: false, length: undefined, target },
})

export function text(chain: string, one: Rule): string {
  const { source, destination, protocol, port, flags, type, negated, length, target } = one
  const not = negated ? '! ' : ''
  return [
    `-A ${chain}`,
    source && `-s ${source}`,
    destination && `-d ${destination}`,
    protocol && `-p ${protocol}`,
    protocol && port && `-m ${protocol} --${port[0]} ${port[1]}:${port[2]}`,
    flags && `-m tcp ${not}${flags}`,
    type && `-m icmp ${not}${type}`,
    length && `-m length --length ${length}`,
    `-j ${target}`,
  ]
    .filter(Boolean)
    .join(' ')
}

const within = (prefix: string | undefined, word: number): boolean => {
  const [address = '', length] = (prefix ?? '0.0.0.0/0').split('/')
  const network = address.split('.').reduce((sum, octet) => sum * 256 + Number(octet), 0)
  const shift = 2 ** (32 - Number(length))
  return Math.floor(word / shift) === Math.floor(network / shift)
}

const NUMBERS = { tcp: 6, udp: 17, icmp: 1 } as const

const holds = ([first, last]: readonly [number, number], value: number): boolean => first <= value && value <= last

export function matches(one: Rule, { source, protocol: number, ports, traits }: IpFacts): boolean {
  const { protocol, port, flags, type, negated, length, destination } = one
  const { tcpFlags, icmp, length: own, destination: to } = traits as Traits
  if (protocol !== undefined && number !== NUMBERS[protocol]) return false
  if (port !== undefined) {
    const value = port[0] === 'dport' ? ports?.destination : ports?.source
    if (value === undefined || value < port[1] || value > port[2]) return false
  }
  if (flags !== undefined) {
    const [mask, value] = FLAG_MATCHES[flags]
    if (typeof tcpFlags !== 'number' || ((tcpFlags & mask) === value) === negated) return false
  }
  if (type !== undefined && (icmp === undefined || TYPE_MATCHES[type](icmp.type, icmp.code) === negated)) return false
  if (length !== undefined && !holds(LENGTH_MATCHES[length], own)) return false
  return within(one.source, source[0] as number) && within(destination, to[0] as number)
}

const FIXED = { kind: 'ip', family: 4, essential: undefined, unparsed: undefined } as const
const TRAITS = { ttl: 64, dscp: 0, fragment: undefined, vlan: undefined, tcpFlags: undefined, icmp: undefined } as const

/** The packets of one source, destination and length. */
function packetsOf(address: number, destination: number, length: number): readonly IpFacts[] {
  const base = { ...FIXED, source: Uint32Array.of(address) }
  const traits = { ...TRAITS, destination: Uint32Array.of(destination), length }
  const ports = PORTS.flatMap((source) => [22, 99].map((other) => ({ source, destination: other })))
  return [
    ...TYPES.map((icmp) => ({ ...base, protocol: 1, ports: undefined, traits: { ...traits, icmp } })),
    ...ports.map((own) => ({ ...base, protocol: 17, ports: own, traits })),
    ...ports.flatMap((own) =>
      FLAGS.map((tcpFlags) => ({ ...base, protocol: 6, ports: own, traits: { ...traits, tcpFlags } })),
    ),
  ]
}

/** Every packet with every value of every field. */
const ALL = ADDRESSES.flatMap((address) =>
  TARGETS.flatMap((destination) => LENGTHS.flatMap((length) => packetsOf(address, destination, length))),
)

/** One of 29 packets. */
export const somePackets = (variant: number): readonly IpFacts[] =>
  ALL.filter((_, index) => index % 29 === variant % 29)

/** First fragments, those that hide their flags, and later fragments of some packets. */
export const fragments = (variant: number): readonly IpFacts[] =>
  ALL.filter((_, index) => index % 211 === variant % 211).flatMap((facts) => {
    const traits = { ...(facts.traits as Traits), length: 60 }
    const { tcpFlags, icmp, ...rest } = traits
    const first = { ...facts, traits: { ...traits, fragment: 'first' } } as const
    const later = { ...rest, fragment: 'later', tcpFlags: undefined, icmp: undefined } as const
    return [
      first,
      ...(facts.protocol === 6 ? [{ ...first, traits: { ...first.traits, tcpFlags: 'cut' } } as const] : []),
      { ...facts, ports: undefined, traits: later },
    ]
  })

/**
 * The packets as which a chain may see one: for a fragment the datagrams that it may belong to, for a segment of TCP those
 * that the kernel joins it to.
 */
export function seenAs(facts: IpFacts, whole: boolean): readonly IpFacts[] {
  const own = facts.traits as Traits
  const { tcpFlags } = own
  const isJoined = facts.protocol === 6 && typeof tcpFlags === 'number' && (tcpFlags & 0x12) === 0x10
  if (own.fragment === undefined) {
    const longer = LENGTHS.filter((length) => length > own.length)
    return [facts, ...(isJoined ? longer.map((length) => ({ ...facts, traits: { ...own, length } })) : [])]
  }
  if (!whole) return [facts]
  return ALL.filter(({ source, protocol, ports, traits }) => {
    const all = traits as Traits
    if (source[0] !== facts.source[0] || protocol !== facts.protocol || all.length <= own.length) return false
    if (all.destination[0] !== own.destination[0]) return false
    if (own.fragment === 'later') return true
    if (ports?.source !== facts.ports?.source || ports?.destination !== facts.ports?.destination) return false
    return (tcpFlags === 'cut' || all.tcpFlags === tcpFlags) && all.icmp?.type === own.icmp?.type
  })
}

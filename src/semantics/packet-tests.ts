// Conditions on packets, as tests of single fields: those of scopes, anomalies, services and others of a policy.

import { type Address, type Family, isLinkLocal, isLoopback, type Ranges } from '../model/address.ts'
import type { AnomalyName } from '../model/anomaly.ts'
import { ACK, DHCP_PORTS, ESSENTIAL_TYPES, FROM_UNSPECIFIED, opensConnection, RST, SYN } from '../model/headers.ts'
import type { PacketMatch } from '../model/packet-match.ts'
import type { Scope } from '../model/packet-scope.ts'
import type { EssentialGroup } from '../model/policy.ts'
import { ICMP_OF, inRange, inRanges, type PortRange, TCP, UDP } from '../model/ports.ts'
import { contains } from '../model/ranges.ts'
import type { ListKind } from '../model/state.ts'
import { compareAddresses, wordsOf } from '../model/text.ts'
import { flagAnomalies, isBogon, isMartian } from './anomalies.ts'
import { type Condition, type Flaw, HIDDEN_FLAGS, NO_PROTOCOL, type Sample, type Test } from './packet-space.ts'

/** The source that all packets have. */
type Source = Address

const edgesOf = (ranges: readonly PortRange[]): number[] => ranges.flatMap(({ first, last }) => [first, last + 1])

export const isProtocol = (...numbers: readonly number[]): Test => ({
  field: 'protocol',
  has: (number) => numbers.includes(number),
})
const isNotProtocol = (...numbers: readonly number[]): Test => ({
  field: 'protocol',
  has: (number) => !numbers.includes(number),
})

export const isFragment = (...kinds: readonly Sample['fragment'][]): Test => ({
  field: 'fragment',
  has: (kind) => kinds.includes(kind),
})

export const hasFlaw = (...flaws: readonly (Flaw | undefined)[]): Test => ({
  field: 'flaw',
  has: (flaw) => flaws.includes(flaw),
})
const lacksFlaw = (...flaws: readonly Flaw[]): Test => ({
  field: 'flaw',
  has: (flaw) => flaw === undefined || !flaws.includes(flaw),
})

/** The packet has the head of its transport header. */
export const HEADED: Condition = [isFragment(undefined, 'first'), lacksFlaw('cut')]

const sourcePortIn = (ranges: readonly PortRange[]): Test => ({
  field: 'ports',
  has: ([source]) => inRanges(ranges, source),
  edges: { source: edgesOf(ranges) },
})

export const destinationPortIn = (ranges: readonly PortRange[]): Test => ({
  field: 'ports',
  has: ([, destination]) => inRanges(ranges, destination),
  edges: { destination: edgesOf(ranges) },
})

const portsAre = (source: number, destination: number): Test => ({
  field: 'ports',
  has: (ports) => ports[0] === source && ports[1] === destination,
  edges: { source: [source, source + 1], destination: [destination, destination + 1] },
})

const negated = ({ has, ...test }: Test): Test =>
  ({ ...test, has: (value: never) => !(has as (value: never) => boolean)(value) }) as Test

const lengthWithin = (least: number, most: number): Test => ({
  field: 'length',
  has: (length) => least <= length && length <= most,
  edges: { length: [least, most + 1] },
})

const flagsHave = (test: (flags: number) => boolean, hidden: boolean): Test => ({
  field: 'tcpFlags',
  has: (flags) => (flags === HIDDEN_FLAGS ? hidden : test(flags)),
})

const icmpIs = (test: (icmp: Sample['icmp']) => boolean, codes: readonly number[] = []): Test => ({
  field: 'icmp',
  has: test,
  edges: { code: codes.flatMap((code) => [code, code + 1]) },
})

export const hasType = (...types: readonly number[]): Test => icmpIs(({ type }) => types.includes(type))

export function destinationAmong(all: readonly Uint32Array[]): Test {
  const [first] = all
  const texts = new Set(all.map(String))
  const has = (words: Uint32Array): boolean =>
    texts.size === 1 ? first !== undefined && compareAddresses(words, first) === 0 : texts.has(String(words))
  return { field: 'destination', has, edges: { addresses: all.flatMap((words) => [words, following(words)]) } }
}

/** The address behind another; the first one behind the last. */
export function following(words: Uint32Array): Uint32Array {
  const next = words.slice()
  for (let at = next.length - 1; at >= 0; at--) {
    next[at] = (next[at] as number) + 1
    if (next[at] !== 0) break
  }
  return next
}

function destinationIn(ranges: Ranges): Test {
  const width = wordsOf(ranges.family)
  const bound = (words: Uint32Array, i: number): Uint32Array => words.slice(i * width, (i + 1) * width)
  const addresses = Array.from({ length: ranges.length }, (_, i) => [
    bound(ranges.start, i),
    following(bound(ranges.end, i)),
  ]).flat()
  return { field: 'destination', has: (words) => contains(ranges, words) >= 0, edges: { addresses } }
}

function matchTests(match: PacketMatch, family: Family, kind: ListKind): Condition {
  const { tcpFlags, icmp, length, ttl, dscp, fragments, vlan, destinations } = match
  const kinds = (icmp ?? []).flatMap(({ v4, v6, code4, code6 }) => {
    const [type, code] = family === 4 ? [v4, code4] : [v6, code6]
    return type === undefined ? [] : [{ type, code }]
  })
  const codes = kinds.flatMap(({ code }) => (code === undefined ? [] : [code]))
  const own = family === 4 ? destinations?.v4 : destinations?.v6
  const isKind = ({ type, code }: Sample['icmp']): boolean =>
    kinds.some((one) => one.type === type && (one.code === undefined || one.code === code))
  const isOne = (value: Sample['fragment']): boolean =>
    fragments === 'none' ? value === undefined : fragments === 'any' ? value !== undefined : value === fragments
  return [
    ...(tcpFlags
      ? [
          isProtocol(TCP),
          ...HEADED,
          flagsHave((flags) => (flags & tcpFlags.mask) === tcpFlags.value, kind === 'blocklist'),
        ]
      : []),
    ...(icmp ? [isProtocol(ICMP_OF[family]), ...HEADED, icmpIs(isKind, codes)] : []),
    ...(length ? [lengthWithin(length.first, length.last)] : []),
    ...(ttl ? [{ field: 'ttl', has: (value) => inRange(ttl, value), edges: { ttl: edgesOf([ttl]) } } as Test] : []),
    ...(dscp ? [{ field: 'dscp', has: (value) => dscp.includes(value) } as Test] : []),
    ...(fragments ? [{ field: 'fragment', has: isOne } as Test] : []),
    ...(vlan
      ? [
          {
            field: 'vlan',
            has: (tag) => tag !== undefined && inRange(vlan, tag),
            edges: { vlan: edgesOf([vlan]) },
          } as Test,
        ]
      : []),
    ...(own ? [destinationIn(own)] : []),
  ]
}

/**
 * The packets of a scope, whatever interface receives them; undefined: there are none. With `socket: none` those for which this
 * host may have no socket.
 */
export function scopeTests(scope: Scope, kind: ListKind, source: Source): Condition | undefined {
  const { protocol, sourcePorts, destinationPorts, match, socket } = scope
  const number = protocol === 'icmp' ? ICMP_OF[source.family] : protocol
  const tests = match ? matchTests(match, source.family, kind) : []
  if (socket === 'none' && isLinkLocal(source)) return undefined
  return [
    ...(number === 'any' ? [] : [isProtocol(number)]),
    ...(sourcePorts.length > 0 ? [...HEADED, sourcePortIn(sourcePorts)] : []),
    ...(destinationPorts.length > 0 ? [...HEADED, destinationPortIn(destinationPorts)] : []),
    ...tests,
    ...(socket === 'none'
      ? [isProtocol(TCP), isFragment(undefined), lacksFlaw('cut'), flagsHave((flags) => !opensConnection(flags), false)]
      : []),
  ]
}

/** The segments to ports of `syn_protection` that are answered, or need a cookie. */
export const synTests = (ports: readonly PortRange[], what: 'opening' | 'acknowledging'): Condition => [
  ...[isProtocol(TCP), isFragment(undefined), lacksFlaw('cut'), destinationPortIn(ports)],
  flagsHave((flags) => (what === 'opening' ? opensConnection(flags) : (flags & (SYN | RST | ACK)) === ACK), false),
]

/** The packets of a group that default drop may pass, as alternatives. */
export function essentialTests(group: EssentialGroup, source: Source): readonly Condition[] {
  const { family } = source
  const isLocal: Test = {
    field: 'destination',
    has: (words) => isLoopback({ family, words }),
    edges: {
      addresses:
        family === 4
          ? [Uint32Array.of(0x7f000000), Uint32Array.of(0x80000000)]
          : [Uint32Array.of(0, 0, 0, 1), Uint32Array.of(0, 0, 0, 2)],
    },
  }
  // Loopback is asked for first.
  const others = isLoopback(source) ? [negated(isLocal)] : []
  const { server, client } = DHCP_PORTS[family]
  switch (group) {
    case 'loopback':
      return isLoopback(source) ? [[isLocal, lacksFlaw('cut')]] : []
    case 'dhcp_client':
      return [[isProtocol(UDP), ...HEADED, portsAre(server, client), ...others]]
    case 'dhcp_server':
      return [client, server].map((port) => [isProtocol(UDP), ...HEADED, portsAre(port, server), ...others])
    default: {
      const types: readonly number[] = ESSENTIAL_TYPES[group][family]
      const own = [isProtocol(ICMP_OF[family]), ...HEADED, hasType(...types), ...others]
      return types.length > 0 ? [own] : []
    }
  }
}

/** The packets for which a source need not be one that others may have, each test alone; undefined: it is wrong in all. */
function judgedTests({ family, words }: Source): readonly Test[] | undefined {
  const isUnspecified = words.every((word) => word === 0)
  if (family === 6) {
    if (!isUnspecified) return undefined
    return [isProtocol(58), ...HEADED, hasType(...FROM_UNSPECIFIED)]
  }
  const { server, client } = DHCP_PORTS[4]
  const edges = [server, client].flatMap((port) => [port, port + 1])
  const may: Test = {
    field: 'ports',
    has: ([from, to]) => (from === server && to === client) || (isUnspecified && from === client && to === server),
    edges: { source: edges, destination: edges },
  }
  return [isProtocol(UDP), ...HEADED, may]
}

/** The packets with an anomaly, as alternatives. */
export function anomalyTests(name: AnomalyName, source: Source): readonly Condition[] {
  const { family, words } = source
  const transports = [TCP, UDP, ICMP_OF[family]]
  switch (name) {
    case 'land': {
      const equal: Test = { field: 'ports', has: ([from, to]) => from === to }
      const portless = [isNotProtocol(TCP, UDP), isFragment('later'), hasFlaw('cut')]
      return [...portless, equal].map((test) => [destinationAmong([words]), test])
    }
    case 'martians':
    case 'bogons': {
      if (!(name === 'martians' ? isMartian : isBogon)(source)) return []
      return judgedTests(source)?.map((test) => [negated(test)]) ?? [[]]
    }
    case 'bad_length':
      return [[hasFlaw('bad_length')], [hasFlaw('cut'), isFragment(undefined), isProtocol(...transports)]]
    case 'ip_options':
      return [[hasFlaw('ip_options')]]
    case 'tiny_fragments':
      return [
        [hasFlaw('tiny_fragments')],
        [hasFlaw('cut'), isFragment('first'), isProtocol(...transports)],
        [isProtocol(TCP), isFragment('first'), flagsHave(() => false, true)],
      ]
    default:
      return [[isProtocol(TCP), ...HEADED, flagsHave((flags) => flagAnomalies(flags).includes(name), false)]]
  }
}

/** Combinations of fields that no packet has. */
export function impossible({ family }: Source): readonly Condition[] {
  const icmp = ICMP_OF[family]
  const header = family === 4 ? 20 : 40
  const least = (protocol: number, size: number, fragment: 'first' | undefined): Condition[] => {
    const network = header + (fragment && family === 6 ? 8 : 0)
    const common = [isProtocol(protocol), isFragment(fragment)]
    return [
      [...common, lacksFlaw('cut', 'ip_options'), lengthWithin(0, network + size - 1)],
      [...common, hasFlaw('ip_options'), lengthWithin(0, network + (family === 4 ? 4 : 8) + size - 1)],
    ]
  }
  const seen = flagsHave(() => true, false)
  const hidden = flagsHave(() => false, true)
  const hiddenEnd = header + (family === 6 ? 8 : 0) + 13
  return [
    [hasFlaw('tiny_fragments'), isNotProtocol(TCP)],
    [hasFlaw('tiny_fragments'), isFragment(undefined)],
    [hasFlaw('cut'), isFragment('later')],
    [hasFlaw('cut'), isNotProtocol(TCP, UDP, icmp, NO_PROTOCOL)],
    [isProtocol(NO_PROTOCOL), lacksFlaw('cut')],
    ...(family === 4 ? [[hasFlaw('ip_options'), isProtocol(2)]] : []),
    [isProtocol(TCP), hidden, isFragment(undefined, 'later')],
    [isProtocol(TCP), hidden, hasFlaw('tiny_fragments', 'ip_options', 'bad_length')],
    [isProtocol(TCP), hidden, lacksFlaw('cut'), lengthWithin(hiddenEnd + 1, 0xffff)],
    ...(family === 6 ? [[isFragment('first', 'later'), lengthWithin(0, header + 8)]] : []),
    ...[undefined, 'first' as const].flatMap((fragment) => [
      ...least(TCP, 20, fragment).map((condition) => [...condition, seen]),
      ...least(TCP, 8, fragment),
      ...least(UDP, 8, fragment),
      ...least(icmp, 8, fragment),
    ]),
  ]
}

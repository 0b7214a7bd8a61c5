// Random policies and frames from one seed. Addresses, ports and protocols come from small sets, so that lists overlap
// and match packets.

import { ANOMALY_NAMES, anomalyTexts } from '../../src/model/anomaly.ts'
import { compareKinds, type IcmpKind, type PacketMatch } from '../../src/model/packet-match.ts'
import { DEFAULT_POLICY, ESSENTIAL_GROUPS } from '../../src/model/policy.ts'
import type { PortRange } from '../../src/model/ports.ts'
import { RATE, type RateLimit } from '../../src/model/rate-limit.ts'
import { EVERY_ROLE, type List, type Scope, type State } from '../../src/model/state.ts'
import { allow, block, type Entry, policy, ranges, scope } from './lists.ts'
import type { Layer } from './packets.ts'
import * as layers from './packets.ts'

export interface Random {
  /** A whole number from 0 to `limit` - 1. */
  below(limit: number): number
  chance(share: number): boolean
  pick<T>(values: readonly T[]): T
}

/** Mulberry32: 32 bits of state, with equal output on every machine. */
export function randomFrom(seed: number): Random {
  let state = seed >>> 0
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 0x100000000
  }
  const below = (limit: number): number => Math.floor(next() * limit)
  return {
    below,
    chance: (share) => next() < share,
    pick: (values) => values[below(values.length)] as (typeof values)[number],
  }
}

const PORTS = [0, 22, 53, 67, 68, 443, 546, 547, 5353, 65535]
/** Some that pass where frames that are not IP are dropped, and some that do not. */
const ETHERTYPES = [
  0, 46, 0x05ff, 0x0600, 0x0806, 0x8035, 0x8809, 0x8847, 0x8863, 0x8864, 0x88cc, 0x88e5, 0x88f7, 0x8902,
]
const PROTOCOLS = [0, 1, 4, 6, 17, 41, 44, 47, 50, 51, 58, 59, 60, 132, 255]

export const address4 = (random: Random): string =>
  random.chance(0.1)
    ? `127.0.0.${random.below(4)}`
    : `198.51.${random.pick([100, 101])}.${random.below(32) * 8 + random.below(2)}`

export const address6 = (random: Random): string =>
  random.chance(0.1)
    ? random.pick(['::1', '::', 'fe80::1', '::ffff:127.0.0.1'])
    : `2001:db8:${random.below(2)}:${random.below(3)}::${random.below(3)}:${random.below(3)}`

/** A prefix, range or address of either family. */
function addresses(random: Random): string {
  if (random.chance(0.5)) {
    const [first, last] = [random.below(256), random.below(256)].sort((a, b) => a - b)
    return random.pick([
      address4(random),
      `198.51.100.${first}-198.51.101.${last}`,
      `198.51.${random.pick([100, 101])}.${random.below(4) * 64}/26`,
      '198.51.100.0/22',
      '198.0.0.0/8',
      '0.0.0.0/0',
    ])
  }
  return random.pick([
    address6(random),
    `2001:db8:${random.below(2)}:${random.below(3)}::/64`,
    `2001:db8:0:1::1-2001:db8:1:1::${random.below(3)}`,
    '2001:db8:1::/48',
    '2001:db8::/32',
    'fe80::/10',
    '::/0',
  ])
}

/** A prefix or an address of either family. */
export const randomPrefix = (random: Random): string => {
  const text = addresses(random)
  return text.includes('-') ? randomPrefix(random) : text
}

function portRanges(random: Random): PortRange[] {
  const ports = PORTS.filter(() => random.chance(0.2))
  // Canonical ranges do not touch.
  return ports.filter((port, i) => port - 1 !== ports[i - 1]).map((port) => ({ first: port, last: port }))
}

/** Interfaces of random policies; their scopes also name `eth9`, which the host does not have. */
export const INTERFACES = ['eth0', 'eth1'] as const

const rangeUpTo = (random: Random, limit: number): PortRange => {
  const [first = 0, last = 0] = [random.below(limit), random.below(limit)].sort((a, b) => a - b)
  return { first, last }
}

const TYPES = [0, 1, 3, 8, 128, 129, 135]

function icmpKind(random: Random, protocol: Scope['protocol']): IcmpKind {
  const code = random.chance(0.3) ? random.below(3) : undefined
  const four = { v4: random.pick(TYPES), ...(code !== undefined && { code4: code }) }
  const six = { v6: random.pick(TYPES), ...(code !== undefined && { code6: random.below(3) }) }
  if (protocol === 1) return four
  if (protocol === 58) return six
  return random.pick<IcmpKind>([four, six, { ...four, ...six }])
}

const FLAGS = [1, 2, 4, 16, 3, 18, 63]

/** Conditions that some of the random frames meet. */
function matchOf(random: Random, { protocol }: Scope): PacketMatch | undefined {
  const mask = random.pick(FLAGS)
  const kinds = Array.from({ length: 1 + random.below(2) }, () => icmpKind(random, protocol))
  const distinct = [...new Map(kinds.map((kind) => [JSON.stringify(kind), kind])).values()].sort(compareKinds)
  const texts = Array.from({ length: random.below(6) }, () => addresses(random))
  const some = (share: number, part: () => PacketMatch): PacketMatch => (random.chance(share) ? part() : {})
  const match: PacketMatch = {
    ...(protocol === 6 && some(0.6, () => ({ tcpFlags: { mask, value: mask & random.below(64) } }))),
    ...((protocol === 'icmp' || protocol === 1 || protocol === 58) && some(0.6, () => ({ icmp: distinct }))),
    ...some(0.2, () => ({ length: rangeUpTo(random, 90) })),
    ...some(0.2, () => ({ ttl: rangeUpTo(random, 256) })),
    ...some(0.2, () => ({ dscp: [0, 8, 46].filter((__, i) => i === 0 || random.chance(0.5)) })),
    ...some(0.2, () => ({ fragments: random.pick(['none', 'first', 'later', 'any']) })),
    ...some(0.2, () => ({ vlan: rangeUpTo(random, 5) })),
    ...some(0.3, () => ({ destinations: setOf(texts) })),
  }
  return Object.keys(match).length > 0 ? match : undefined
}

/** A set of as many prefixes, ranges and addresses, which may overlap. */
export const randomAddresses = (random: Random, count: number) =>
  setOf(Array.from({ length: count }, () => addresses(random)))

const setOf = (texts: readonly string[]) => ({
  v4: ranges(
    4,
    texts.filter((text) => !text.includes(':')),
  ),
  v6: ranges(
    6,
    texts.filter((text) => text.includes(':')),
  ),
})

function scopeOf(random: Random): Scope {
  const plain = trafficOf(random)
  const match = random.chance(0.4) ? matchOf(random, plain) : undefined
  const traffic = match ? { ...plain, match } : plain
  const interfaces = [...INTERFACES, 'eth9'].filter(() => random.chance(0.5))
  const limited = interfaces.length > 0 && random.chance(0.3) ? { ...traffic, interfaces } : traffic
  if (traffic.protocol === 6 && random.chance(0.5)) return { ...limited, socket: 'none' }
  return random.chance(0.3) ? { ...limited, established: random.pick(['pass', 'judge']) } : limited
}

function trafficOf(random: Random): Scope {
  if (random.chance(0.4)) return scope('any')
  if (random.chance(0.2)) return scope('icmp')
  if (random.chance(0.2)) return scope(random.pick(PROTOCOLS))
  return { protocol: random.pick([6, 17]), sourcePorts: portRanges(random), destinationPorts: portRanges(random) }
}

export function randomState(random: Random): State {
  const lists = Array.from({ length: random.below(8) }, (_, i): List => {
    const isAllow = random.chance(0.3)
    const observing = (scope: Scope): Scope =>
      !isAllow && random.chance(0.3) ? { ...scope, action: 'observe' } : scope
    const entries = Array.from(
      { length: 1 + random.below(6) },
      (): Entry => [addresses(random), observing(scopeOf(random))],
    )
    return (isAllow ? allow : block)(`list-${i}`, ...entries)
  })
  const attachments = INTERFACES.map((name) => ({ interface: name, modes: ['native'] as const, roles: EVERY_ROLE }))
  const state = {
    ...policy(random.chance(0.4) ? 'drop' : 'pass', ...lists),
    interfaces: new Map(attachments.map((attachment) => [attachment.interface, attachment])),
    // The program asks the kernel for sockets, and finds none.
    localPorts: { first: 1, last: 0xffff },
  }
  if (random.chance(0.5)) return state
  return {
    ...state,
    policy: {
      ...DEFAULT_POLICY,
      ...state.policy,
      unparsed: random.pick(['pass', 'drop']),
      established: random.pick(['pass', 'judge']),
      essential: ESSENTIAL_GROUPS.filter(() => random.chance(0.5)),
      anomalies: random.chance(0.5) ? randomAnomalies(random) : [],
    },
  }
}

/** Some anomalies, on some interfaces. */
export function randomAnomalies(random: Random): readonly string[] {
  const sought = ANOMALY_NAMES.filter(() => random.chance(0.4))
  return anomalyTexts(
    sought.map((name) => ({
      name,
      action: random.chance(0.6) ? 'drop' : 'observe',
      ...(random.chance(0.3) && { interfaces: [random.pick(INTERFACES)] }),
    })),
  )
}

/** Rate limits that hold nothing up: a test run only asks which of them counts its packet. */
export function randomLimits(random: Random): Map<string, RateLimit> {
  const all = Array.from({ length: 1 + random.below(6) }, (__, position): RateLimit => {
    const { established, socket, ...scope } = scopeOf(random)
    const texts = Array.from({ length: random.below(12) }, () => addresses(random))
    const sources = setOf(texts)
    const per = random.pick(['source', 'destination', 'service', 'all'] as const)
    const prefix = { v4: random.below(33), v6: random.below(129) }
    const canBan = per === 'source' && prefix.v4 >= RATE.ban.prefix.v4 && prefix.v6 >= RATE.ban.prefix.v6
    return {
      name: `limit-${position}`,
      position,
      scope,
      ...(texts.length > 0 && { sources }),
      per,
      prefix,
      packets: { perSecond: 1 + random.below(1_000_000), burst: 1 + random.below(1000) },
      ...(random.chance(0.5) && { bits: { perSecond: 1000 + random.below(1e9), burst: 20_000 } }),
      action: random.pick(['drop', 'observe']),
      ...(canBan && random.chance(0.6) && { ban: { forMs: 600_000, afterMs: 3000 } }),
      buckets: 1024,
    }
  })
  return new Map(all.map((limit) => [limit.name, limit]))
}

function upper(random: Random): Layer[] {
  const ports = { source: random.pick(PORTS), destination: random.pick(PORTS) }
  const [ours, theirs] = random.pick([
    [67, 68],
    [547, 546],
  ] as const)
  return random.pick<() => Layer[]>([
    () => [layers.udp(ports), layers.raw(random.below(12))],
    () => [layers.udp({ source: ours, destination: theirs })],
    () => [layers.tcp({ ...ports, flags: random.pick([2, 16, 4, 18, 1, 3, 6, 0, 24, 41, 57, 63]) })],
    () => [layers.icmp(random.below(20), random.below(3))],
    () => [layers.icmpv6(random.pick([random.below(6), 128 + random.below(17)]), random.below(3))],
    () => [layers.udp({ source: theirs, destination: ours })],
    () => [layers.udp({ source: ours, destination: ours })],
    () => [layers.raw(random.below(30))],
  ])()
}

function extensions(random: Random): Layer[] {
  return Array.from({ length: random.chance(0.5) ? 0 : random.below(11) }, () => {
    const size = 8 * (1 + random.below(3))
    return random.pick<() => Layer>([
      () => layers.hopByHop({ size }),
      () => layers.routing({ size }),
      () => layers.destinationOptions({ size }),
      () => layers.ah({ size: 8 + 4 * random.below(4) }),
      () => layers.fragment(),
      () => layers.fragment({ more: random.chance(0.7), offset: random.chance(0.4) ? random.below(9) : 0 }),
    ])()
  })
}

function network(random: Random): Layer[] {
  if (random.chance(0.05)) return [layers.arp()]
  if (random.chance(0.05)) return [layers.typed(random.chance(0.7) ? random.pick(ETHERTYPES) : random.below(0x10000))]
  const next = random.chance(0.2) ? random.pick(PROTOCOLS) : undefined
  if (random.chance(0.5)) {
    const fields = {
      source: address4(random),
      destination: address4(random),
      options: random.chance(0.2) ? 4 * random.below(11) : 0,
      more: random.chance(0.1),
      offset: random.chance(0.1) ? 1 + random.below(0x1fff) : 0,
      ttl: random.below(256),
      tos: random.pick([0, 3, 0x20, 0xb8]),
      ...(next === undefined ? {} : { protocol: next }),
      ...(random.chance(0.05) ? { totalLength: random.below(60) } : {}),
      ...(random.chance(0.03) ? { ihl: random.below(16) } : {}),
    }
    return [layers.ipv4(fields), ...upper(random)]
  }
  const fields = {
    source: address6(random),
    destination: address6(random),
    hopLimit: random.below(256),
    trafficClass: random.pick([0, 3, 0x20, 0xb8]),
    ...(next === undefined ? {} : { next }),
    ...(random.chance(0.05) ? { payloadLength: random.below(60) } : {}),
  }
  return [layers.ipv6(fields), ...extensions(random), ...upper(random)]
}

/** A frame: mostly sound, sometimes truncated, padded, or with one byte changed. */
export function randomFrame(random: Random): Uint8Array {
  const tags = Array.from({ length: random.chance(0.7) ? 0 : random.below(random.chance(0.3) ? 20 : 4) }, (_, i) =>
    layers.vlan(i, {
      type: random.chance(0.1) ? random.pick([0x9100, 0x9200, 0x9300]) : random.pick([0x8100, 0x88a8]),
    }),
  )
  const frame = layers.packet(layers.ethernet(), ...tags, ...network(random))
  if (random.chance(0.15)) frame[12 + random.below(frame.length - 12)] = random.below(256)
  if (random.chance(0.1)) return frame.subarray(0, Math.max(16, 14 + random.below(frame.length - 14)))
  return random.chance(0.1) ? layers.padded(frame, Math.max(60, frame.length)) : frame
}

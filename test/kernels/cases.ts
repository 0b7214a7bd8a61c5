// Prepares test input for a guest kernel as files on the host: maps and programs created as the product does it, images
// written through table_write, and packets with the expected verdict and reason of each. The guest has no Node and only
// runs bpftool; this file also judges its output.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import {
  explanationCodec,
  interfaceReportCodec,
  LINE_SIZE,
  REASON,
  STATS_KIND,
  statsRequestCodec,
  transferCodec,
} from '../../src/abi/generated.ts'
import type { ObjectFile } from '../../src/abi/object.ts'
import { type MapShape, mapWords, type Paths, pinPaths, policyMap } from '../../src/abi/paths.ts'
import { balancerMaps } from '../../src/features/balancer.ts'
import { PROGRAMS, partsFor, SHARED_MAPS } from '../../src/features/features.ts'
import { FORWARDINGS, type Forwarding } from '../../src/features/forwarding/forwarding.ts'
import { rateMaps } from '../../src/features/rates.ts'
import { withLinear, withParts } from '../../src/kernel/tools/object.ts'
import { packChunks } from '../../src/kernel/tools/transfer.ts'
import { ANOMALY_NAMES } from '../../src/model/anomaly.ts'
import { DEFAULT_POLICY } from '../../src/model/policy.ts'
import type { State } from '../../src/model/state.ts'
import { type ReasonName, verdictOf } from '../../src/report/reason.ts'
import { judge } from '../../src/semantics/judge.ts'
import { compileImage } from '../../src/tables/image/image.ts'
import { transferOf } from '../../src/tables/layout/difference.ts'
import { type Image, imageBytes } from '../../src/tables/layout/layout.ts'
import { FORWARDING } from '../bpf/cases/balancing.ts'
import { FRAMES } from '../support/anomalies.ts'
import { outcomeOf } from '../support/forwarding.ts'
import { policy } from '../support/lists.ts'
import { factsOf, isStray } from '../support/model.ts'
import * as p from '../support/packets.ts'
import { listOfSources } from '../support/rate-sources.ts'
import { backend, balancing, service } from '../support/services.ts'
import { slotsFor } from '../support/slots.ts'
import { list, rateLimit, scoped, state } from '../support/states.ts'

const ANY = { protocol: 'any', sourcePorts: [], destinationPorts: [] } as const
const port = (first: number, last = first) => ({ first, last })

type Reason = keyof typeof REASON

interface Row {
  readonly name: string
  readonly packet: Uint8Array
  readonly reason: Reason
}

export interface Policy {
  /** Number of the policy and of its generation. */
  readonly number: number
  readonly name: string
  readonly state: State
  readonly rows: readonly Row[]
}

const row = (reason: Reason, name: string, ...layers: readonly p.Layer[]): Row => ({
  name,
  reason,
  packet: p.packet(p.ethernet(), ...layers),
})

const FILTER = state({
  policy: 'pass',
  lists: [
    list('allowlist', 'office', scoped(ANY, '198.51.100.128/25', '2001:db8:a::/48')),
    list('blocklist', 'blocklist', scoped(ANY, '198.51.100.0/24', '2001:db8::/32', '192.0.2.77')),
    list(
      'blocklist',
      'dns',
      scoped({ protocol: 17, sourcePorts: [port(53)], destinationPorts: [] }, '203.0.113.0/24', '2001:db9::/32'),
    ),
    list(
      'blocklist',
      'scanners',
      scoped({ protocol: 6, sourcePorts: [], destinationPorts: [port(22), port(5900, 5999)] }, '192.0.2.0/25'),
    ),
    list('blocklist', 'pings', scoped({ protocol: 'icmp', sourcePorts: [], destinationPorts: [] }, '203.0.113.128/25')),
  ],
})

const from = (source: string): p.Layer => (source.includes(':') ? p.ipv6({ source }) : p.ipv4({ source }))

const tags = (count: number) => Array.from({ length: count }, () => p.vlan(0))

/** 4 KiB of options: the linear part of a test packet ends before. */
const longOptions = () => [p.hopByHop({ size: 2048 }), p.destinationOptions({ size: 2048 })]

const FILTER_ROWS: readonly Row[] = [
  row('NOT_IP', 'ARP', p.arp()),
  row('NOT_IP', 'an unknown ethertype', p.raw(40)),
  row('DEFAULT_PASS', 'IPv4 in no list', from('8.8.8.8'), p.udp()),
  row('DEFAULT_PASS', 'IPv6 in no list', from('2001:4860::8'), p.udp()),
  row('BLOCKLIST', 'a blocked IPv4 prefix', from('198.51.100.7'), p.tcp()),
  row('BLOCKLIST', 'a blocked IPv4 address', from('192.0.2.77'), p.icmp(8)),
  row('DEFAULT_PASS', 'the address next to it', from('192.0.2.78'), p.icmp(8)),
  row('ALLOWLIST', 'an allowed part of a blocked prefix', from('198.51.100.200'), p.tcp()),
  row('BLOCKLIST', 'a blocked IPv6 prefix', from('2001:db8::7'), p.udp()),
  row('ALLOWLIST', 'an allowed part of it', from('2001:db8:a::7'), p.udp()),
  row('BLOCKLIST', 'one VLAN tag', p.vlan(7), from('198.51.100.7'), p.udp()),
  row('BLOCKLIST', 'two VLAN tags', p.vlan(7, { type: 0x88a8 }), p.vlan(8), from('2001:db8::7'), p.udp()),
  row('BLOCKLIST', 'three VLAN tags', p.vlan(1), p.vlan(2), p.vlan(3), from('198.51.100.7'), p.udp()),
  row('BLOCKLIST', 'sixteen priority tags', ...tags(16), from('198.51.100.7'), p.udp()),
  row('UNSUPPORTED', 'seventeen priority tags', ...tags(17), from('198.51.100.7'), p.udp()),
  row('BLOCKLIST', 'a tag of ethertype 0x9100', p.vlan(1, { type: 0x9100 }), from('2001:db8::7'), p.udp()),
  row('BLOCKLIST', 'beyond the linear part', from('2001:db9::9'), ...longOptions(), p.udp({ source: 53 })),
  row('DEFAULT_PASS', 'another port beyond the linear part', from('2001:db9::9'), ...longOptions(), p.udp()),
  row('BLOCKLIST', 'UDP from port 53', from('203.0.113.9'), p.udp({ source: 53 })),
  row('DEFAULT_PASS', 'UDP from port 54', from('203.0.113.9'), p.udp({ source: 54 })),
  row('DEFAULT_PASS', 'TCP from port 53', from('203.0.113.9'), p.tcp({ source: 53 })),
  row('BLOCKLIST', 'IPv6 UDP from port 53', from('2001:db9::9'), p.udp({ source: 53 })),
  row('BLOCKLIST', 'behind IPv4 options', p.ipv4({ source: '203.0.113.9', options: 40 }), p.udp({ source: 53 })),
  row(
    'BLOCKLIST',
    'behind IPv6 extension headers',
    from('2001:db9::9'),
    p.hopByHop({ size: 16 }),
    p.routing({ size: 24 }),
    p.destinationOptions(),
    p.ah({ size: 24 }),
    p.udp({ source: 53 }),
  ),
  row('BLOCKLIST', 'a first IPv6 fragment', from('2001:db9::9'), p.fragment({ more: true }), p.udp({ source: 53 })),
  row('DEFAULT_PASS', 'a later IPv6 fragment', from('2001:db9::9'), p.fragment({ offset: 8 }), p.udp({ source: 53 })),
  row('BLOCKLIST', 'a first IPv4 fragment', p.ipv4({ source: '203.0.113.9', more: true }), p.udp({ source: 53 })),
  row('DEFAULT_PASS', 'a later IPv4 fragment', p.ipv4({ source: '203.0.113.9', offset: 8 }), p.udp({ source: 53 })),
  row('BLOCKLIST', 'TCP to port 22', from('192.0.2.9'), p.tcp({ destination: 22 })),
  row('BLOCKLIST', 'TCP to the end of a port range', from('192.0.2.9'), p.tcp({ destination: 5999 })),
  row('DEFAULT_PASS', 'TCP beyond the port range', from('192.0.2.9'), p.tcp({ destination: 6000 })),
  row('BLOCKLIST', 'a scoped ping', from('203.0.113.200'), p.icmp(8)),
  row('DEFAULT_PASS', 'an ICMP error under a ping scope', from('203.0.113.200'), p.udp()),
  row('MALFORMED', 'an IPv4 header length of four words', p.ipv4({ ihl: 4 }), p.udp()),
  row('MALFORMED', 'an IPv4 header with version 6', p.ipv4({ version: 6 }), p.udp()),
  row('BLOCKLIST', 'a blocked address with a truncated TCP header', from('198.51.100.7'), { ...p.raw(4), protocol: 6 }),
  row('MALFORMED', 'a truncated TCP header', from('8.8.8.8'), { ...p.raw(4), protocol: 6 }),
]

const DROP = state({
  policy: 'drop',
  lists: [
    list('allowlist', 'allowlist', scoped(ANY, '198.51.100.7', '2001:db8::/64')),
    list('blocklist', 'blocklist', scoped(ANY, '203.0.113.0/24')),
  ],
})

const DROP_ROWS: readonly Row[] = [
  row('NOT_IP_DROP', 'an unknown ethertype', p.raw(40)),
  row('NOT_IP', 'LLDP', p.typed(0x88cc)),
  row('MALFORMED_DROP', 'an IPv4 header length of four words', p.ipv4({ ihl: 4 }), p.udp()),
  row('UNSUPPORTED_DROP', 'seventeen priority tags', ...tags(17), from('198.51.100.7'), p.udp()),
  row('ESSENTIAL', 'an ICMP error', from('192.0.2.254'), p.icmp(3, 4)),
  row('DEFAULT_DROP', 'IPv4 in no list', from('8.8.8.8'), p.udp()),
  row('DEFAULT_DROP', 'IPv6 in no list', from('2001:4860::8'), p.udp()),
  row('ALLOWLIST', 'an allowed IPv4 address', from('198.51.100.7'), p.udp()),
  row('ALLOWLIST', 'an allowed IPv6 prefix', from('2001:db8::1'), p.udp()),
  row('BLOCKLIST', 'a blocked prefix', from('203.0.113.5'), p.udp()),
  row('ESSENTIAL', 'ARP', p.arp()),
  row('ESSENTIAL', 'neighbour discovery', from('fe80::1'), p.icmpv6(135)),
  row('DEFAULT_DROP', 'an IPv6 ping', from('fe80::1'), p.icmpv6(128)),
  row('ESSENTIAL', 'a DHCP reply', from('192.0.2.254'), p.udp({ source: 67, destination: 68 })),
  row('ESSENTIAL', 'a DHCPv6 reply', from('fe80::1'), p.udp({ source: 547, destination: 546 })),
  row('ESSENTIAL', 'loopback', p.ipv4({ source: '127.0.0.1', destination: '127.0.0.1' }), p.udp()),
]

const VICTIMS = scoped(ANY, '192.0.2.64/26', '2001:db8:ffff::/48').addresses

/** Header fields, in a list that drops and in one that observes. */
const FIELDS = state({
  policy: 'pass',
  lists: [
    list(
      'blocklist',
      'fields',
      scoped(
        { ...ANY, protocol: 6, match: { tcpFlags: { mask: 0x12, value: 2 }, destinations: VICTIMS } },
        '198.51.100.0/24',
        '2001:db8::/32',
      ),
      scoped({ ...ANY, match: { fragments: 'later', vlan: port(7) } }, '198.51.100.0/24', '2001:db8::/32'),
    ),
    list('blocklist', 'seen', scoped({ ...ANY, action: 'observe', match: { ttl: port(0, 5) } }, '198.51.100.0/24')),
  ],
})
const FIELDS_ROWS = [
  row('BLOCKLIST', 'a SYN to a victim', p.ipv4({ destination: '192.0.2.65' }), p.tcp()),
  row('DEFAULT_PASS', 'an ACK to a victim', p.ipv4({ destination: '192.0.2.65' }), p.tcp({ flags: 0x10 })),
  row('BLOCKLIST', 'a SYN to a victim over IPv6', p.ipv6(), p.destinationOptions({ size: 8 }), p.tcp()),
  row('BLOCKLIST', 'a later fragment of a VLAN', p.vlan(7), p.ipv4({ offset: 9 }), p.raw(16)),
  row('DEFAULT_PASS', 'a later fragment without a tag', p.ipv4({ offset: 9 }), p.raw(16)),
  row('OBSERVED', 'a packet that is only observed', p.ipv4({ ttl: 5 }), p.udp()),
]

const STRAY = state({
  policy: 'pass',
  lists: [
    list(
      'blocklist',
      'stray',
      scoped({ protocol: 6, sourcePorts: [], destinationPorts: [], socket: 'none' }, '0.0.0.0/0', '::/0'),
    ),
  ],
})

const STRAY_ROWS: readonly Row[] = [
  row('BLOCKLIST', 'an ACK without a socket', from('192.0.2.9'), p.tcp({ flags: p.ACK })),
  row('BLOCKLIST', 'an RST without a socket over IPv6', from('2001:db8::9'), p.tcp({ flags: p.RST })),
  row('BLOCKLIST', 'a FIN without a socket behind a tag', p.vlan(7), from('192.0.2.9'), p.tcp({ flags: p.FIN })),
  row('BLOCKLIST', 'beyond the linear part', from('2001:db9::9'), ...longOptions(), p.tcp({ flags: p.ACK })),
  row('DEFAULT_PASS', 'a SYN', from('192.0.2.9'), p.tcp()),
  row('DEFAULT_PASS', 'a SYN beyond the linear part', from('2001:db9::9'), ...longOptions(), p.tcp()),
  row('DEFAULT_PASS', 'UDP', from('192.0.2.9'), p.udp()),
]

/** In the guest nothing listens. */
const SYNS: State = {
  ...state({ policy: 'pass' }),
  policy: { ...DEFAULT_POLICY, syn_protection: 'always 2000 443,8000-8099' },
}

const SYN_ROWS: readonly Row[] = [
  row('DEFAULT_PASS', 'a SYN that no socket waits for', from('192.0.2.9'), p.tcp({ destination: 443 })),
  row(
    'DEFAULT_PASS',
    'an ACK without a socket over IPv6',
    from('2001:db8::9'),
    p.tcp({ destination: 8000, flags: p.ACK }),
  ),
]

/** A generator of numbers that are equal in every run. */
function sequence(seed: number): () => number {
  let current = seed
  return () => {
    // Numerical Recipes' linear congruential generator: good enough to scatter addresses.
    current = (Math.imul(current, 1664525) + 1013904223) >>> 0
    return current
  }
}

const SIZE = 20_000

/** Enough prefixes of all lengths to use every kind of table; the model gives the expected verdicts. */
function large(): Pick<Policy, 'state' | 'rows'> {
  const next = sequence(1)
  const dotted = (word: number) => [24, 16, 8, 0].map((shift) => (word >>> shift) & 255).join('.')
  const groups = (a: number, b: number) =>
    `2001:${[a >>> 16, a & 0xffff, b >>> 16].map((x) => x.toString(16)).join(':')}::`
  const listed = Array.from({ length: SIZE }, (_, i) => {
    const [a, b] = [next(), next()]
    if (i % 4 === 3) return `${groups(a, b)}${i % 8 === 3 ? '/64' : '1'}`
    if (i % 4 === 2) return `${dotted((a & 0xffffff00) >>> 0)}/24`
    return dotted(a)
  })
  const whole = state({ policy: 'pass', lists: [list('blocklist', 'large', scoped(ANY, ...listed))] })
  const probes = listed.flatMap((text, i) => (i % 1000 < 4 ? [text.split('/')[0] ?? ''] : []))
  const others = Array.from({ length: 40 }, (_, i) => (i % 2 === 0 ? dotted(next()) : `${groups(next(), next())}5`))
  const rows = [...probes, ...others].map((source) => {
    const packet = p.packet(p.ethernet(), from(source), p.udp())
    return { name: source, packet, reason: reasonOf(whole, packet) }
  })
  return { state: whole, rows }
}

/** The model's reason for a packet. */
const reasonOf = (policy: State, packet: Uint8Array): Reason => numbered(judge(policy, factsOf(packet)).reason)

function numbered(reason: ReasonName): Reason {
  return reason.toUpperCase().replaceAll('-', '_') as Reason
}

/** The address of the guest's other namespace, which sends the pings. */
export const PEER = '10.99.0.2'
/** Blocked addresses of the peer inside of tunnels. */
const BARE = ['10.97.0.66', '2001:db8:97::66'] as const

/** The bond of the guest and its peer: interface indexes and MAC addresses that guest.sh sets. */
export const BOND = { ifindex: 50, mac: '02005e100032', peerMac: '02005e100033' } as const

/** Number of the policy that blocks the peer, whose filter also has another program behind it. */
const CHAINING = 4
/** Directory of the map and the programs of that chain. */
const CHAIN = '/sys/fs/bpf/default-chain'
const FILTER_PROGRAM = 'xdp_filter'

/** Number of the policy of the bond. */
const BONDED = 6 + FORWARDINGS.length

/** Number of the policy whose programs have the most paths for the verifier of Linux 6.1. */
const MOST_PATHS = BONDED + 5

export const POLICIES: readonly Policy[] = [
  { number: 1, name: 'lists and scopes', state: FILTER, rows: FILTER_ROWS },
  { number: 2, name: 'default drop', state: DROP, rows: DROP_ROWS },
  { number: 3, name: `${SIZE} prefixes`, ...large() },
  { number: 4, name: 'a blocked peer', state: state({ policy: 'pass', lists: [block(PEER, ...BARE)] }), rows: [] },
  { number: 5, name: 'no lists', state: state({ policy: 'pass' }), rows: [] },
  ...FORWARDINGS.map((forwarding, i) => ({
    number: 6 + i,
    name: `services with ${forwarding}`,
    ...services(forwarding),
  })),
  { number: BONDED, name: 'full NAT through a bond', ...bonded() },
  { number: BONDED + 1, name: 'packets without a socket', state: STRAY, rows: STRAY_ROWS },
  { number: BONDED + 2, name: 'anomalies', ...anomalies() },
  { number: BONDED + 3, name: 'SYNs to a protected port', state: SYNS, rows: SYN_ROWS },
  { number: BONDED + 4, name: 'header fields', state: FIELDS, rows: FIELDS_ROWS },
  { number: MOST_PATHS, name: 'every part but socketless', ...withoutSocketless() },
]

/** Every anomaly is dropped. */
function anomalies(): Pick<Policy, 'state' | 'rows'> {
  const rows = FRAMES.map(([name, frame, found]) => ({
    name,
    packet: frame,
    reason: numbered(found.length > 0 ? 'anomaly' : 'default-pass'),
  }))
  return {
    state: { ...policy('pass'), policy: { ...DEFAULT_POLICY, default: 'pass', anomalies: ANOMALY_NAMES } },
    rows,
  }
}

/**
 * A service with full NAT: client and backend are both behind the bond. Also a list, to see roles on it, and lists for which
 * the programs have every part.
 */
function bonded(): Pick<Policy, 'state' | 'rows'> {
  const nextHop = {
    interface: 'bond0',
    ifindex: BOND.ifindex,
    mac: BOND.peerMac,
    sourceMac: BOND.mac,
    vlan: 0,
    mtu: 1500,
  }
  const web = service('web', '10.98.0.100 80', {
    backends: [backend('10.98.0.3', { nextHop })],
    snatPool: ['10.98.0.200'],
  })
  const asking = list(
    'blocklist',
    'asking',
    scoped({ ...ANY, established: 'pass' }, '10.98.0.67'),
    scoped({ ...ANY, protocol: 6, socket: 'none' }, '10.98.0.68'),
    scoped({ ...ANY, match: { ttl: { first: 0, last: 1 } }, action: 'observe' }, '10.98.0.69'),
  )
  const sources = scoped(ANY, '10.98.0.0/16', '2001:db8::/32').addresses
  const limits = [
    rateLimit('web', {
      scope: {
        ...ANY,
        protocol: 6,
        destinationPorts: [port(80), port(443)],
        match: { length: { first: 40, last: 1500 } },
      },
      sources,
      ban: { forMs: 600_000, afterMs: 3000 },
      buckets: 1024,
    }),
    rateLimit('listed', { position: 2, sources: 'list', packets: { perSecond: 1e9, burst: 1e9 }, buckets: 1024 }),
    rateLimit('everything', { position: 1, per: 'all', bits: { perSecond: 1e12, burst: 1e12 }, buckets: 1024 }),
  ]
  const rateLimits = new Map(limits.map((one) => [one.name, one]))
  const named = [block('10.98.0.66'), asking, listOfSources('listed', sources)]
  const lists = new Map(named.map((one) => [one.name, one]))
  const balanced = balancing([web])
  // Its packets have private sources.
  const anomalies = ANOMALY_NAMES.filter((name) => name !== 'bogons')
  const policy = { ...(balanced.policy ?? DEFAULT_POLICY), anomalies, syn_protection: 'always 2000 8443' }
  return { state: { ...balanced, policy, lists, rateLimits }, rows: [] }
}

/** The policy of the bond without `socket: none`. */
function withoutSocketless(): Pick<Policy, 'state' | 'rows'> {
  const { state: whole, rows } = bonded()
  const lists = [...whole.lists.values()].map((one) => ({
    ...one,
    sets: one.sets.filter(({ scope }) => scope.socket === undefined),
  }))
  return { state: { ...whole, lists: new Map(lists.map((one) => [one.name, one])) }, rows }
}

/** Services of one forwarding mode for VIPs of both families, and packets to them. */
function services(forwarding: Forwarding): Pick<Policy, 'state' | 'rows'> {
  const suites = FORWARDING.filter((one) => one.forwarding === forwarding && one.vip === one.family)
  const own = suites.flatMap(({ vip, state: { services: all } }) =>
    [...all.values()].map((one) => ({ ...one, name: `${one.name} IPv${vip}` })),
  )
  const rows = suites.flatMap(({ cases }) =>
    cases.map(({ name, frame, reason }) => ({ name, packet: frame, reason: numbered(reason) })),
  )
  return { state: balancing(own), rows }
}

function block(...addresses: readonly string[]) {
  return list('blocklist', 'blocklist', scoped(ANY, ...addresses))
}

function createLine(pin: string, shape: MapShape): string {
  return `map create ${pin} ${mapWords(shape).join(' ')}`
}

function imageOf({ number, state: wanted }: Policy): Image {
  return compileImage({
    state: wanted,
    slots: slotsFor(wanted),
    meta: { generation: number, netns: 0n, objectDigest: new Uint8Array(16) },
  })
}

const DATA_OUT = 'data_size_out 65536 repeat 1'

/** A transfer line and the lines of its extents, zero without `image`. */
function transfer(
  extents: readonly { first: number; lines: number }[],
  result: number,
  image?: Uint8Array,
): Uint8Array {
  const lines = extents.reduce((sum, extent) => sum + extent.lines, 0)
  const bytes = new Uint8Array((1 + lines) * LINE_SIZE)
  const filled = Array.from({ length: 7 }, (_, i) => extents[i] ?? { first: 0, lines: 0 })
  transferCodec.encode({ count: extents.length, result, extents: filled }, new DataView(bytes.buffer))
  let at = LINE_SIZE
  for (const { first, lines: count } of image ? extents : []) {
    bytes.set(image?.subarray(first * LINE_SIZE, (first + count) * LINE_SIZE) ?? [], at)
    at += count * LINE_SIZE
  }
  return bytes
}

function preparePolicy(
  directory: string,
  guest: string,
  paths: Paths,
  policy: Policy,
  objects: readonly ObjectFile[],
): void {
  const { number, rows } = policy
  mkdirSync(directory, { recursive: true })
  const file = (name: string, content: Uint8Array | string): string => {
    writeFileSync(join(directory, name), content)
    return `${guest}/${number}/${name}`
  }
  const compiled = imageOf(policy)
  const image = imageBytes(compiled)
  const shared = SHARED_MAPS.map((map) => `map name ${map.name} pinned ${paths.sharedMap(map)}`)
  const run = (program: string, input: string, output: string): string =>
    `prog run pinned ${paths.program(number, program)} data_in ${input} data_out ${output} ${DATA_OUT}`
  const own: readonly MapShape[] = [...Object.values(balancerMaps(compiled)), ...Object.values(rateMaps(compiled))]
  const creates = [
    createLine(paths.policy(number), policyMap(image.length / LINE_SIZE)),
    ...own.map((shape) => createLine(paths.ownMap(number, shape), shape)),
  ]
  file('create', `${creates.join('\n')}\n`)
  const maps = [
    `map name policy pinned ${paths.policy(number)}`,
    ...own.map((shape) => `map name ${shape.name} pinned ${paths.ownMap(number, shape)}`),
    ...shared,
  ]
  const chaining = new Map([...partsFor(policy.state), ['chain', true]])
  for (const object of objects) {
    const name = basename(object.path)
    const path = file(
      name,
      withParts(object, number === BONDED || number === MOST_PATHS ? chaining : partsFor(policy.state)),
    )
    file(`load-${name}`, `prog loadall ${path} ${paths.programs(number)} ${maps.join(' ')}\n`)
  }
  const [first] = objects
  if (first && number === CHAINING) {
    const [, linear] = withLinear(first, chaining, FILTER_PROGRAM)
    const path = file('linear.o', linear as Uint8Array)
    const chain = `map name chain pinned ${CHAIN}/programs`
    file('linear', `prog loadall ${path} ${CHAIN}/own ${[...maps, chain].join(' ')}\n`)
  }
  const chunks = packChunks(transferOf(compiled).writes)
  const writes = chunks.map((chunk, i) =>
    run('table_write', file(`chunk-${i}`, transfer(chunk, 0, image)), '/dev/null'),
  )
  file('write', `${writes.join('\n')}\n`)
  // Read back only the start of the image; the rest would reveal no more about this kernel.
  const head = [{ first: 0, lines: Math.min(1000, image.length / LINE_SIZE) }]
  const readRequest = file('read-request', transfer(head, 0))
  file('read-expected', transfer(head, head[0]?.lines ?? 0, image))
  file('read', `${run('table_read', readRequest, '/tmp/read')}\n`)
  const runs = rows.flatMap(({ packet }, i) => {
    const name = file(`packet-${i}`, packet)
    const went = policy.state.services.size > 0 ? `/tmp/went-${number}-${i}` : '/dev/null'
    return [run('xdp_filter', name, went), run('explain', name, `/tmp/explained-${number}-${i}`)]
  })
  file('packets', `${runs.join('\n')}\n`)
}

/** A request for the counters of interface slot 1. The guest has one CPU, and possible CPUs that do not exist. */
function statsRequest(): Uint8Array {
  const bytes = new Uint8Array(statsRequestCodec.size + interfaceReportCodec.size)
  const request = { kind: STATS_KIND.INTERFACES, first: 1, records: 1, first_cpu: 0, cpus: 1, result: 0 }
  statsRequestCodec.encode(request, new DataView(bytes.buffer))
  return bytes
}

/** Numbers of the policies for a short look at a kernel: lists and scopes, and one for which the programs have every part. */
export const SAMPLE: readonly number[] = [1, BONDED]

/** Numbers of the policies with services, one for each forwarding mode. */
export const FORWARDING_NUMBERS: readonly number[] = FORWARDINGS.map((_, i) => 6 + i)

/**
 * Writes all files for the guest. Returns shell variables.
 *
 * @param guest path of the directory in the guest
 * @param shipped paths of the BPF objects
 * @param numbers of the policies; default: all
 */
export function prepare(
  directory: string,
  guest: string,
  shipped: readonly string[],
  numbers: readonly number[] = POLICIES.map(({ number }) => number),
): Record<string, string> {
  const objects = shipped.map((path) => ({ path, content: readFileSync(path) }))
  const paths = pinPaths('/sys/fs/bpf', 'default')
  mkdirSync(directory, { recursive: true })
  writeFileSync(
    join(directory, 'shared'),
    `${SHARED_MAPS.map((shape) => createLine(paths.sharedMap(shape), shape)).join('\n')}\n`,
  )
  writeFileSync(join(directory, 'stats'), statsRequest())
  for (const policy of POLICIES) {
    if (numbers.includes(policy.number))
      preparePolicy(join(directory, `${policy.number}`), guest, paths, policy, objects)
  }
  return {
    cases: guest,
    instance: paths.instance,
    shared: paths.shared,
    peer: PEER,
    bonded: `${BONDED}`,
    chain: CHAIN,
    bond_index: `${BOND.ifindex}`,
    bond_mac: spaced(BOND.mac),
    bond_peer_mac: spaced(BOND.peerMac),
    wanted: PROGRAMS.join(' '),
    policies: numbers.join(' '),
    measured: SAMPLE.join(' '),
  }
}

/** `02:00:5e:10:00:01` */
const spaced = (mac: string): string => mac.replace(/(..)(?=.)/g, '$1:')

/** linux/bpf.h enum xdp_action */
const ACTIONS = { aborted: 0, drop: 1, pass: 2, tx: 3, redirect: 4 } as const

/**
 * Judges the guest's output for one policy: a line `explained I HEX`, for policies with services a line `went I HEX`,
 * and a JSON batch result for each packet. Returns one message per packet, undefined if the result is correct.
 */
export function judgePackets(
  policy: Policy,
  results: readonly unknown[],
  explained: ReadonlyMap<number, string>,
  went: ReadonlyMap<number, string>,
) {
  return policy.rows.map(({ name, packet, reason }, i) => {
    const judged = judge(policy.state, factsOf(packet), { socketless: isStray(packet) })
    const wanted = numbered(judged.reason)
    if (wanted !== reason) return `${name}: the model expects ${wanted}, the table ${reason}`
    const retvals = [results[i * 2], results[i * 2 + 1]].map(
      (one) => (one as { output?: { retval?: number } })?.output?.retval,
    )
    const expected = ACTIONS[verdictOf(judged.reason)]
    if (retvals.some((retval) => retval !== expected)) return `${name}: returned ${retvals.join(', ')}, not ${expected}`
    const bytes = Buffer.from(explained.get(i) ?? '', 'hex')
    if (bytes.length < explanationCodec.size) return `${name}: no explanation`
    const got = explanationCodec.decode(new DataView(bytes.buffer, bytes.byteOffset, bytes.length)).reason
    if (got !== REASON[reason]) return `${name}: reason ${got}, not ${REASON[reason]} (${reason})`
    const output = Buffer.from(outcomeOf(packet, judged)).toString('hex')
    return policy.state.services.size === 0 || went.get(i) === output
      ? undefined
      : `${name}: ${went.get(i)}, not ${output}`
  })
}

// Packets to VIPs and elsewhere: the balancer's verdict on each kind of packet, for every forwarding, family and link.
// support/forwarding.ts has the expected output bytes.

import { FORWARDING_MODES, FORWARDINGS, type Forwarding } from '../../../src/features/forwarding/forwarding.ts'
import type { Service } from '../../../src/model/service.ts'
import type { State } from '../../../src/model/state.ts'
import type { ReasonName } from '../../../src/report/reason.ts'
import { seal } from '../../support/checksums.ts'
import { EXPECTED } from '../../support/forwarding.ts'
import {
  ACK,
  ah,
  destinationOptions,
  ethernet,
  FIN,
  fragment,
  hopByHop,
  icmp,
  icmpv6,
  ipv4,
  ipv6,
  type Layer,
  packet,
  padded,
  RST,
  raw,
  routing,
  tcp,
  udp,
  vlan,
} from '../../support/packets.ts'
import { backend, balancing, EGRESS, service } from '../../support/services.ts'

export interface BalancedCase {
  readonly name: string
  readonly frame: Uint8Array
  readonly reason: ReasonName
  /** Name of the packet's service. */
  readonly service: string | undefined
}

export interface BalancedSuite {
  readonly name: string
  readonly state: State
  readonly cases: readonly BalancedCase[]
}

type Family = 4 | 6
const FAMILIES: readonly Family[] = [4, 6]

const VIP = { 4: '192.0.2.10', 6: '2001:db8:f::10' } as const
const OTHER = { 4: '192.0.2.11', 6: '2001:db8:f::11' } as const
const BACKENDS = {
  4: ['10.0.0.11', '10.0.0.12', '10.0.0.13'],
  6: ['fd00::11', 'fd00::12', 'fd00::13'],
} as const

interface Header {
  readonly from?: string
  readonly to?: string
  readonly tos?: number
  readonly ttl?: number
  readonly df?: boolean
}

const ip = (family: Family, { from, to = VIP[family], tos = 0, ttl = 64, df = false }: Header = {}): Layer =>
  family === 4
    ? ipv4({ ...(from ? { source: from } : {}), destination: to, tos, ttl, dontFragment: df })
    : ipv6({ ...(from ? { source: from } : {}), destination: to, trafficClass: tos, hopLimit: ttl, flowLabel: 0x12345 })

const echo = (family: Family): Layer => (family === 4 ? icmp(8, 0, 0x00010002) : icmpv6(128, 0, 0x00010002))

const sealed = (...layers: readonly Layer[]): Uint8Array => seal(packet(ethernet(), ...layers))
/** Appends bytes to an IP datagram, which its transport header does not count (RFC 9868). */
function surplus(frame: Uint8Array, family: Family, bytes: Uint8Array): Uint8Array {
  const longer = Uint8Array.from([...frame, ...bytes])
  const [view, at] = [new DataView(longer.buffer), family === 4 ? 16 : 18]
  view.setUint16(at, view.getUint16(at) + bytes.length)
  return seal(longer)
}
/** With UDP checksums of zero. */
const unsummed = (...layers: readonly Layer[]): Uint8Array => seal(packet(ethernet(), ...layers), { keepZero: true })

/** The first `bytes` of a packet from a VIP to a client, as an error quotes it. */
function quoted(family: Family, transport: Layer, bytes?: number): Layer {
  const [source, destination] = family === 4 ? [VIP[4], '198.51.100.7'] : [VIP[6], '2001:db8::7']
  const inner = family === 4 ? ipv4({ source, destination, ttl: 61 }) : ipv6({ source, destination, hopLimit: 61 })
  const whole = seal(packet(ethernet(), inner, transport, raw(20))).subarray(14)
  return raw(whole.subarray(0, bytes ?? whole.length))
}

const error = (family: Family, type: readonly [number, number, number?]): Layer =>
  family === 4 ? icmp(...type) : icmpv6(...type)
const UNREACHABLE = { 4: [3, 3], 6: [1, 4] } as const
const TOO_BIG = { 4: [3, 4, 1400], 6: [2, 0, 1400] } as const
const EXPIRED = { 4: [11, 0], 6: [3, 0] } as const

/** Properties of a suite that the expected results depend on. */
interface Traits {
  readonly isTunnel: boolean
  /** Largest IP datagram that fits, with DF or in IPv6. */
  readonly room: number
}

/** Addresses that do not belong to one host. */
const NO_HOSTS = {
  4: ['224.0.0.1', '127.0.0.1', '0.0.0.1', '255.255.255.255'],
  6: ['ff02::1', '::1', '::'],
} as const

/** Every kind of packet to a VIP with services on TCP 80 and UDP 53. */
function kinds(family: Family, { isTunnel, room }: Traits): BalancedCase[] {
  const sent: ReasonName = 'balanced-away'
  const to = (name: string, reason: ReasonName, of: string | undefined, frame: Uint8Array): BalancedCase => ({
    name: `IPv${family} ${name}`,
    reason,
    service: of,
    frame,
  })
  const web = { destination: 80 }
  const dns = { destination: 53 }
  const header = (family === 4 ? 20 : 40) + 20
  const fits = room - header
  const back = { source: 80, destination: 40000 }
  const answer = { source: 53, destination: 40000 }
  const icmpErrors = [
    to(
      'unreachable about TCP',
      sent,
      'web',
      sealed(ip(family), error(family, UNREACHABLE[family]), quoted(family, tcp(back))),
    ),
    to(
      'too big about UDP',
      sent,
      'dns',
      sealed(ip(family), error(family, TOO_BIG[family]), quoted(family, udp(answer))),
    ),
    to(
      'time exceeded with eight bytes of TCP',
      sent,
      'web',
      sealed(ip(family), error(family, EXPIRED[family]), quoted(family, tcp(back), header - 12)),
    ),
    to(
      'unreachable with eight bytes of UDP',
      sent,
      'dns',
      sealed(ip(family), error(family, UNREACHABLE[family]), quoted(family, udp(answer), header - 12)),
    ),
    to(
      'unreachable with half of a TCP header',
      sent,
      'web',
      sealed(ip(family), error(family, UNREACHABLE[family]), quoted(family, tcp(back), header - 6)),
    ),
    to(
      'unreachable with four bytes of TCP',
      'default-pass',
      undefined,
      sealed(ip(family), error(family, UNREACHABLE[family]), quoted(family, tcp(back), header - 16)),
    ),
    to(
      'unreachable about another port',
      'default-pass',
      undefined,
      sealed(ip(family), error(family, UNREACHABLE[family]), quoted(family, tcp({ source: 81, destination: 40000 }))),
    ),
    to('an error without a packet', 'default-pass', undefined, sealed(ip(family), error(family, UNREACHABLE[family]))),
    to(
      'an error about ICMP',
      'default-pass',
      undefined,
      sealed(ip(family), error(family, EXPIRED[family]), quoted(family, echo(family))),
    ),
    to(
      'a padded error',
      sent,
      'web',
      padded(sealed(ip(family), error(family, EXPIRED[family]), quoted(family, tcp(back), header - 12)), 140),
    ),
  ]
  return [
    to('SYN', sent, 'web', sealed(ip(family), tcp(web))),
    to('data', sent, 'web', sealed(ip(family), tcp({ ...web, flags: ACK }), raw(101))),
    to('FIN', sent, 'web', sealed(ip(family), tcp({ ...web, flags: FIN | ACK }))),
    to('RST', sent, 'web', sealed(ip(family), tcp({ ...web, flags: RST }))),
    to('another client port', sent, 'web', sealed(ip(family), tcp({ ...web, source: 33333 }))),
    to('UDP', sent, 'dns', sealed(ip(family), udp(dns), raw(30))),
    to('UDP of odd length', sent, 'dns', sealed(ip(family), udp(dns), raw(Uint8Array.of(1, 2, 3, 4, 5)))),
    to('UDP without payload', sent, 'dns', sealed(ip(family), udp(dns))),
    to('UDP without checksum', sent, 'dns', unsummed(ip(family), udp(dns), raw(30))),
    to(
      'UDP shorter than its datagram',
      sent,
      'dns',
      surplus(sealed(ip(family), udp(dns), raw(30)), family, Uint8Array.of(1, 4, 0xd0, 0x0d, 9)),
    ),
    to('a padded frame', sent, 'dns', padded(sealed(ip(family), udp(dns), raw(1)), 68)),
    to('type of service', sent, 'web', sealed(ip(family, { tos: 0xb9 }), tcp(web))),
    to('802.1Q', sent, 'web', sealed(vlan(7), ip(family), tcp(web))),
    to('802.1ad over 802.1Q', sent, 'web', sealed(vlan(7, { type: 0x88a8 }), vlan(8), ip(family), tcp(web), raw(3))),
    to('the last hop', isTunnel ? sent : 'expired', 'web', sealed(ip(family, { ttl: 1 }), tcp(web))),
    to('the last hop but one', sent, 'web', sealed(ip(family, { ttl: 2 }), tcp(web))),
    to('of the maximum length', sent, 'web', sealed(ip(family, { df: true }), tcp({ ...web, flags: ACK }), raw(fits))),
    to(
      'one byte too long',
      'too-big',
      'web',
      sealed(ip(family, { df: true }), tcp({ ...web, flags: ACK }), raw(fits + 1)),
    ),
    to(
      'one byte too long behind tags',
      'too-big',
      'web',
      sealed(vlan(7), vlan(8), ip(family, { df: true }), tcp({ ...web, flags: ACK }), raw(fits + 1)),
    ),
    to('echo request', 'echo', undefined, sealed(ip(family), echo(family), raw(56))),
    ...NO_HOSTS[family].flatMap((from) => [
      to(`echo request from ${from}`, 'default-pass', undefined, sealed(ip(family, { from }), echo(family), raw(56))),
      to(
        `one byte too long from ${from}`,
        'oversize',
        'web',
        sealed(ip(family, { from, df: true }), tcp({ ...web, flags: ACK }), raw(fits + 1)),
      ),
    ]),
    to(
      'echo request behind a tag',
      'echo',
      undefined,
      sealed(vlan(7), ip(family, { ttl: 1, tos: 4 }), echo(family), raw(7)),
    ),
    to('echo reply', 'default-pass', undefined, sealed(ip(family), family === 4 ? icmp(0) : icmpv6(129))),
    to(
      'echo request to another host',
      'default-pass',
      undefined,
      sealed(ip(family, { to: OTHER[family] }), echo(family)),
    ),
    ...icmpErrors,
    to('another port', 'default-pass', undefined, sealed(ip(family), tcp({ destination: 81 }))),
    to('three tags', 'default-pass', undefined, sealed(vlan(0), vlan(0), vlan(0), ip(family), tcp(web))),
    to('a tag of ethertype 0x9100', 'default-pass', undefined, sealed(vlan(7, { type: 0x9100 }), ip(family), tcp(web))),
    to('another protocol', 'default-pass', undefined, sealed(ip(family), udp({ destination: 80 }))),
    to('a protocol without ports', 'default-pass', undefined, sealed(ip(family), raw(20))),
    to('another destination', 'default-pass', undefined, sealed(ip(family, { to: OTHER[family] }), tcp(web))),
    to('shorter than its header says', 'malformed', undefined, sealed(ip(family), tcp(web), raw(30)).subarray(0, 80)),
    ...(family === 4 ? kinds4(to) : kinds6(to)),
  ]
}

type Make = (name: string, reason: ReasonName, service: string | undefined, frame: Uint8Array) => BalancedCase

const kinds4 = (to: Make): BalancedCase[] => [
  to('options', 'balanced-away', 'web', sealed(ipv4({ destination: VIP[4], options: 8 }), tcp({ destination: 80 }))),
  to(
    'all options',
    'balanced-away',
    'dns',
    sealed(ipv4({ destination: VIP[4], options: 40 }), udp({ destination: 53 })),
  ),
  to(
    'echo request with options',
    'echo',
    undefined,
    sealed(ipv4({ destination: VIP[4], options: 12 }), icmp(8), raw(8)),
  ),
  to(
    'options past the VIP',
    'default-pass',
    undefined,
    sealed(ipv4({ destination: OTHER[4], options: 4, protocol: 2 }), raw(8)),
  ),
  to(
    'a first fragment',
    'balanced-away',
    'web',
    sealed(ipv4({ destination: VIP[4], more: true }), tcp({ destination: 80 }), raw(16)),
  ),
  to(
    'a first fragment of UDP',
    'balanced-away',
    'dns',
    unsummed(ipv4({ destination: VIP[4], more: true }), udp({ destination: 53 }), raw(16)),
  ),
  to(
    'a first fragment to no service',
    'default-pass',
    undefined,
    unsummed(ipv4({ destination: VIP[4], more: true }), udp({ destination: 54 }), raw(16)),
  ),
  to(
    'a first fragment that is too long',
    'too-big',
    'dns',
    unsummed(ipv4({ destination: VIP[4], more: true }), udp({ destination: 53 }), raw(1480)),
  ),
  to('a later fragment', 'fragment', undefined, sealed(ipv4({ destination: VIP[4], offset: 5, protocol: 6 }), raw(16))),
  to(
    'a later fragment of UDP',
    'fragment',
    undefined,
    sealed(ipv4({ destination: VIP[4], offset: 5, protocol: 17 }), raw(16)),
  ),
  to(
    'a later fragment of another protocol',
    'default-pass',
    undefined,
    sealed(ipv4({ destination: VIP[4], offset: 5, protocol: 47 }), raw(16)),
  ),
  to(
    'a fragment past the VIP',
    'default-pass',
    undefined,
    sealed(ipv4({ destination: OTHER[4], more: true }), tcp({ destination: 80 }), raw(16)),
  ),
  to(
    'a fragment of an echo request',
    'default-pass',
    undefined,
    sealed(ipv4({ destination: VIP[4], more: true }), icmp(8), raw(16)),
  ),
  to(
    'a source quench',
    'default-pass',
    undefined,
    sealed(ip(4), icmp(4), quoted(4, tcp({ source: 80, destination: 40000 }))),
  ),
  to(
    'too long, may be fragmented',
    'too-big',
    'web',
    sealed(ipv4({ destination: VIP[4] }), tcp({ destination: 80, flags: ACK }), raw(1470)),
  ),
]

const kinds6 = (to: Make): BalancedCase[] => {
  const at = ipv6({ destination: VIP[6], trafficClass: 0x2e })
  const extensions = [hopByHop(), routing({ size: 24 }), ah(), destinationOptions({ size: 16 })]
  return [
    to('extension headers', 'balanced-away', 'web', sealed(at, ...extensions, tcp({ destination: 80 }), raw(9))),
    to('an atomic fragment', 'balanced-away', 'dns', sealed(at, fragment(), udp({ destination: 53 }), raw(9))),
    to(
      'echo request behind extension headers',
      'echo',
      undefined,
      sealed(at, hopByHop({ size: 16 }), icmpv6(128), raw(9)),
    ),
    to(
      'a first fragment',
      'balanced-away',
      'web',
      sealed(at, fragment({ more: true }), tcp({ destination: 80 }), raw(16)),
    ),
    to(
      'a first fragment behind and before other headers',
      'balanced-away',
      'dns',
      unsummed(
        at,
        hopByHop(),
        fragment({ more: true }),
        destinationOptions({ size: 16 }),
        udp({ destination: 53 }),
        raw(16),
      ),
    ),
    to('a later fragment', 'fragment', undefined, sealed(at, fragment({ offset: 5, next: 6 }), raw(16))),
    to(
      'a later fragment of another protocol',
      'default-pass',
      undefined,
      sealed(at, fragment({ offset: 5, next: 47 }), raw(16)),
    ),
    to(
      'a fragment past the VIP',
      'default-pass',
      undefined,
      sealed(ipv6({ destination: OTHER[6] }), fragment({ more: true }), udp({ destination: 53 }), raw(16)),
    ),
    to(
      'an IPv4-mapped address',
      'default-pass',
      undefined,
      sealed(ipv6({ destination: `::ffff:${VIP[4]}` }), tcp({ destination: 80 })),
    ),
    to(
      'a jumbogram',
      'malformed',
      undefined,
      sealed(ipv6({ destination: VIP[6], payloadLength: 0 }), hopByHop(), udp({ destination: 53 })),
    ),
  ]
}

const services = (vip: Family, fields: Pick<Service, 'forwarding'>, family: Family): Service[] => {
  const backends = [...BACKENDS[family]]
  return [
    service('web', `${VIP[vip]} 80`, { ...fields, backends }),
    service('dns', `${VIP[vip]} 53`, { ...fields, protocol: 'udp', backends }),
  ]
}

interface Pair {
  readonly forwarding: Forwarding
  /** Family of the VIP. */
  readonly vip: Family
  /** Family of the backends. */
  readonly family: Family
}

const PAIRS = FORWARDINGS.flatMap((forwarding) =>
  FAMILIES.flatMap((vip) => FAMILIES.map((family): Pair => ({ forwarding, vip, family }))),
).filter(({ forwarding, vip, family }) => vip === family || FORWARDING_MODES[forwarding].crossesFamilies)

export const FORWARDING: readonly (BalancedSuite & Pair)[] = PAIRS.map(({ forwarding, vip, family }) => ({
  name: `${forwarding}, IPv${vip} to IPv${family}`,
  forwarding,
  vip,
  family,
  state: balancing(services(vip, { forwarding }, family)),
  cases: kinds(vip, {
    isTunnel: !FORWARDING_MODES[forwarding].decrementsTtl,
    room: 1500 - EXPECTED[forwarding].overhead[family],
  }),
}))

const TAGGED = { ...EGRESS, vlan: 42 }
const HERE = { ...EGRESS, ifindex: 1, vlan: 0 }

/** Egress interface, and the Ethernet header of the output. */
export const LINKS: readonly BalancedSuite[] = FORWARDINGS.flatMap((forwarding) =>
  [TAGGED, HERE].map((nextHop): BalancedSuite => {
    const backends = [backend('10.0.0.11', { nextHop })]
    const reason = nextHop === HERE ? 'balanced' : 'balanced-away'
    const of = (name: string, ...tags: readonly Layer[]): BalancedCase => ({
      name,
      reason,
      service: 'web',
      frame: sealed(...tags, ip(4), tcp({ destination: 80 }), raw(11)),
    })
    return {
      name: `${forwarding} to ${nextHop === HERE ? 'the receiving interface' : 'a VLAN'}`,
      state: balancing([service('web', `${VIP[4]} 80`, { forwarding, backends })]),
      cases: [
        of('no tag'),
        of('a tag', vlan(7)),
        of('two tags', vlan(7), vlan(8)),
        of('the tag of the egress VLAN', vlan(42)),
      ],
    }
  }),
)

/** Services on any port: fragments are forwarded too. */
export const WHOLE_HOSTS: readonly BalancedSuite[] = FORWARDINGS.flatMap((forwarding) =>
  FAMILIES.map((family): BalancedSuite => {
    const fields = { forwarding, hash: 'source', backends: [...BACKENDS[family]] } as const
    const of = (name: string, reason: ReasonName, which: string | undefined, frame: Uint8Array): BalancedCase => ({
      name,
      reason,
      service: which,
      frame,
    })
    const pieces = (offset: number, more: boolean, ...behind: readonly Layer[]): Uint8Array =>
      family === 4
        ? unsummed(
            ipv4({ destination: VIP[4], offset, more, ...(offset > 0 ? { protocol: 17 } : {}) }),
            ...behind,
            raw(24),
          )
        : unsummed(ip(6), fragment({ offset, more, ...(offset > 0 ? { next: 17 } : {}) }), ...behind, raw(24))
    const short = { protocol: 6, next: 6, more: true }
    const ports = raw(Uint8Array.of(0x9c, 0x40, 0x9c, 0x41, 0, 0, 0, 1))
    const shortTcp =
      family === 4 ? sealed(ipv4({ destination: VIP[4], ...short }), ports) : sealed(ip(6), fragment(short), ports)
    const checked = pieces(0, true, udp({ destination: 999 }))
    const at = checked.length - 24 - 2
    checked.set([0xab, 0xcd], at)
    return {
      name: `any port by source, ${forwarding}, IPv${family}`,
      state: balancing([
        service('all', `${VIP[family]} any`, { ...fields, protocol: 'udp' }),
        service('some', `${VIP[family]} 100-199`, { ...fields, protocol: 'udp' }),
        service('one', `${VIP[family]} 150`, { ...fields, protocol: 'udp' }),
        service('ports', `${VIP[family]} any`, { ...fields, hash: 'five_tuple' }),
      ]),
      cases: [
        of('UDP', 'balanced-away', 'all', sealed(ip(family), udp({ destination: 9999 }))),
        of('port 0', 'balanced-away', 'all', sealed(ip(family), udp({ destination: 0 }))),
        of('port 65535', 'balanced-away', 'all', sealed(ip(family), udp({ destination: 65535 }))),
        of('a service on a range of ports', 'balanced-away', 'some', sealed(ip(family), udp({ destination: 199 }))),
        of('a service on one port of the range', 'balanced-away', 'one', sealed(ip(family), udp({ destination: 150 }))),
        of('a first fragment', 'balanced-away', 'all', pieces(0, true, udp({ destination: 999 }))),
        of('a first fragment with a checksum', 'balanced-away', 'all', checked),
        of('a middle fragment', 'balanced-away', 'all', pieces(4, true)),
        of('the last fragment', 'balanced-away', 'all', pieces(7, false)),
        of('a first fragment to the port', 'balanced-away', 'one', pieces(0, true, udp({ destination: 150 }))),
        of('TCP', 'balanced-away', 'ports', sealed(ip(family), tcp({ destination: 9999 }))),
        of(
          'a first fragment of TCP',
          'balanced-away',
          'ports',
          family === 4
            ? sealed(ipv4({ destination: VIP[4], more: true }), tcp(), raw(16))
            : sealed(ip(6), fragment({ more: true }), tcp(), raw(16)),
        ),
        // NAT has a checksum to write in TCP, which this fragment lacks.
        ...[0, 60].map((padding) =>
          of(
            `a first fragment of eight bytes of TCP, and ${padding} of padding`,
            forwarding === 'nat' ? 'fragment' : 'balanced-away',
            'ports',
            padded(shortTcp, shortTcp.length + padding),
          ),
        ),
      ],
    }
  }),
)

/** Services without a usable backend. */
export const NO_BACKEND: BalancedSuite = {
  name: 'services without a backend that takes packets',
  state: balancing([
    service('none', `${VIP[4]} 80`),
    service('pass', `${VIP[4]} 81`, { onEmpty: 'pass' }),
    service('idle', `${VIP[4]} 82`, {
      backends: [
        backend('10.0.0.11', { weight: 0 }),
        backend('10.0.0.12', { state: 'drain' }),
        backend('10.0.0.13', { state: 'disabled' }),
      ],
    }),
    service('lost', `${VIP[4]} 83`, { backends: [backend('10.0.0.11', { nextHop: undefined })] }),
    service('found', `${VIP[4]} 84`, { backends: [backend('10.0.0.11', { nextHop: undefined }), '10.0.0.12'] }),
    service('rare', `${VIP[4]} 85`, {
      backends: [backend('10.0.0.11', { nextHop: undefined, weight: 65535 }), backend('10.0.0.12', { weight: 1 })],
    }),
    service('sorry', `${VIP[4]} 86`, {
      backends: [backend('10.0.0.11', { nextHop: undefined })],
      sorry: backend('10.0.0.99 8080'),
    }),
    service('gone', `${VIP[4]} 87`, { sorry: backend('10.0.0.99', { nextHop: undefined }), onEmpty: 'pass' }),
  ]),
  cases: (
    [
      ['none', 80, 'no-backend'],
      ['pass', 81, 'no-backend-pass'],
      ['idle', 82, 'no-backend'],
      ['lost', 83, 'no-backend'],
      ['found', 84, 'balanced-away'],
      ['rare', 85, 'balanced-away'],
      ['sorry', 86, 'balanced-away'],
      ['gone', 87, 'no-backend-pass'],
    ] as const
  ).map(([name, port, reason]) => ({
    name,
    reason,
    service: name,
    frame: sealed(ip(4), tcp({ destination: port })),
  })),
}

/** Packets to services that reject what no backend takes. */
export const REJECT: readonly BalancedSuite[] = FAMILIES.map((family) => {
  const many = service('many', `${VIP[family]} 80,443,8000-8099`, { protocols: ['tcp', 'udp'], onEmpty: 'reject' })
  const all = service('all', `${OTHER[family]} any`, { protocols: ['tcp', 'udp'], hash: 'source', onEmpty: 'reject' })
  const options = family === 4 ? ipv4({ destination: VIP[4], options: 12 }) : ip(6)
  const of = (name: string, frame: Uint8Array, reason: ReasonName = 'rejected', owner = 'many') => ({
    name: `IPv${family} ${name}`,
    frame,
    reason,
    service: owner,
  })
  const to = (destination: number, flags?: number): Layer =>
    tcp({ destination, sequence: 0xfffffff0, acknowledged: 0x12345678, ...(flags === undefined ? {} : { flags }) })
  const from = (source: string, ...layers: readonly Layer[]): Uint8Array =>
    sealed(family === 4 ? ipv4({ source, destination: VIP[4] }) : ipv6({ source, destination: VIP[6] }), ...layers)
  const toGroup = (frame: Uint8Array): Uint8Array => {
    const copy = frame.slice()
    copy[0] = 0x33
    return copy
  }
  const none = { 4: ['0.0.0.1', '127.0.0.1', '224.0.0.1', '255.255.255.255'], 6: ['::', '::1', 'ff02::1'] } as const
  const piece = (at: number, more: boolean, ...layers: readonly Layer[]): Uint8Array =>
    family === 4
      ? sealed(ipv4({ destination: OTHER[4], offset: at, more, protocol: 17 }), ...layers)
      : sealed(ip(6, { to: OTHER[6] }), fragment({ offset: at, more, next: 17 }), ...layers)
  return {
    name: `services that reject, IPv${family}`,
    state: balancing([many, all]),
    cases: [
      of('SYN', sealed(ip(family), to(80))),
      of('SYN to another port', sealed(ip(family), to(443))),
      of('SYN to a range', sealed(ip(family), to(8099))),
      of('SYN with data, whose sequence number wraps', sealed(ip(family), to(80), raw(100))),
      of('ACK', sealed(ip(family), to(80, ACK), raw(7))),
      of('FIN and ACK', sealed(ip(family), to(80, FIN | ACK))),
      of('FIN without ACK', sealed(ip(family), to(80, FIN), raw(3))),
      of('no flag', sealed(ip(family), to(80, 0))),
      of('behind two tags', sealed(vlan(7, { type: 0x88a8 }), vlan(9), ip(family), to(80))),
      of('TCP behind options', sealed(options, ...(family === 6 ? [hopByHop(), ah()] : []), to(80, ACK), raw(900))),
      of('in a padded frame', padded(sealed(ip(family), to(80)), 90)),
      of('UDP', sealed(ip(family), udp({ destination: 80 }), raw(20))),
      of('UDP without payload', sealed(ip(family), udp({ destination: 8000 }))),
      of('UDP without a checksum', unsummed(ip(family), udp({ destination: 80 }), raw(30))),
      of('long UDP', sealed(ip(family), udp({ destination: 80 }), raw(1200))),
      of('UDP in a long frame', padded(sealed(ip(family), udp({ destination: 80 }), raw(100)), 900)),
      of('UDP behind a tag', sealed(vlan(7), ip(family), udp({ destination: 80 }), raw(20))),
      of('a reset', sealed(ip(family), to(80, RST)), 'no-backend'),
      of('a reset with ACK', sealed(ip(family), to(80, RST | ACK)), 'no-backend'),
      { ...of('TCP in a frame to a group', toGroup(sealed(ip(family), to(80))), 'other-host'), service: undefined },
      {
        ...of('UDP in a frame to a group', toGroup(sealed(ip(family), udp({ destination: 80 }))), 'other-host'),
        service: undefined,
      },
      ...none[family].flatMap((source) => [
        of(`TCP from ${source}`, from(source, to(80)), 'no-backend'),
        of(`UDP from ${source}`, from(source, udp({ destination: 80 })), 'no-backend'),
      ]),
      of(
        'UDP to any port',
        sealed(ip(family, { to: OTHER[family] }), udp({ destination: 9 }), raw(8)),
        'rejected',
        'all',
      ),
      of('a first fragment', piece(0, true, udp({ destination: 80 }), raw(16)), 'no-backend', 'all'),
      of('a later fragment', piece(3, false, raw(24)), 'no-backend', 'all'),
    ],
  }
})

/** Services with backups. */
export const BACKUPS: BalancedSuite = {
  name: 'services with backups',
  state: balancing([
    service('used', `${VIP[4]} 80`, {
      backends: [backend('10.0.0.11'), backend('10.0.0.12', { backup: true, weight: 65535 })],
    }),
    service('lost', `${VIP[4]} 81`, {
      backends: [
        backend('10.0.0.11', { nextHop: undefined }),
        backend('10.0.0.12', { backup: true, nextHop: undefined }),
        backend('10.0.0.13', { backup: true }),
        backend('10.0.0.14', { backup: true, weight: 0 }),
      ],
      sorry: backend('10.0.0.99'),
    }),
    service('drained', `${VIP[4]} 82`, {
      backends: [
        backend('10.0.0.11', { state: 'drain' }),
        backend('10.0.0.12', { state: 'disabled' }),
        backend('10.0.0.13', { backup: true, weight: 3 }),
        backend('10.0.0.14', { backup: true }),
      ],
    }),
    service('last', `${VIP[4]} 83`, {
      backends: [backend('10.0.0.11', { nextHop: undefined }), backend('10.0.0.12', { backup: true, state: 'drain' })],
      sorry: backend('10.0.0.99'),
    }),
    service('none', `${VIP[4]} 84`, {
      backends: [backend('10.0.0.12', { backup: true, nextHop: undefined })],
      onEmpty: 'reject',
    }),
  ]),
  cases: [
    ...['used', 'lost', 'drained', 'last'].map((name, i) => [name, 80 + i, 'balanced-away'] as const),
    ['none', 84, 'rejected'] as const,
  ].flatMap(([name, port, reason]) =>
    Array.from({ length: 12 }, (_, i) => ({
      name: `${name} ${i}`,
      reason,
      service: name,
      frame: sealed(ip(4), tcp({ source: 1024 + i * 977, destination: port })),
    })),
  ),
}

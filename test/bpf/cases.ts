// Packets and what becomes of them, by policy. Addresses that no case mentions are those of support/packets.ts:
// 198.51.100.7 and 2001:db8::7.

import type { ReasonName } from '../../src/model/result.ts'
import type { State } from '../../src/model/state.ts'
import { allow, block, policy, scope } from '../support/lists.ts'
import {
  ah,
  arp,
  destinationOptions,
  ethernet,
  fragment,
  hopByHop,
  icmp,
  icmpv6,
  ipv4,
  ipv6,
  type Layer,
  packet,
  padded,
  raw,
  routing,
  tcp,
  udp,
  vlan,
} from '../support/packets.ts'

export interface Case {
  readonly name: string
  readonly frame: Uint8Array
  readonly reason: ReasonName
  /** Lists that count the packet. */
  readonly lists: readonly string[]
}

export interface Suite {
  readonly name: string
  readonly state: State
  readonly cases: readonly Case[]
}

const of = (name: string, reason: ReasonName, lists: readonly string[], ...layers: readonly Layer[]): Case => ({
  name,
  reason,
  lists,
  frame: packet(ethernet(), ...layers),
})

const UDP = 17
const TCP = 6
const AD = { type: 0x88a8 }
/** Every suite's way to say "the address was found": one list over both families' default sources. */
const HIT = ['blocked'] as const
const hit = (name: string, ...layers: readonly Layer[]): Case => of(name, 'blocklist', HIT, ...layers)
const repeated = (count: number, layer: Layer): Layer[] => Array.from({ length: count }, () => layer)

/** Whether the parser finds the address: a hit says that it does. */
const parsing: Suite = {
  name: 'an unscoped entry is found behind every header',
  state: policy('pass', block('blocked', '198.51.100.0/24 2001:db8::/64')),
  cases: [
    hit('IPv4 UDP', ipv4(), udp(), raw(18)),
    hit('IPv4 TCP', ipv4(), tcp()),
    hit('IPv4 ICMP', ipv4(), icmp(8)),
    hit('IPv4 with another protocol', ipv4({ protocol: 47 }), raw(4)),
    hit('IPv4 without payload', ipv4({ protocol: 47 })),
    hit('IPv4 with options', ipv4({ options: 4 }), udp()),
    hit('IPv4 with all the options that fit', ipv4({ options: 40 }), tcp()),
    hit('IPv6 UDP', ipv6(), udp(), raw(18)),
    hit('IPv6 TCP', ipv6(), tcp()),
    hit('IPv6 ICMPv6', ipv6(), icmpv6(128)),
    hit('IPv6 without next header', ipv6({ next: 59 })),
    hit('IPv6 ESP', ipv6({ next: 50 }), raw(24)),

    hit('802.1Q', vlan(7), ipv4(), udp()),
    hit('802.1Q priority tag', vlan(0xe000), ipv4(), udp()),
    hit('802.1ad', vlan(7, AD), ipv6(), udp()),
    hit('802.1ad over 802.1Q', vlan(7, AD), vlan(8), ipv4(), udp()),
    hit('802.1Q over 802.1Q', vlan(7), vlan(8), ipv6(), tcp()),
    hit('802.1Q over 802.1ad', vlan(7), vlan(8, AD), ipv4(), icmp(0)),
    of('three tags', 'unsupported', [], vlan(7, AD), vlan(8), vlan(9), ipv4(), udp()),
    of('three 802.1ad tags', 'unsupported', [], ...repeated(3, vlan(7, AD)), ipv6(), udp()),
    of('tags over ARP', 'not-ip', [], vlan(7), vlan(8), arp()),

    hit('IPv4 first fragment', ipv4({ more: true }), udp(), raw(16)),
    hit('IPv4 middle fragment', ipv4({ more: true, offset: 3, protocol: UDP }), raw(16)),
    hit('IPv4 last fragment', ipv4({ offset: 6, protocol: UDP }), raw(3)),
    hit('IPv4 last possible fragment', ipv4({ offset: 0x1fff, protocol: TCP }), raw(1)),
    hit('IPv4 fragment without payload', ipv4({ offset: 6, protocol: UDP })),
    hit('IPv6 atomic fragment', ipv6(), fragment(), udp()),
    hit('IPv6 first fragment', ipv6(), fragment({ more: true }), udp(), raw(16)),
    hit('IPv6 middle fragment', ipv6(), fragment({ more: true, offset: 3, next: UDP }), raw(16)),
    hit('IPv6 last fragment', ipv6(), fragment({ offset: 6, next: UDP }), raw(3)),
    hit('IPv6 later fragment that begins with options', ipv6(), fragment({ offset: 6, next: 60 }), raw(8)),

    hit('IPv6 hop-by-hop options', ipv6(), hopByHop(), udp()),
    hit('IPv6 routing header', ipv6(), routing({ size: 24 }), tcp()),
    hit('IPv6 destination options', ipv6(), destinationOptions({ size: 16 }), udp()),
    hit('IPv6 AH', ipv6(), ah({ size: 24 }), udp()),
    hit('IPv6 AH of odd length', ipv6(), ah({ size: 12 }), tcp()),
    hit('IPv6 headers in the order of RFC 8200', ...chain(), tcp()),
    hit('IPv6 jumbogram', ipv6({ payloadLength: 0 }), hopByHop(), udp()),
    hit('eight extension headers', ipv6(), hopByHop(), ...repeated(7, destinationOptions()), udp()),
    hit('nine extension headers', ipv6(), hopByHop(), ...repeated(8, destinationOptions()), udp()),
    hit(
      'extension header longer than the datagram',
      ipv6({ payloadLength: 8 }),
      destinationOptions({ size: 24 }),
      udp(),
    ),
    hit('IPv4 in IPv6', ipv6(), ipv4({ source: '192.0.2.9' }), udp()),

    of('another IPv4 source', 'default-pass', [], ipv4({ source: '198.51.101.1' }), udp()),
    of('a listed destination', 'default-pass', [], ipv4({ source: '192.0.2.1', destination: '198.51.100.7' }), tcp()),
    of('another IPv6 source', 'default-pass', [], ipv6({ source: '2001:db8:0:1::' }), udp()),
    of('ARP', 'not-ip', [], arp()),
    of('a local ethertype', 'not-ip', [], raw(46)),
    { ...of('802.3 length', 'not-ip', []), frame: packet(ethernet({ type: 46 }), raw(46)) },
    { ...of('Ethernet alone', 'not-ip', []), frame: packet(ethernet(), raw(2)) },
  ],
}

function chain(): Layer[] {
  return [ipv6(), hopByHop(), destinationOptions(), routing(), fragment(), ah(), destinationOptions({ size: 24 })]
}

const malformed = (name: string, ...layers: readonly Layer[]): Case => of(name, 'malformed', [], ...layers)
const elsewhere = { source: '192.0.2.9' }
const elsewhere6 = { source: '2001:db8:1::9' }

/** Headers that are cut off or contradict themselves. Sources inside and outside the list. */
const broken: Suite = {
  name: 'malformed packets pass and count',
  state: policy(
    'drop',
    block('blocked', '198.51.100.0/24 2001:db8::/64'),
    block('ports', ['203.0.113.0/24 2001:db8:2::/64', scope(UDP, { destination: [53] })]),
    allow('trusted', '10.0.0.0/8'),
  ),
  cases: [
    malformed('IPv4 of version 6', ipv4({ version: 6 }), udp()),
    malformed('IPv4 of version 0', ipv4({ version: 0 }), udp()),
    malformed('IPv4 header of four words', ipv4({ ihl: 4 }), udp()),
    malformed('IPv4 header of no words', ipv4({ ihl: 0 }), udp()),
    malformed('IPv4 options beyond the frame', ipv4({ ihl: 15 }), udp()),
    malformed('IPv4 shorter than its header', ipv4({ totalLength: 19 }), udp()),
    malformed('IPv4 shorter than its options', ipv4({ options: 8, totalLength: 24 }), udp()),
    malformed('IPv4 of no length', ipv4({ totalLength: 0 }), udp()),
    malformed('IPv6 of version 4', ipv6({ version: 4 }), udp()),
    { ...malformed('a tag cut off'), frame: packet(ethernet({ type: 0x8100 }), raw(2)) },
    { ...malformed('a second tag cut off'), frame: packet(ethernet(), vlan(7, AD), vlan(8)).subarray(0, 20) },
    { ...malformed('nothing behind Ethernet'), frame: packet(ethernet({ type: 0x0800 }), raw(2)) },

    hit('listed source, UDP header cut off', ipv4({ protocol: UDP }), raw(7)),
    hit('listed source, no UDP header', ipv4({ protocol: UDP })),
    hit('listed source, TCP header cut off', ipv6({ next: TCP }), raw(19)),
    hit('listed source, UDP header beyond the total length', ipv4({ totalLength: 24 }), udp()),
    hit('listed source, longer than the frame', ipv4({ totalLength: 1000 }), udp()),
    hit('listed source, extension header cut off', ipv6({ next: 60 }), raw(5)),
    malformed('UDP header cut off', ipv4({ ...elsewhere, protocol: UDP }), raw(7)),
    malformed('TCP header cut off', ipv4({ ...elsewhere, protocol: TCP }), raw(19)),
    malformed('ICMP header cut off', ipv4({ ...elsewhere, protocol: 1 }), raw(7)),
    malformed('ICMPv6 header cut off', ipv6({ ...elsewhere6, next: 58 }), raw(7)),
    malformed('UDP header beyond the total length', ipv4({ ...elsewhere, totalLength: 27 }), udp()),
    malformed('UDP header beyond the payload length', ipv6({ ...elsewhere6, payloadLength: 7 }), udp()),
    malformed('no payload but a next header', ipv6({ ...elsewhere6, payloadLength: 0, next: UDP }), raw(8)),
    malformed('extension header cut off', ipv6({ ...elsewhere6, next: 60 }), raw(7)),
    {
      ...malformed('extension header longer than the frame'),
      frame: packet(ethernet(), ipv6(elsewhere6), destinationOptions({ size: 16 })).subarray(0, 62),
    },
    of('nine extension headers', 'unsupported', [], ipv6(elsewhere6), ...repeated(9, destinationOptions()), udp()),
    of(
      'first fragment of eight bytes of TCP',
      'default-drop',
      [],
      ipv4({ ...elsewhere, protocol: TCP, more: true }),
      raw(8),
    ),
    malformed('first fragment of seven bytes of TCP', ipv4({ ...elsewhere, protocol: TCP, more: true }), raw(7)),
    of('longer than the frame', 'default-drop', [], ipv4({ ...elsewhere, totalLength: 1000 }), udp()),
    of(
      'allowed source, UDP header cut off',
      'allowlist',
      ['trusted'],
      ipv4({ source: '10.1.2.3', protocol: UDP }),
      raw(3),
    ),

    of('a port that is there', 'blocklist', ['ports'], ipv4({ source: '203.0.113.1' }), udp({ destination: 53 })),
    malformed('a port in a header cut off', ipv4({ source: '203.0.113.1', totalLength: 24 }), udp({ destination: 53 })),
    {
      ...malformed('a port in the padding'),
      frame: padded(packet(ethernet(), ipv4({ source: '203.0.113.1', protocol: UDP })), 60),
    },
    {
      ...of('a port before the padding', 'blocklist', ['ports']),
      frame: padded(packet(ethernet(), ipv6({ source: '2001:db8:2::1' }), udp({ destination: 53 })), 80),
    },
  ],
}

const at4 = (host: number, more: object = {}): Layer => ipv4({ source: `198.51.100.${host}`, ...more })
const at6 = (host: number): Layer => ipv6({ source: `2001:db8::${host}` })
const both = (host: number): string => `198.51.100.${host} 2001:db8::${host}`
const pass = (name: string, ...layers: readonly Layer[]): Case => of(name, 'default-pass', [], ...layers)
const drop = (list: string, name: string, ...layers: readonly Layer[]): Case => of(name, 'blocklist', [list], ...layers)

/** One host for each kind of scope. */
const scopes: Suite = {
  name: 'an entry with a scope applies to such packets alone',
  state: policy(
    'pass',
    block('dns', [both(1), scope(UDP, { source: [53] })]),
    block('scan', [both(2), scope(TCP, { destination: [22, 3389, [5900, 5999]] })]),
    block('pair', [both(3), scope(UDP, { source: [[1000, 2000], 5353], destination: [53, [60000, 65535]] })]),
    block('ping', [both(4), scope('icmp')]),
    block('gre', [both(5), scope(47)]),
    block('tcp', [both(6), scope(TCP)]),
    block('hopopt', [both(8), scope(0)]),
    block('mixed', [both(9), scope(UDP, { destination: [0] })], [both(9), scope(TCP, { source: [65535] })]),
    block('ah', [both(10), scope(51)]),
    block('icmp4', [both(11), scope(1)]),
  ),
  cases: [
    drop('dns', 'UDP from 53', at4(1), udp({ source: 53 })),
    drop('dns', 'UDP from 53, IPv6', at6(1), udp({ source: 53 })),
    drop('dns', 'UDP from 53 behind options', at4(1, { options: 12 }), udp({ source: 53 })),
    drop('dns', 'UDP from 53 behind tags', vlan(1, AD), vlan(2), at4(1), udp({ source: 53 })),
    drop(
      'dns',
      'UDP from 53 behind extension headers',
      at6(1),
      hopByHop(),
      routing({ size: 24 }),
      ah(),
      udp({ source: 53 }),
    ),
    drop('dns', 'UDP from 53 in a first fragment', at4(1, { more: true }), udp({ source: 53 }), raw(8)),
    drop('dns', 'UDP from 53 in a first IPv6 fragment', at6(1), fragment({ more: true }), udp({ source: 53 }), raw(8)),
    drop('dns', 'UDP from 53 in an atomic fragment', at6(1), fragment(), udp({ source: 53 })),
    pass('UDP to 53', at4(1), udp({ destination: 53 })),
    pass('UDP from 54', at6(1), udp({ source: 54 })),
    pass('TCP from 53', at4(1), tcp({ source: 53 })),
    pass('UDP-Lite from 53', at4(1, { protocol: 136 }), udp({ source: 53 })),
    pass('a later fragment', at4(1, { offset: 2 }), udp({ source: 53 })),
    pass('a later IPv6 fragment', at6(1), fragment({ offset: 2 }), udp({ source: 53 })),
    pass('UDP from 53 of a neighbour', at4(20), udp({ source: 53 })),

    drop('scan', 'TCP to 22', at4(2), tcp({ destination: 22 })),
    drop('scan', 'TCP to 3389', at6(2), tcp({ destination: 3389 })),
    drop('scan', 'TCP to the first of a range', at4(2), tcp({ destination: 5900 })),
    drop('scan', 'TCP to the middle of a range', at6(2), tcp({ destination: 5950 })),
    drop('scan', 'TCP to the last of a range', at4(2), tcp({ destination: 5999 })),
    pass('TCP below a range', at4(2), tcp({ destination: 5899 })),
    pass('TCP above a range', at6(2), tcp({ destination: 6000 })),
    pass('TCP from 22', at4(2), tcp({ source: 22 })),
    pass('UDP to 22', at6(2), udp({ destination: 22 })),

    drop('pair', 'both ports match', at4(3), udp({ source: 1500, destination: 53 })),
    drop('pair', 'both ports match at the edges', at6(3), udp({ source: 2000, destination: 65535 })),
    drop('pair', 'the other source port', at4(3), udp({ source: 5353, destination: 60000 })),
    pass('source port alone', at4(3), udp({ source: 1500, destination: 54 })),
    pass('destination port alone', at6(3), udp({ source: 999, destination: 53 })),

    drop('ping', 'ICMP', at4(4), icmp(8)),
    drop('ping', 'ICMP unreachable', at4(4), icmp(3), raw(28)),
    drop('ping', 'ICMPv6', at6(4), icmpv6(128)),
    drop('ping', 'ICMP in a later fragment', at4(4, { offset: 3, protocol: 1 }), raw(8)),
    drop('ping', 'ICMP cut off', at4(4, { protocol: 1 }), raw(3)),
    pass('ICMPv6 in IPv4', at4(4, { protocol: 58 }), raw(8)),
    pass('ICMP in IPv6', at6(4), icmp(8)),
    pass('UDP', at6(4), udp()),

    drop('gre', 'protocol 47', at4(5, { protocol: 47 }), raw(4)),
    drop('gre', 'protocol 47 in a later fragment', at4(5, { protocol: 47, offset: 9 }), raw(4)),
    drop('gre', 'protocol 47, IPv6', ipv6({ source: '2001:db8::5', next: 47 }), raw(4)),
    drop('gre', 'protocol 47 in a later IPv6 fragment', at6(5), fragment({ offset: 4, next: 47 }), raw(4)),
    pass('protocol 46', at4(5, { protocol: 46 }), raw(4)),
    pass('unknown protocol in a later fragment', at6(5), fragment({ offset: 4, next: 60 }), raw(8)),
    drop('tcp', 'TCP in a later fragment', at4(6, { protocol: TCP, offset: 1 }), raw(4)),
    drop('tcp', 'TCP', at6(6), tcp()),
    drop('tcp', 'TCP header cut off', ipv6({ source: '2001:db8::6', next: TCP }), raw(9)),
    drop('hopopt', 'protocol 0 in IPv4', at4(8, { protocol: 0 }), raw(8)),
    pass('hop-by-hop options', at6(8), hopByHop(), udp()),
    drop('mixed', 'UDP to port 0', at4(9), udp({ destination: 0 })),
    drop('mixed', 'TCP from port 65535', at6(9), tcp({ source: 65535 })),
    pass('TCP to port 0', at4(9), tcp({ destination: 0 })),
    drop('ah', 'AH in IPv4', at4(10, { protocol: 51 }), raw(24)),
    pass('AH in IPv6 is followed', at6(10), ah(), udp()),
    drop('icmp4', 'protocol 1 in IPv4', at4(11), icmp(0)),
    drop('icmp4', 'protocol 1 in IPv6', at6(11), icmp(0)),
  ],
}

/** Which list wins, and which count. */
const precedence: Suite = {
  name: 'allow beats block, and any covering entry blocks',
  state: policy(
    'pass',
    allow('friends', '198.51.100.0/26 2001:db8:0:1::/64'),
    allow('https', ['198.51.0.0/16 2001:db8::/48', scope(TCP, { destination: [443] })]),
    allow('office', '198.51.100.0/28', ['198.51.100.0/28', scope(UDP)]),
    block('wide', '198.51.100.0/24 2001:db8::/32'),
    block('narrow', ['198.51.100.128/25 2001:db8:0:2::/64', scope(UDP, { destination: [53] })]),
    block('single', '198.51.100.200 2001:db8:0:2::200', ['198.51.100.200', scope(UDP, { destination: [1, 3, 5] })]),
  ),
  cases: [
    of('a narrow allow inside a wide block', 'allowlist', ['friends'], at4(20), udp()),
    of('the same in IPv6', 'allowlist', ['friends'], ipv6({ source: '2001:db8:0:1::1' }), udp()),
    of('a wide scoped allow over a narrower block', 'allowlist', ['https'], at4(100), tcp({ destination: 443 })),
    of('the same in IPv6', 'allowlist', ['https'], ipv6({ source: '2001:db8:0:7::1' }), tcp({ destination: 443 })),
    of('two allows', 'allowlist', ['friends', 'https'], at4(20), tcp({ destination: 443 })),
    of('two entries of one list count once', 'allowlist', ['friends', 'office'], at4(1), udp()),
    of('a scoped allow that does not apply', 'blocklist', ['wide'], at4(100), tcp({ destination: 80 })),
    of('a scoped narrow block does not hide a wide one', 'blocklist', ['wide'], at4(130), udp({ destination: 54 })),
    of('the same in IPv6', 'blocklist', ['wide'], ipv6({ source: '2001:db8:0:2::1' }), tcp()),
    of('both blocks count', 'blocklist', ['narrow', 'wide'], at4(130), udp({ destination: 53 })),
    of('all three count', 'blocklist', ['narrow', 'single', 'wide'], at4(200), udp({ destination: 53 })),
    of('several rules of a list count once', 'blocklist', ['single', 'wide'], at4(200), udp({ destination: 3 })),
    of(
      'the same in IPv6',
      'blocklist',
      ['narrow', 'single', 'wide'],
      ipv6({ source: '2001:db8:0:2::200' }),
      udp({ destination: 53 }),
    ),
    pass('outside of all', ipv4({ source: '198.51.101.1' }), udp()),
    pass('only the scoped allow covers', ipv4({ source: '198.51.1.1' }), udp({ destination: 443 })),
    of(
      'only the scoped allow applies',
      'allowlist',
      ['https'],
      ipv4({ source: '198.51.1.1' }),
      tcp({ destination: 443 }),
    ),
  ],
}

const essential = (name: string, ...layers: readonly Layer[]): Case => of(name, 'essential', [], ...layers)
const lost = (name: string, ...layers: readonly Layer[]): Case => of(name, 'default-drop', [], ...layers)
const LINK_LOCAL = { source: 'fe80::1', destination: 'ff02::1' }

/** What an allowlist must not cut off. */
const defaultDrop: Suite = {
  name: 'default drop lets pass what the host cannot live without',
  state: policy(
    'drop',
    allow('trusted', '10.0.0.0/8 2001:db8:a::/48'),
    block('blocked', '198.51.100.66 127.0.0.66 fe80::66'),
  ),
  cases: [
    lost('IPv4 UDP', ipv4(), udp()),
    lost('IPv6 TCP', ipv6(), tcp()),
    lost('IPv4 ICMP', ipv4(), icmp(8)),
    lost('ICMPv6 echo', ipv6(), icmpv6(128)),
    lost('another protocol', ipv4({ protocol: 47 }), raw(4)),
    lost('a later fragment', ipv4({ protocol: UDP, offset: 9 }), raw(8)),
    lost('behind tags', vlan(1), vlan(2), ipv4(), udp()),
    of('an allowed source', 'allowlist', ['trusted'], ipv4({ source: '10.255.0.1' }), icmp(8)),
    of('an allowed IPv6 source', 'allowlist', ['trusted'], ipv6({ source: '2001:db8:a::1' }), udp()),
    of('a blocked source', 'blocklist', ['blocked'], ipv4({ source: '198.51.100.66' }), udp()),
    of('not IP', 'not-ip', [], raw(46)),
    essential('ARP', arp()),
    essential('ARP behind a tag', vlan(1), arp()),
    lost('ICMPv6 132', ipv6(LINK_LOCAL), icmpv6(132)),
    ...[133, 134, 135, 136, 137].map((type) => essential(`ICMPv6 ${type}`, ipv6(LINK_LOCAL), icmpv6(type))),
    lost('ICMPv6 138', ipv6(LINK_LOCAL), icmpv6(138)),
    essential('a solicitation behind hop-by-hop options', ipv6(LINK_LOCAL), hopByHop(), icmpv6(135)),
    of(
      'a solicitation of a blocked source',
      'blocklist',
      ['blocked'],
      ipv6({ ...LINK_LOCAL, source: 'fe80::66' }),
      icmpv6(135),
    ),
    lost('ICMP 135 in IPv4', ipv4(), icmp(135)),
    lost(
      'ICMPv6 135 in a later fragment',
      ipv6(LINK_LOCAL),
      fragment({ offset: 1, next: 58 }),
      raw(Uint8Array.of(135, 0, 0, 0, 0, 0, 0, 0)),
    ),
    essential('a DHCP reply', ipv4(), udp({ source: 67, destination: 68 })),
    lost('a DHCP request', ipv4(), udp({ source: 68, destination: 67 })),
    lost('TCP from 67 to 68', ipv4(), tcp({ source: 67, destination: 68 })),
    lost('DHCP ports in IPv6', ipv6(), udp({ source: 67, destination: 68 })),
    essential('a DHCPv6 reply', ipv6(LINK_LOCAL), udp({ source: 547, destination: 546 })),
    lost('a DHCPv6 request', ipv6(LINK_LOCAL), udp({ source: 546, destination: 547 })),
    lost('DHCPv6 ports in IPv4', ipv4(), udp({ source: 547, destination: 546 })),
    essential('loopback', ipv4({ source: '127.0.0.1', destination: '127.255.255.254' }), tcp()),
    lost('loopback to elsewhere', ipv4({ source: '127.0.0.1' }), tcp()),
    lost('elsewhere to loopback', ipv4({ destination: '127.0.0.1' }), tcp()),
    of(
      'a blocked loopback source',
      'blocklist',
      ['blocked'],
      ipv4({ source: '127.0.0.66', destination: '127.0.0.1' }),
      tcp(),
    ),
    essential('IPv6 loopback', ipv6({ source: '::1', destination: '::1' }), udp()),
    lost('IPv6 loopback to elsewhere', ipv6({ source: '::1' }), udp()),
    lost('elsewhere to IPv6 loopback', ipv6({ destination: '::1' }), udp()),
    lost('the unspecified address', ipv6({ source: '::', destination: '::1' }), udp()),
    lost('a mapped loopback address', ipv6({ source: '::ffff:127.0.0.1', destination: '::ffff:127.0.0.1' }), udp()),
  ],
}

export const SUITES: readonly Suite[] = [parsing, broken, scopes, precedence, defaultDrop]

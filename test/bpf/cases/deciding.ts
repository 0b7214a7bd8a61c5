// Verdicts on sound packets by scopes, precedence and the default.

import { LINK_PROTOCOLS } from '../../../src/model/ethertypes.ts'
import { DEFAULT_POLICY, type Policy } from '../../../src/model/policy.ts'
import type { State } from '../../../src/model/state.ts'
import { allow, block, policy, scope } from '../../support/lists.ts'
import {
  ah,
  arp,
  ethernet,
  fragment,
  hopByHop,
  icmp,
  icmpv6,
  ipv4,
  ipv6,
  type Layer,
  packet,
  raw,
  routing,
  tcp,
  udp,
  vlan,
} from '../../support/packets.ts'
import { AD, type Case, of, repeated, type Suite, TCP, UDP } from './case.ts'

const at4 = (host: number, more: object = {}): Layer => ipv4({ source: `198.51.100.${host}`, ...more })
const at6 = (host: number): Layer => ipv6({ source: `2001:db8::${host}` })
const both = (host: number): string => `198.51.100.${host} 2001:db8::${host}`
const pass = (name: string, ...layers: readonly Layer[]): Case => of(name, 'default-pass', [], ...layers)
const drop = (list: string, name: string, ...layers: readonly Layer[]): Case => of(name, 'blocklist', [list], ...layers)

/** One host for each kind of scope. */
const scopes: Suite = {
  name: 'an entry with a scope applies only to matching packets',
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
    pass('UDP from 53 of the next address', at4(20), udp({ source: 53 })),

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
    pass('only the source port matches', at4(3), udp({ source: 1500, destination: 54 })),
    pass('only the destination port matches', at6(3), udp({ source: 999, destination: 53 })),

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

/** The winning list, and the lists that count. */
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
    of(
      'an IPv6 narrow allow inside a wide block',
      'allowlist',
      ['friends'],
      ipv6({ source: '2001:db8:0:1::1' }),
      udp(),
    ),
    of('a wide scoped allow over a narrower block', 'allowlist', ['https'], at4(100), tcp({ destination: 443 })),
    of(
      'an IPv6 wide scoped allow over a narrower block',
      'allowlist',
      ['https'],
      ipv6({ source: '2001:db8:0:7::1' }),
      tcp({ destination: 443 }),
    ),
    of('two allows', 'allowlist', ['friends', 'https'], at4(20), tcp({ destination: 443 })),
    of('two entries of one list count once', 'allowlist', ['friends', 'office'], at4(1), udp()),
    of('a scoped allow for other packets', 'blocklist', ['wide'], at4(100), tcp({ destination: 80 })),
    of('a scoped narrow block does not hide a wide one', 'blocklist', ['wide'], at4(130), udp({ destination: 54 })),
    of(
      'an IPv6 scoped narrow block does not hide a wide one',
      'blocklist',
      ['wide'],
      ipv6({ source: '2001:db8:0:2::1' }),
      tcp(),
    ),
    of('both blocks count', 'blocklist', ['narrow', 'wide'], at4(130), udp({ destination: 53 })),
    of('all three count', 'blocklist', ['narrow', 'single', 'wide'], at4(200), udp({ destination: 53 })),
    of('several rules of a list count once', 'blocklist', ['single', 'wide'], at4(200), udp({ destination: 3 })),
    of(
      'several IPv6 rules of a list count once',
      'blocklist',
      ['narrow', 'single', 'wide'],
      ipv6({ source: '2001:db8:0:2::200' }),
      udp({ destination: 53 }),
    ),
    pass('outside of all lists', ipv4({ source: '198.51.101.1' }), udp()),
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
const ARP = 0x0806
/** MPLS, PPPoE sessions, IPX, HSR, batman-adv, a local number, and the first of all. */
const NOT_OF_THE_LINK = [0x8847, 0x8848, 0x8864, 0x8137, 0x892f, 0x4305, 0x88b5, 0x0600]
const typed = (name: string, reason: Case['reason'], type: number): Case => ({
  ...of(name, reason, []),
  frame: packet(ethernet({ type }), raw(46)),
})
const LINK_LOCAL = { source: 'fe80::1', destination: 'ff02::1' }

/** Packets that an allowlist must not block. */
const defaultDrop: Suite = {
  name: 'default drop passes packets that the host needs to work',
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
    essential('ARP', arp()),
    essential('ARP behind a tag', vlan(1), arp()),
    essential('ARP behind many tags', ...repeated(5, vlan(0)), arp()),
    ...[...LINK_PROTOCOLS.keys()]
      .filter((type) => type !== ARP)
      .map((type) => typed(`ethertype 0x${type.toString(16)}`, 'not-ip', type)),
    ...[0, 46, 0x05ff].map((length) => typed(`802.3 length ${length}`, 'not-ip', length)),
    ...NOT_OF_THE_LINK.map((type) => typed(`ethertype 0x${type.toString(16)}`, 'not-ip-drop', type)),
    of('another ethertype behind a tag', 'not-ip-drop', [], vlan(1), raw(46)),

    ...[3, 11, 12].map((type) => essential(`ICMP ${type}`, ipv4(), icmp(type))),
    ...[0, 4, 5, 8, 13].map((type) => lost(`ICMP ${type}`, ipv4(), icmp(type))),
    ...[1, 2, 3, 4].map((type) => essential(`ICMPv6 ${type}`, ipv6(), icmpv6(type))),
    ...[0, 5, 128, 129].map((type) => lost(`ICMPv6 ${type}`, ipv6(), icmpv6(type))),
    lost('ICMP 3 in IPv6', ipv6(), icmp(3)),
    of('"too big" of a blocked source', 'blocklist', ['blocked'], ipv4({ source: '198.51.100.66' }), icmp(3, 4)),
    ...[130, 131, 132, 143].map((type) => essential(`ICMPv6 ${type}`, ipv6(LINK_LOCAL), hopByHop(), icmpv6(type))),
    ...[142, 144].map((type) => lost(`ICMPv6 ${type}`, ipv6(LINK_LOCAL), hopByHop(), icmpv6(type))),
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

/** A policy under default drop with settings of its own. */
const dropping = (own: Partial<Policy>): State => {
  const state = policy('drop', block('blocked', '198.51.100.66'))
  return { ...state, policy: { ...DEFAULT_POLICY, default: 'drop', unparsed: 'drop', ...own } }
}

const server: Suite = {
  name: 'policy.essential chooses what default drop passes',
  state: dropping({ essential: ['dhcp_server'] }),
  cases: [
    essential('ARP', arp()),
    lost('loopback', ipv4({ source: '127.0.0.1', destination: '127.0.0.1' }), icmp(3)),
    lost('ICMP 3', ipv4(), icmp(3)),
    lost('ICMPv6 135', ipv6(LINK_LOCAL), icmpv6(135)),
    lost('ICMPv6 130', ipv6(LINK_LOCAL), icmpv6(130)),
    lost('a DHCP reply', ipv4(), udp({ source: 67, destination: 68 })),
    essential('a DHCP request', ipv4({ source: '0.0.0.0' }), udp({ source: 68, destination: 67 })),
    essential('a DHCP request by a relay agent', ipv4(), udp({ source: 67, destination: 67 })),
    essential('a DHCPv6 request', ipv6(LINK_LOCAL), udp({ source: 546, destination: 547 })),
    essential('a DHCPv6 request by a relay agent', ipv6(), udp({ source: 547, destination: 547 })),
    lost('from 68 to 68', ipv4(), udp({ source: 68, destination: 68 })),
  ],
}

const passing: Suite = {
  name: 'policy.unparsed: pass under default drop',
  state: dropping({ unparsed: 'pass' }),
  cases: [
    of('not IP', 'not-ip', [], raw(46)),
    of('seventeen tags', 'unsupported', [], ...repeated(17, vlan(0)), ipv4(), udp()),
    of('an impossible header', 'malformed', [], ipv4({ ihl: 2 }), udp()),
    lost('a known address, and a transport header cut off', ipv4({ protocol: UDP }), raw(3)),
    lost('a known address behind nine extension headers', ipv6(), ...repeated(9, hopByHop()), udp()),
    of('a blocked address', 'blocklist', ['blocked'], ipv4({ source: '198.51.100.66', protocol: UDP }), raw(3)),
  ],
}

const droppingUnparsed: Suite = {
  name: 'policy.unparsed: drop under default pass',
  state: { ...dropping({ default: 'pass' }) },
  cases: [
    of('ARP', 'not-ip', [], arp()),
    of('not IP', 'not-ip-drop', [], raw(46)),
    of('seventeen tags', 'unsupported-drop', [], ...repeated(17, vlan(0)), ipv4(), udp()),
    of('an impossible header', 'malformed-drop', [], ipv4({ ihl: 2 }), udp()),
    of('a transport header cut off', 'malformed-drop', [], ipv4({ protocol: UDP }), raw(3)),
    pass('a sound packet', ipv4(), udp()),
  ],
}

export const DECIDING: readonly Suite[] = [scopes, precedence, defaultDrop, server, passing, droppingUnparsed]

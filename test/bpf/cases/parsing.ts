// The parser's results behind all kinds of headers, and for broken ones.

import { allow, block, policy, scope } from '../../support/lists.ts'
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
} from '../../support/packets.ts'
import { AD, type Case, of, repeated, type Suite, TCP, UDP } from './case.ts'

/** A hit shows that the parser found the address: one list over both families' default sources. */
const HIT = ['blocked'] as const
const hit = (name: string, ...layers: readonly Layer[]): Case => of(name, 'blocklist', HIT, ...layers)
/** Whether the parser finds the address behind each header. */
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
    hit('three tags', vlan(7, AD), vlan(8), vlan(9), ipv4(), udp()),
    hit('three 802.1ad tags', ...repeated(3, vlan(7, AD)), ipv6(), udp()),
    hit('three priority tags', ...repeated(3, vlan(0)), ipv4(), udp()),
    hit('four priority tags', ...repeated(4, vlan(0)), ipv6(), tcp()),
    hit('sixteen tags', ...repeated(16, vlan(0)), ipv4({ options: 40 }), udp()),
    of('seventeen tags', 'unsupported', [], ...repeated(17, vlan(0)), ipv4(), udp()),
    hit('an 0x9100 tag', vlan(7, { type: 0x9100 }), ipv4(), udp()),
    hit('an 0x9200 tag over 802.1Q', vlan(7, { type: 0x9200 }), vlan(8), ipv6(), udp()),
    hit('an 0x9300 tag under 802.1Q', vlan(8), vlan(7, { type: 0x9300 }), ipv4(), tcp()),
    of('tags over ARP', 'not-ip', [], vlan(7), vlan(8), arp()),
    of('many tags over ARP', 'not-ip', [], ...repeated(5, vlan(0)), arp()),

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

const malformed = (name: string, ...layers: readonly Layer[]): Case => of(name, 'malformed-drop', [], ...layers)
const elsewhere = { source: '192.0.2.9' }
const elsewhere6 = { source: '2001:db8:1::9' }

/** Truncated or contradictory headers. Sources inside and outside the list. */
const broken: Suite = {
  name: 'default drop drops malformed packets',
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
    of('seventeen tags', 'unsupported-drop', [], ...repeated(17, vlan(0)), ipv4(elsewhere), udp()),
    of('sixteen tags', 'default-drop', [], ...repeated(16, vlan(0)), ipv4(elsewhere), udp()),
    { ...malformed('a third tag cut off'), frame: packet(ethernet(), ...repeated(3, vlan(0))).subarray(0, 24) },
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
    malformed('a next header without payload', ipv6({ ...elsewhere6, payloadLength: 0, next: UDP }), raw(8)),
    malformed('extension header cut off', ipv6({ ...elsewhere6, next: 60 }), raw(7)),
    {
      ...malformed('extension header longer than the frame'),
      frame: packet(ethernet(), ipv6(elsewhere6), destinationOptions({ size: 16 })).subarray(0, 62),
    },
    of('nine extension headers', 'unsupported-drop', [], ipv6(elsewhere6), ...repeated(9, destinationOptions()), udp()),
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

    of('a port inside the datagram', 'blocklist', ['ports'], ipv4({ source: '203.0.113.1' }), udp({ destination: 53 })),
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

export const PARSING: readonly Suite[] = [parsing, broken]

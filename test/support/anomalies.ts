// Frames with anomalies, for the data plane and its model.

import type { AnomalyName } from '../../src/model/anomaly.ts'
import {
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
} from './packets.ts'

/** Globally reachable sources. */
export const GOOD4 = { source: '8.8.8.8', destination: '192.0.2.80' }
export const GOOD6 = { source: '2606:4700::1111', destination: '2001:db8::80' }
export const in4 = (...layers: readonly Layer[]): Uint8Array => packet(ethernet(), ipv4(GOOD4), ...layers)
export const in6 = (...layers: readonly Layer[]): Uint8Array => packet(ethernet(), ipv6(GOOD6), ...layers)
export const from = (source: string, ...layers: readonly Layer[]): Uint8Array =>
  source.includes(':')
    ? packet(ethernet(), ipv6({ ...GOOD6, source }), ...(layers.length > 0 ? layers : [udp()]))
    : packet(ethernet(), ipv4({ ...GOOD4, source }), ...(layers.length > 0 ? layers : [udp()]))
export const SAME_PORTS = { source: 80, destination: 80 }

/** Frames with all of their anomalies. */
export const FRAMES: readonly (readonly [name: string, frame: Uint8Array, anomalies: readonly AnomalyName[]])[] = [
  ['a datagram', in4(udp()), []],
  ['a SYN', in4(tcp()), []],
  ['FIN, PSH and ACK', in6(tcp({ flags: 0x19 })), []],
  ['URG with FIN, PSH and ACK', in4(tcp({ flags: 0x39 })), []],
  ['an echo request', in4(icmp(8)), []],
  ['padding of Ethernet', padded(in4(udp()), 60), []],
  ['a datagram with options behind it (RFC 9868)', in4(udp({ length: 12 }), raw(20)), []],
  ['land', packet(ethernet(), ipv4({ source: '8.8.8.8', destination: '8.8.8.8' }), tcp(SAME_PORTS)), ['land']],
  [
    'land in IPv6',
    packet(ethernet(), vlan(7), ipv6({ ...GOOD6, destination: GOOD6.source }), udp(SAME_PORTS)),
    ['land'],
  ],
  ['land without ports', packet(ethernet(), ipv4({ source: '8.8.8.8', destination: '8.8.8.8' }), icmp(8)), ['land']],
  ['equal addresses, other ports', packet(ethernet(), ipv4({ source: '8.8.8.8', destination: '8.8.8.8' }), udp()), []],
  ['no flag', in4(tcp({ flags: 0 })), ['tcp_null']],
  ['no flag but those of ECN', in6(tcp({ flags: 0xc0 })), ['tcp_null']],
  ['Xmas', in4(tcp({ flags: 0x29 })), ['tcp_xmas']],
  ['SYN and FIN', in6(tcp({ flags: 3 })), ['tcp_syn_fin']],
  ['SYN and RST', in4(tcp({ flags: 6 })), ['tcp_syn_rst']],
  ['all flags', in4(tcp({ flags: 0x3f })), ['tcp_syn_fin', 'tcp_syn_rst']],
  [
    'a longer total length than the frame',
    packet(ethernet(), ipv4({ ...GOOD4, totalLength: 99 }), udp()),
    ['bad_length'],
  ],
  ['a longer payload than the frame', packet(ethernet(), ipv6({ ...GOOD6, payloadLength: 99 }), udp()), ['bad_length']],
  ...[tcp({ flags: 3 }), udp(), icmpv6(128)].map(
    (layer, i) =>
      [
        `bytes behind an IPv6 datagram without payload, as padding (${i})`,
        packet(ethernet(), ipv6({ ...GOOD6, payloadLength: 0 }), layer),
        ['bad_length'],
      ] as const,
  ),
  ['a TCP header of 16 bytes', in4(tcp({ words: 4 })), ['bad_length']],
  ['a TCP header beyond the datagram', in6(tcp({ words: 6 })), ['bad_length']],
  ['TCP options', in6(tcp({ words: 6 }), raw(4)), []],
  ['a UDP length of 7', in4(udp({ length: 7 }), raw(4)), ['bad_length']],
  ['a UDP length beyond the datagram', in6(udp({ length: 13 }), raw(4)), ['bad_length']],
  ['half a UDP header', packet(ethernet(), ipv4({ ...GOOD4, totalLength: 24 }), udp()), ['bad_length']],
  ['options of IPv4', packet(ethernet(), ipv4({ ...GOOD4, options: 4 }), udp()), ['ip_options']],
  ['options of IGMP', packet(ethernet(), ipv4({ ...GOOD4, options: 4, protocol: 2 }), raw(8)), []],
  ['hop-by-hop options', in6(hopByHop(), udp()), ['ip_options']],
  ['hop-by-hop options of MLD', in6(hopByHop(), icmpv6(143)), []],
  ['a routing header of type 0', in6(routing(), udp()), ['ip_options']],
  ['a first fragment', packet(ethernet(), ipv4({ ...GOOD4, more: true }), tcp(), raw(20)), []],
  [
    'one of 8 bytes of TCP',
    packet(ethernet(), ipv4({ ...GOOD4, more: true, totalLength: 28 }), tcp()),
    ['tiny_fragments'],
  ],
  [
    'one without TCP options',
    packet(ethernet(), ipv4({ ...GOOD4, more: true }), tcp({ words: 6 })),
    ['tiny_fragments'],
  ],
  ['one of 8 bytes of TCP in IPv6', in6(fragment({ more: true, next: 6 }), raw(8)), ['tiny_fragments']],
  ['a datagram in fragments', in6(fragment({ more: true }), udp({ length: 900 }), raw(8)), []],
  ['a second one of TCP', packet(ethernet(), ipv4({ ...GOOD4, offset: 1, protocol: 6 }), raw(20)), ['tiny_fragments']],
  ['a second one of TCP in IPv6', in6(fragment({ offset: 1, next: 6 }), raw(20)), ['tiny_fragments']],
  ['a later one of UDP', packet(ethernet(), ipv4({ ...GOOD4, offset: 1, protocol: 17 }), raw(20)), []],
  ['a later one of TCP', packet(ethernet(), ipv4({ ...GOOD4, offset: 3, protocol: 6 }), raw(20)), []],
  ...(
    [
      ...['0.0.0.0', '0.1.2.3', '127.0.0.1', '224.0.0.1', '239.255.255.255', '255.255.255.255'].map((one) => [
        one,
        true,
      ]),
      ...['10.0.0.0', '10.255.255.255', '100.64.0.0', '100.127.255.255', '169.254.1.1', '172.16.0.0', '172.31.255.255'],
      ...['192.0.0.1', '192.0.2.255', '192.168.0.0', '192.168.255.255', '198.18.0.0', '198.19.255.255', '198.51.100.9'],
      ...['203.0.113.0', '240.0.0.1', '255.255.255.254'],
      ...['::', '::1', '::ffff:8.8.8.8', '::8.8.8.8', 'ff02::1'].map((one) => [one, true]),
      ...[
        '2001:db8::9',
        '3fff::1',
        '3fff:fff:ffff::',
        'fc00::1',
        'fdff::',
        'fec0::1',
        '100::1',
        '5f00::1',
        '64:ff9b:1::',
      ],
    ] as const
  ).map((one) => {
    const [source, isMartian] = typeof one === 'string' ? [one, false] : one
    return [
      `source ${source}`,
      from(source as string),
      [...(isMartian ? ['martians' as const] : []), 'bogons' as const],
    ] as const
  }),
  ...[
    ...['9.255.255.255', '11.0.0.0', '100.63.255.255', '100.128.0.0', '172.15.255.255', '172.32.0.0', '192.0.1.0'],
    ...[
      '192.167.255.255',
      '192.169.0.0',
      '198.17.255.255',
      '198.20.0.0',
      '203.0.112.255',
      '203.0.114.0',
      '223.255.255.255',
    ],
    ...[
      '2001:db7::',
      '2001:db9::',
      '3ffe::',
      '3fff:1000::',
      'fe80::1',
      'febf::1',
      '64:ff9b::8.8.8.8',
      '2000::',
      '2a00::1',
    ],
  ].map((source) => [`source ${source}`, from(source), []] as const),
  ['DHCPDISCOVER', from('0.0.0.0', udp({ source: 68, destination: 67 })), []],
  ['DHCPOFFER of a private server', from('10.0.0.1', udp({ source: 67, destination: 68 })), []],
  ['a private source from port 68', from('10.0.0.1', udp({ source: 68, destination: 67 })), ['bogons']],
  ['duplicate address detection', from('::', icmpv6(135)), []],
  ['a report of listeners from ::', from('::', hopByHop(), icmpv6(143)), []],
  ['an echo request from ::', from('::', icmpv6(128)), ['martians', 'bogons']],
]

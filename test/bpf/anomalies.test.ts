// Anomalies in the data plane: which packets have which, what is dropped and what only counted, and on which interfaces.

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ANOMALY, anomalyCounterCodec } from '../../src/abi/generated.ts'
import { ANOMALY_NAMES, type AnomalyName } from '../../src/model/anomaly.ts'
import { DEFAULT_POLICY } from '../../src/model/policy.ts'
import { EVERY_ROLE, type State } from '../../src/model/state.ts'
import { DataPlane } from '../support/bpf.ts'
import { allow, block, policy, scope } from '../support/lists.ts'
import { factsOf } from '../support/model.ts'
import { Namespace } from '../support/netns.ts'
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
} from '../support/packets.ts'

const SLOT = 5
/** Not lo, where any source is right. */
const ARRIVAL = { ifindex: 7, slot: SLOT, flags: 0 }

let network: Namespace
let plane: DataPlane
beforeAll(async () => {
  network = new Namespace([], {})
  plane = await DataPlane.open(network.name)
})
afterAll(() => {
  plane.close()
  network.close()
})

const stateWith = (anomalies: readonly string[], lists: State['lists'] = new Map()): State => ({
  ...policy('pass'),
  lists,
  policy: { ...DEFAULT_POLICY, default: 'pass', anomalies },
  interfaces: new Map(
    ['eth0', 'eth1'].map((name) => [name, { interface: name, modes: ['native'], roles: EVERY_ROLE }]),
  ),
})

/** Globally reachable sources. */
const GOOD4 = { source: '8.8.8.8', destination: '192.0.2.80' }
const GOOD6 = { source: '2606:4700::1111', destination: '2001:db8::80' }
const in4 = (...layers: readonly Layer[]): Uint8Array => packet(ethernet(), ipv4(GOOD4), ...layers)
const in6 = (...layers: readonly Layer[]): Uint8Array => packet(ethernet(), ipv6(GOOD6), ...layers)
const from = (source: string, ...layers: readonly Layer[]): Uint8Array =>
  source.includes(':')
    ? packet(ethernet(), ipv6({ ...GOOD6, source }), ...(layers.length > 0 ? layers : [udp()]))
    : packet(ethernet(), ipv4({ ...GOOD4, source }), ...(layers.length > 0 ? layers : [udp()]))
const same = { source: 80, destination: 80 }

/** Frames with all of their anomalies. */
const FRAMES: readonly (readonly [name: string, frame: Uint8Array, anomalies: readonly AnomalyName[]])[] = [
  ['a datagram', in4(udp()), []],
  ['a SYN', in4(tcp()), []],
  ['FIN, PSH and ACK', in6(tcp({ flags: 0x19 })), []],
  ['URG with FIN, PSH and ACK', in4(tcp({ flags: 0x39 })), []],
  ['an echo request', in4(icmp(8)), []],
  ['padding of Ethernet', padded(in4(udp()), 60), []],
  ['a datagram with options behind it (RFC 9868)', in4(udp({ length: 12 }), raw(20)), []],
  ['land', packet(ethernet(), ipv4({ source: '8.8.8.8', destination: '8.8.8.8' }), tcp(same)), ['land']],
  ['land in IPv6', packet(ethernet(), vlan(7), ipv6({ ...GOOD6, destination: GOOD6.source }), udp(same)), ['land']],
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

describe('every anomaly alone', () => {
  test.each(ANOMALY_NAMES)('%s', async (name) => {
    await plane.loadState(stateWith([name]))
    const outcomes = await plane.run(FRAMES.map(([, frame]) => ({ frame, arrival: ARRIVAL })))
    const dropped = FRAMES.flatMap(([title], i) => (outcomes[i]?.verdict === 'drop' ? [title] : []))
    expect(dropped).toEqual(FRAMES.flatMap(([title, , anomalies]) => (anomalies.includes(name) ? [title] : [])))
    for (const [i, { explanation }] of outcomes.entries()) {
      const isFound = FRAMES[i]?.[2].includes(name)
      if (isFound) expect(explanation).toMatchObject({ reason: 'anomaly', scope: ANOMALY_NAMES.indexOf(name) })
    }
  })

  test('the model reads the frames as the table says', () => {
    for (const [title, frame, anomalies] of FRAMES) {
      const facts = factsOf(frame)
      expect([title, facts.kind === 'ip' ? facts.anomalies : []]).toEqual([title, anomalies])
    }
  })

  test('split packets have them too', async () => {
    if (!(await plane.canSplit())) return
    await plane.loadState(stateWith([...ANOMALY_NAMES]))
    const runs = FRAMES.map(([, frame]) => ({ frame, arrival: ARRIVAL, linear: 16 }))
    const outcomes = await plane.run(runs)
    const passed = FRAMES.flatMap(([title], i) => (outcomes[i]?.verdict === 'pass' ? [title] : []))
    expect(passed).toEqual(FRAMES.flatMap(([title, , anomalies]) => (anomalies.length === 0 ? [title] : [])))
  })
})

test('names and numbers of the two languages agree', () => {
  const numbers = Object.entries(ANOMALY).map(([name, number]) => [name.toLowerCase(), number])
  expect(numbers).toEqual(ANOMALY_NAMES.map((name, number) => [name, number]))
})

describe('what happens to packets', () => {
  const counts = async () =>
    Promise.all(ANOMALY_NAMES.map((_, number) => plane.sums('anomaly_stats', number, anomalyCounterCodec)))

  test('observed ones are counted and go on, up to the first that drops', async () => {
    const before = await counts()
    await plane.loadState(stateWith(['tcp_syn_fin observe', 'tcp_syn_rst', 'ip_options observe']))
    const frame = packet(ethernet(), ipv4({ ...GOOD4, options: 4 }), tcp({ flags: 7 }))
    const others = [in4(tcp({ flags: 3 })), in4(tcp()), packet(ethernet(), ipv4({ ...GOOD4, options: 4 }), udp())]
    const outcomes = await plane.send(SLOT, [frame, ...others])
    expect(outcomes.map(({ verdict }) => verdict)).toEqual(['drop', 'pass', 'pass', 'pass'])
    const after = await counts()
    const moved = ANOMALY_NAMES.flatMap((name, i) => {
      const [was, is] = [before[i], after[i]]
      const packets = (is?.packets ?? 0) - (was?.packets ?? 0)
      return packets === 0 ? [] : [[name, packets, (is?.dropped_packets ?? 0) - (was?.dropped_packets ?? 0)]]
    })
    expect(moved).toEqual([
      ['tcp_syn_fin', 2, 0],
      ['tcp_syn_rst', 1, 1],
      ['ip_options', 1, 0],
    ])
  })

  test('a test run counts nothing', async () => {
    await plane.loadState(stateWith(['tcp_null']))
    const before = await counts()
    await plane.run([{ frame: in4(tcp({ flags: 0 })), arrival: ARRIVAL }])
    expect(await counts()).toEqual(before)
  })

  test('allowlists spare packets, blocklists and bans decide first', async () => {
    const lists = new Map(
      [allow('friends', ['10.0.0.0/8', scope('any')]), block('bad', ['192.168.0.0/16', scope('any')])].map((list) => [
        list.name,
        list,
      ]),
    )
    await plane.loadState(stateWith(['bogons'], lists))
    const sources = ['10.0.0.1', '192.168.0.1', '172.16.0.1', '8.8.8.8']
    const outcomes = await plane.run(sources.map((source) => ({ frame: from(source), arrival: ARRIVAL })))
    expect(outcomes.map(({ explanation }) => explanation?.reason)).toEqual([
      'allowlist',
      'blocklist',
      'anomaly',
      'default-pass',
    ])
  })

  test('only on the interfaces that it names, and on one that is none of ours', async () => {
    await plane.loadState(stateWith(['bogons on eth1', 'tcp_null']))
    const runs = [1, 2, 0].map((slot) => ({ frame: from('10.0.0.1'), arrival: { ifindex: 7, slot, flags: 0 } }))
    expect((await plane.run(runs)).map(({ verdict }) => verdict)).toEqual(['pass', 'drop', 'drop'])
  })

  test('on lo any source is right', async () => {
    await plane.loadState(stateWith([...ANOMALY_NAMES]))
    const loopback = packet(ethernet(), ipv4({ source: '127.0.0.1', destination: '127.0.0.1' }), udp(same))
    const frames = [loopback, from('10.0.0.1'), in4(tcp({ flags: 0 }))]
    const runs = frames.map((frame) => ({ frame, arrival: { ifindex: 1, slot: SLOT, flags: 0 } }))
    expect((await plane.run(runs)).map(({ verdict }) => verdict)).toEqual(['pass', 'pass', 'drop'])
  })

  test('essential packets of default drop are judged too', async () => {
    const state = stateWith(['bad_length'])
    await plane.loadState({ ...state, policy: { ...DEFAULT_POLICY, ...state.policy, default: 'drop' } })
    const run = (frame: Uint8Array) => ({ frame, arrival: ARRIVAL })
    const outcomes = await plane.run([
      run(in6(icmpv6(135), raw(16))),
      run(packet(ethernet(), ipv6({ ...GOOD6, payloadLength: 99 }), icmpv6(135), raw(16))),
      run(in4(udp())),
    ])
    expect(outcomes.map(({ explanation }) => explanation?.reason)).toEqual(['essential', 'anomaly', 'default-drop'])
  })
})

// Replies of NAT: packets from backends to clients, by the routes and neighbours of a namespace.

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { serviceCounterCodec } from '../../src/abi/generated.ts'
import { encodeStack, stackRecord } from '../../src/kernel/observe/records.ts'
import type { NextHop } from '../../src/model/service.ts'
import type { ReasonName } from '../../src/report/reason.ts'
import { DataPlane, TEST_IFINDEX } from '../support/bpf.ts'
import { seal, wrongChecksums } from '../support/checksums.ts'
import { linkTo, tooBig, translated, translatedError } from '../support/forwarding.ts'
import { Namespace } from '../support/netns.ts'
import {
  ACK,
  ethernet,
  fragment,
  icmp,
  icmpv6,
  ipv4,
  ipv6,
  type Layer,
  packet,
  raw,
  tcp,
  udp,
  vlan,
} from '../support/packets.ts'
import { address, backend, balancing, EGRESS, service } from '../support/services.ts'

const VIP = { 4: '192.0.2.10', 6: '2001:db8:f::10' } as const
const BACKEND = { 4: '10.0.0.11', 6: 'fd00::11' } as const
/** On the link, with a neighbour entry, and without; behind the gateway; this host itself. */
const NEAR = { 4: '203.0.113.7', 6: '2001:db8:c::7' } as const
const UNKNOWN = { 4: '203.0.113.8', 6: '2001:db8:c::8' } as const
const FAR = { 4: '198.51.100.9', 6: '2001:db8:d::9' } as const
const OWN = { 4: '203.0.113.1', 6: '2001:db8:c::1' } as const
const GATEWAY = { 4: '203.0.113.254', 6: '2001:db8:c::fe' } as const
const NEAR_MAC = '02:00:5e:00:00:07'
const GATEWAY_MAC = '02:00:5e:00:00:fe'
const SLOT = 4
/** The route to a backend leads to the interface on which test runs arrive. */
const HERE: NextHop = { ...EGRESS, ifindex: TEST_IFINDEX }
const near = (text: string, fields: Partial<NextHop> = {}) => backend(text, { nextHop: { ...HERE, ...fields } })
/** Behind a VLAN device. */
const TAGGED = { 4: '10.0.0.19', 6: 'fd00::19' } as const
/** Behind another interface; of a service that accepts replies on any interface. */
const AWAY = { 4: '10.0.0.21', 6: 'fd00::21' } as const
const ROAMING = { 4: '10.0.0.22', 6: 'fd00::22' } as const
/** Without a known route. */
const LOST = { 4: '10.0.0.23', 6: 'fd00::23' } as const

let netns: Namespace
let plane: DataPlane
let out: { readonly ifindex: number; readonly mac: string }
beforeAll(async () => {
  netns = new Namespace([`${OWN[4]}/24`, `${OWN[6]}/64`], {
    [NEAR[4]]: NEAR_MAC,
    [NEAR[6]]: NEAR_MAC,
    [GATEWAY[4]]: GATEWAY_MAC,
    [GATEWAY[6]]: GATEWAY_MAC,
  })
  for (const family of [4, 6] as const) {
    netns.run('ip', `-${family}`, 'route', 'add', 'default', 'via', GATEWAY[family], 'dev', 'out')
  }
  out = netns.out
  plane = await DataPlane.open(netns.name)
  await plane.own(out.ifindex, SLOT)
  await plane.loadState(
    balancing(
      ([4, 6] as const).flatMap((family) => [
        service(`web${family}`, `${VIP[family]} 80`, { backends: [near(`${BACKEND[family]} 8080`)] }),
        service(`dns${family}`, `${VIP[family]} 53`, { protocol: 'udp', backends: [near(BACKEND[family])] }),
        service(`strict${family}`, `${VIP[family]} 54`, {
          protocol: 'udp',
          backends: [
            near(TAGGED[family], { vlan: 9 }),
            near(AWAY[family], { ifindex: out.ifindex }),
            backend(LOST[family], { nextHop: undefined }),
          ],
        }),
        service(`zany${family}`, `${VIP[family]} 55`, {
          protocol: 'udp',
          backends: [near(ROAMING[family], { ifindex: out.ifindex })],
          repliesFrom: 'anywhere',
        }),
        service(`range${family}`, `${VIP[family]} 5000-5009`, { backends: [near(BACKEND[family])] }),
        service(`all${family}`, `${VIP[family]} any`, {
          protocol: 'udp',
          hash: 'source',
          backends: [near(family === 4 ? '10.0.0.12' : 'fd00::12')],
        }),
      ]),
    ),
  )
})
afterAll(() => {
  plane?.close()
  netns?.close()
})

type Family = 4 | 6

interface Header {
  readonly from?: string
  readonly ttl?: number
  readonly df?: boolean
}

const ip = (family: Family, to: string, { from = BACKEND[family], ttl = 64, df = false }: Header = {}): Layer =>
  family === 4
    ? ipv4({ source: from, destination: to, ttl, dontFragment: df })
    : ipv6({ source: from, destination: to, hopLimit: ttl })
const sealed = (...layers: readonly Layer[]): Uint8Array => seal(packet(ethernet(), ...layers))
const web = (family: Family, to: string, header: Header = {}, size = 9): Uint8Array =>
  sealed(ip(family, to, header), tcp({ source: 8080, destination: 40000, flags: ACK }), raw(size))
const dns = (family: Family, to: string): Uint8Array =>
  sealed(ip(family, to), udp({ source: 53, destination: 40000 }), raw(9))

const hop = (mac: string): NextHop => ({
  interface: 'out',
  ifindex: out.ifindex,
  mac: mac.replaceAll(':', ''),
  sourceMac: out.mac,
  vlan: 0,
  mtu: 1500,
})

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

async function expectOutcome(frame: Uint8Array, reason: ReasonName, output: Uint8Array): Promise<void> {
  const [explained] = await plane.run([{ frame }])
  const [found] = await plane.run([{ frame }], 'filter')
  expect({ reason: explained?.explanation?.reason, output: hex(found?.output ?? new Uint8Array()) }).toEqual({
    reason,
    output: hex(output),
  })
  if (reason !== 'default-pass') expect(wrongChecksums(output)).toEqual([])
}

/** The Ethernet header, unchanged. */
const same = (frame: Uint8Array, size = 14): Uint8Array => frame.subarray(0, size)

describe.each([4, 6] as const)('IPv%i', (family) => {
  const asVip = { source: address(VIP[family]) }

  test('sends a reply to a client on the link, from the VIP and its port', async () => {
    const [one, other] = [web(family, NEAR[family]), dns(family, NEAR[family])]
    await expectOutcome(one, 'reply-away', translated(one, linkTo(hop(NEAR_MAC), family), { ...asVip, sourcePort: 80 }))
    await expectOutcome(other, 'reply-away', translated(other, linkTo(hop(NEAR_MAC), family), asVip))
  })

  test('sends a reply through the gateway, into its VLAN', async () => {
    const frame = sealed(
      vlan(9),
      ip(family, FAR[family], { from: TAGGED[family] }),
      udp({ source: 54, destination: 1 }),
    )
    await expectOutcome(frame, 'reply-away', translated(frame, linkTo(hop(GATEWAY_MAC), family), asVip))
  })

  test('a reply from a port of a range keeps its port', async () => {
    const frame = sealed(ip(family, NEAR[family]), tcp({ source: 5003, destination: 1, flags: ACK }))
    await expectOutcome(frame, 'reply-away', translated(frame, linkTo(hop(NEAR_MAC), family), asVip))
  })

  test('a UDP checksum of zero stays', async () => {
    const frame = seal(packet(ethernet(), ip(family, NEAR[family]), udp({ source: 53, destination: 1 }), raw(3)), {
      keepZero: true,
    })
    await expectOutcome(frame, 'reply-away', translated(frame, linkTo(hop(NEAR_MAC), family), asVip))
  })

  test('translates a reply to a client without a known MAC, for the stack to route', async () => {
    const frame = dns(family, UNKNOWN[family])
    await expectOutcome(frame, 'reply-routed', translated(frame, same(frame), asVip))
  })

  test('leaves a reply through a foreign interface to the stack', async () => {
    const frame = dns(family, NEAR[family])
    await plane.own(out.ifindex + 1000, SLOT)
    await plane.setIndex(out.ifindex % 256, new Uint8Array(8))
    await expectOutcome(frame, 'reply-routed', translated(frame, same(frame), asVip))
    await plane.own(out.ifindex, SLOT)
  })

  test('does not translate packets to this host itself', async () => {
    const frame = web(family, OWN[family])
    await expectOutcome(frame, 'default-pass', frame)
  })

  test('does not translate any packet while the host does not forward', async () => {
    const key = family === 4 ? 'net.ipv4.ip_forward' : 'net.ipv6.conf.all.forwarding'
    const frame = web(family, NEAR[family])
    netns.run('sysctl', '-qw', `${key}=0`)
    try {
      await expectOutcome(frame, 'default-pass', frame)
    } finally {
      netns.run('sysctl', '-qw', `${key}=1`)
    }
  })

  test('does not translate packets from other ports, protocols and hosts', async () => {
    const frames = [
      sealed(ip(family, NEAR[family]), tcp({ source: 80, destination: 1 })),
      sealed(ip(family, NEAR[family]), udp({ source: 8080, destination: 1 })),
      sealed(ip(family, NEAR[family]), tcp({ source: 5010, destination: 1 })),
      sealed(ip(family, NEAR[family], { from: GATEWAY[family] }), tcp({ source: 8080, destination: 1 })),
      sealed(ip(family, NEAR[family]), family === 4 ? icmp(8) : icmpv6(128)),
      sealed(ip(family, NEAR[family]), raw(20)),
    ]
    for (const frame of frames) await expectOutcome(frame, 'default-pass', frame)
  })

  test('leaves a reply with an expiring TTL to the stack', async () => {
    const frame = web(family, NEAR[family], { ttl: 1 })
    await expectOutcome(frame, 'expired', frame)
  })

  test('reports "packet too big" to the backend for a reply that exceeds the MTU', async () => {
    netns.run('ip', 'link', 'set', 'out', 'mtu', '1400')
    try {
      const long = web(family, NEAR[family], { df: true }, 1380)
      await expectOutcome(long, 'too-big', tooBig(long, 1400))
    } finally {
      netns.run('ip', 'link', 'set', 'out', 'mtu', '1500')
    }
  })

  test('translates the first fragment of a reply, and later ones of a service on any port', async () => {
    const from = family === 4 ? '10.0.0.12' : 'fd00::12'
    const piece = (offset: number, more: boolean, source: string, port = 777): Uint8Array => {
      const behind = offset === 0 ? [udp({ source: port, destination: 1 })] : []
      const layers =
        family === 4
          ? [ipv4({ source, destination: NEAR[4], offset, more, ...(offset > 0 ? { protocol: 17 } : {}) })]
          : [ipv6({ source, destination: NEAR[6] }), fragment({ offset, more, ...(offset > 0 ? { next: 17 } : {}) })]
      return seal(packet(ethernet(), ...layers, ...behind, raw(16)), { keepZero: true })
    }
    for (const frame of [piece(0, true, from), piece(3, true, from), piece(6, false, from)]) {
      await expectOutcome(frame, 'reply-away', translated(frame, linkTo(hop(NEAR_MAC), family), asVip))
    }
    const [stray, later] = [piece(0, true, BACKEND[family]), piece(3, false, BACKEND[family])]
    await expectOutcome(stray, 'default-pass', stray)
    await expectOutcome(later, 'default-pass', later)
    const first = piece(0, true, BACKEND[family], 53)
    await expectOutcome(first, 'reply-away', translated(first, linkTo(hop(NEAR_MAC), family), asVip))
  })

  test('translates the later fragments of a reply like the first one', async () => {
    let identification = 0
    const piece = (offset: number, more: boolean, to: string, source = 53): Uint8Array => {
      const behind = offset === 0 ? [udp({ source, destination: 40000 })] : []
      const own = { offset, more, identification, ...(offset > 0 ? { protocol: 17, next: 17 } : {}) }
      const layers =
        family === 4
          ? [ipv4({ source: BACKEND[4], destination: to, ...own })]
          : [ipv6({ source: BACKEND[6], destination: to }), fragment(own)]
      return seal(packet(ethernet(), ...layers, ...behind, raw(16)), { keepZero: true })
    }
    const pieces = (to: string, source?: number): Uint8Array[] => {
      identification++
      return [piece(0, true, to, source), piece(3, true, to), piece(6, false, to)]
    }
    const sent = async (frames: readonly Uint8Array[]) => {
      await plane.attachTestRuns(SLOT + 2)
      const outcomes = await plane.run(
        frames.map((frame) => ({ frame })),
        'filter',
      )
      await plane.attachTestRuns(0)
      return outcomes.map(({ verdict, output }) => ({ verdict, output: hex(output) }))
    }
    const near = pieces(NEAR[family])
    expect(await sent(near)).toEqual(
      near.map((frame) => ({
        verdict: 'redirect',
        output: hex(translated(frame, linkTo(hop(NEAR_MAC), family), asVip)),
      })),
    )
    const routed = pieces(UNKNOWN[family])
    expect(await sent(routed)).toEqual(
      routed.map((frame) => ({ verdict: 'pass', output: hex(translated(frame, same(frame), asVip)) })),
    )
    // To this host itself, and of the backend's own flows.
    for (const own of [pieces(OWN[family]), pieces(NEAR[family], 777)]) {
      expect(await sent(own)).toEqual(own.map((frame) => ({ verdict: 'pass', output: hex(frame) })))
    }
  })

  test('sends an error about a packet to a backend to the client, with the quoted packet translated', async () => {
    const inner = ip(family, BACKEND[family], { from: NEAR[family], ttl: 63 })
    const quotes: readonly (readonly [Uint8Array, number | undefined])[] = [
      [sealed(inner, udp({ source: 40000, destination: 53 }), raw(20)), undefined],
      [sealed(inner, tcp({ source: 40000, destination: 8080 }), raw(20)), 80],
      [sealed(inner, tcp({ source: 40000, destination: 8080 })).subarray(0, 14 + (family === 4 ? 28 : 48)), 80],
    ]
    for (const [quoted, port] of quotes) {
      const error = family === 4 ? icmp(3, 3) : icmpv6(1, 4)
      const router = family === 4 ? '10.0.0.1' : 'fd00::1'
      for (const from of [BACKEND[family], router]) {
        const frame = sealed(ip(family, NEAR[family], { from }), error, raw(quoted.subarray(14)))
        const wanted = translatedError(frame, linkTo(hop(NEAR_MAC), family), asVip, {
          destination: address(VIP[family]),
          destinationPort: port,
        })
        await expectOutcome(frame, 'reply-away', wanted)
      }
      const unknown = sealed(ip(family, UNKNOWN[family]), error, raw(quoted.subarray(14)))
      await expectOutcome(unknown, 'default-pass', unknown)
    }
    const asked = ip(family, BACKEND[family], { from: UNKNOWN[family] })
    const quoted = sealed(asked, udp({ source: 40000, destination: 53 }), raw(20)).subarray(14)
    const routed = sealed(ip(family, UNKNOWN[family]), family === 4 ? icmp(11, 0) : icmpv6(3, 0), raw(quoted))
    await expectOutcome(
      routed,
      'reply-routed',
      translatedError(routed, same(routed), asVip, { destination: address(VIP[family]) }),
    )
  })

  test('forwards a packet from one backend to the VIP of another, and translates its reply', async () => {
    const from = family === 4 ? '10.0.0.12' : 'fd00::12'
    const frame = sealed(ip(family, VIP[family], { from }), tcp({ source: 40000, destination: 80 }))
    const [explained] = await plane.run([{ frame }])
    expect(explained?.explanation?.reason).toBe('balanced')
  })

  const from = (source: string, port: number, ...tags: readonly Layer[]): Uint8Array =>
    sealed(...tags, ip(family, NEAR[family], { from: source }), udp({ source: port, destination: 40000 }), raw(9))

  test('translates replies only where the route to the backend leads', async () => {
    const away = from(AWAY[family], 54)
    await expectOutcome(away, 'default-pass', away)
    const lost = from(LOST[family], 54)
    await expectOutcome(lost, 'default-pass', lost)
    const arrival = { ifindex: out.ifindex, slot: SLOT, flags: 0 }
    const [there] = await plane.run([{ frame: away, arrival }])
    expect(there?.explanation?.reason).toBe('reply')
    const [elsewhere] = await plane.run([{ frame: dns(family, NEAR[family]), arrival }])
    expect(elsewhere?.explanation?.reason).toBe('default-pass')
  })

  test('translates replies on an interface below the device that the route leads to', async () => {
    const frame = from(AWAY[family], 54)
    const arrival = { ifindex: TEST_IFINDEX, slot: SLOT, flags: 0 }
    const reasonWith = async (above: readonly number[]): Promise<unknown> => {
      await plane.setValue('interface_stack', SLOT, encodeStack(stackRecord({ macs: [], above })))
      const [found] = await plane.run([{ frame, arrival }])
      return found?.explanation?.reason
    }
    expect(await reasonWith([1041, out.ifindex])).toBe('reply-away')
    expect(await reasonWith([1041, 1042])).toBe('default-pass')
    // More devices than are known.
    expect(await reasonWith(Array.from({ length: 12 }, (_, i) => 1041 + i))).toBe('reply-away')
    expect(await reasonWith([])).toBe('default-pass')
  })

  test('translates replies of a service with `replies_from: anywhere` wherever they arrive', async () => {
    const frame = from(ROAMING[family], 55)
    await expectOutcome(frame, 'reply-away', translated(frame, linkTo(hop(NEAR_MAC), family), asVip))
  })

  test('translates replies only from the VLAN of the backend, if their tag can be seen', async () => {
    const reasonOf = async (frame: Uint8Array): Promise<unknown> =>
      (await plane.run([{ frame }]))[0]?.explanation?.reason
    const [tagged, plain] = [TAGGED[family], BACKEND[family]]
    expect(await reasonOf(from(tagged, 54, vlan(9)))).toBe('reply-away')
    expect(await reasonOf(from(tagged, 54, vlan(10)))).toBe('default-pass')
    // A network adapter has removed the tag.
    expect(await reasonOf(from(tagged, 54))).toBe('reply-away')
    expect(await reasonOf(from(plain, 53, vlan(9)))).toBe('default-pass')
    // A priority without a VLAN.
    expect(await reasonOf(from(plain, 53, vlan(0)))).toBe('reply-away')
    expect(await reasonOf(from(plain, 53, vlan(0), vlan(9)))).toBe('default-pass')
  })

  test('returns errors about packets to a backend only from where the backend is', async () => {
    const error = family === 4 ? icmp(3, 3) : icmpv6(1, 4)
    const quoted = (to: string, port: number): Uint8Array =>
      sealed(ip(family, to, { from: NEAR[family] }), udp({ source: 40000, destination: port }), raw(20)).subarray(14)
    const reasonOf = async (inner: Uint8Array): Promise<unknown> => {
      const frame = sealed(ip(family, NEAR[family], { from: UNKNOWN[family] }), error, raw(inner))
      return (await plane.run([{ frame }]))[0]?.explanation?.reason
    }
    expect(await reasonOf(quoted(BACKEND[family], 53))).toBe('reply-away')
    expect(await reasonOf(quoted(AWAY[family], 54))).toBe('default-pass')
    expect(await reasonOf(quoted(ROAMING[family], 55))).toBe('reply-away')
  })
})

test('counts replies', async () => {
  await plane.attachTestRuns(SLOT + 1)
  await plane.run([{ frame: web(4, NEAR[4]) }, { frame: web(4, UNKNOWN[4]) }], 'filter')
  await plane.attachTestRuns(0)
  // Service slots are in the order of names: all4, all6, dns4, dns6, range4, range6, strict4, strict6, web4.
  expect(await plane.sums('service_stats', 8, serviceCounterCodec)).toMatchObject({ replies: 2, packets: 0 })
})

/** Sends a frame as real traffic of the interface in SLOT + 1, which has these MAC addresses. */
async function received(frame: Uint8Array, macs: readonly string[]): Promise<string | undefined> {
  await plane.setValue('interface_stack', SLOT + 1, encodeStack(stackRecord({ macs, above: [] })))
  await plane.attachTestRuns(SLOT + 1)
  const [found] = await plane.run([{ frame }], 'filter')
  await plane.attachTestRuns(0)
  await plane.setValue('interface_stack', SLOT + 1, encodeStack(stackRecord({ macs: [], above: [] })))
  return found?.verdict
}

describe('a frame', () => {
  const MAC = '02:00:5e:10:00:07'
  const OTHERS = ['02:00:5e:10:00:08', '00:00:5e:00:01:33']
  const plain = (mac: string): string => mac.replaceAll(':', '')
  const to = (destination: string, layers: readonly Layer[]): Uint8Array =>
    seal(packet(ethernet({ destination }), ...layers))
  const kinds: readonly (readonly [string, string, readonly Layer[]])[] = [
    ['to a VIP', 'tx', [ip(4, VIP[4], { from: NEAR[4] }), tcp({ source: 40000, destination: 80 })]],
    ['with a reply', 'redirect', [ip(4, NEAR[4]), udp({ source: 53, destination: 40000 }), raw(9)]],
    ['with an echo request to a VIP', 'tx', [ip(6, VIP[6], { from: NEAR[6] }), icmpv6(128)]],
  ]

  test.each(kinds)(
    '%s is balanced if it is addressed to the interface or a device on it',
    async (_, verdict, layers) => {
      expect(await received(to(MAC, layers), [plain(MAC)])).toBe(verdict)
      for (const mac of OTHERS) expect(await received(to(mac, layers), [MAC, ...OTHERS].map(plain))).toBe(verdict)
      // While the addresses are not known, or are more than fit.
      expect(await received(to(MAC, layers), [])).toBe(verdict)
      const many = Array.from({ length: 11 }, (_, i) => `02005e1000${(i + 16).toString(16)}`)
      expect(await received(to(MAC, layers), many)).toBe(verdict)
    },
  )

  test.each(kinds)(
    '%s is left to the stack if it is addressed to another host or to a group',
    async (_, __, layers) => {
      const others = ['02:00:5e:10:00:09', '02:00:5e:10:01:07', '00:00:5e:10:00:07', '02:00:5e:10:00:06']
      for (const mac of others) expect(await received(to(mac, layers), [MAC, ...OTHERS].map(plain))).toBe('pass')
      for (const mac of ['ff:ff:ff:ff:ff:ff', '01:00:5e:00:00:12', '33:33:00:00:00:01'])
        for (const macs of [[plain(MAC)], []]) expect(await received(to(mac, layers), macs)).toBe('pass')
    },
  )

  test('to a VIP in a frame for another host is counted', async () => {
    const before = (await plane.reasons(SLOT + 1))['other-host']?.packets ?? 0
    await received(to('02:00:5e:10:00:09', kinds[0]?.[2] as readonly Layer[]), [plain(MAC)])
    expect((await plane.reasons(SLOT + 1))['other-host']?.packets).toBe(before + 1)
  })
})

// Replies of NAT: packets from backends to clients, by the routes and neighbours of a namespace.

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { serviceCounterCodec } from '../../src/abi/generated.ts'
import type { NextHop } from '../../src/model/service.ts'
import type { ReasonName } from '../../src/report/reason.ts'
import { DataPlane } from '../support/bpf.ts'
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
import { address, balancing, service } from '../support/services.ts'

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
        service(`web${family}`, `${VIP[family]} 80`, { backends: [`${BACKEND[family]} 8080`] }),
        service(`dns${family}`, `${VIP[family]} 53`, { protocol: 'udp', backends: [BACKEND[family]] }),
        service(`range${family}`, `${VIP[family]} 5000-5009`, { backends: [BACKEND[family]] }),
        service(`all${family}`, `${VIP[family]} any`, {
          protocol: 'udp',
          hash: 'source',
          backends: [family === 4 ? '10.0.0.12' : 'fd00::12'],
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
    const frame = sealed(vlan(9), ip(family, FAR[family]), udp({ source: 53, destination: 1 }))
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
    expect(explained?.explanation?.reason).toBe('balanced-away')
  })
})

test('counts replies', async () => {
  await plane.attachTestRuns(SLOT + 1)
  await plane.run([{ frame: web(4, NEAR[4]) }, { frame: web(4, UNKNOWN[4]) }], 'filter')
  await plane.attachTestRuns(0)
  // Service slots are in the order of names: all4, all6, dns4, dns6, range4, range6, web4.
  expect(await plane.sums('service_stats', 6, serviceCounterCodec)).toMatchObject({ replies: 2, packets: 0 })
})

// The path MTU to backends of tunnels: reports of routers about packets of ours, and forged ones.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { IPV4_LEAST_PATH_MTU, PATH_MTU_LIFETIME, pathMtuCodec } from '../../src/abi/generated.ts'
import type { NextHop } from '../../src/model/service.ts'
import { formatAddress } from '../../src/model/text.ts'
import { DataPlane, TEST_IFINDEX } from '../support/bpf.ts'
import { seal } from '../support/checksums.ts'
import { sample } from '../support/depth.ts'
import { addressesOf, EXPECTED, networkPlace, tooBig } from '../support/forwarding.ts'
import { ACK, ethernet, icmp, icmpv6, ipv4, ipv6, packet, raw, tcp, vlan } from '../support/packets.ts'
import { backend, balancing, EGRESS, service } from '../support/services.ts'

type Family = 4 | 6
const SLOT = 3
const VIP = { 4: '192.0.2.10', 6: '2001:db8:f::10' } as const
const BACKEND = { 4: '10.0.0.11', 6: 'fd00::11' } as const
const ROUTER = { 4: '10.0.7.1', 6: 'fd00:7::1' } as const
const LEAST = { 4: IPV4_LEAST_PATH_MTU, 6: 1280 } as const

let plane: DataPlane
beforeAll(async () => {
  plane = await DataPlane.open()
})
afterAll(() => plane.close())

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

const segment = (family: Family, size: number, port = 40000): Uint8Array =>
  seal(
    packet(
      ethernet(),
      family === 4 ? ipv4({ destination: VIP[4], dontFragment: true }) : ipv6({ destination: VIP[6] }),
      tcp({ source: port, destination: 80, flags: ACK }),
      raw(size),
    ),
  )

/** Sends frames as real traffic; returns the outputs. */
async function send(...frames: readonly Uint8Array[]): Promise<Uint8Array[]> {
  const outcomes = await plane.send(SLOT, frames)
  return outcomes.map(({ output }) => output)
}

/** Reason and output of a test run. */
async function ask(frame: Uint8Array): Promise<{ readonly reason: string | undefined; readonly output: string }> {
  const [explained] = await plane.run([{ frame }])
  const [filtered] = await plane.run([{ frame }], 'filter')
  return { reason: explained?.explanation?.reason, output: hex(filtered?.output ?? new Uint8Array()) }
}

interface Report {
  readonly mtu?: number
  /** Bytes of the quote; routers send at least the header and eight bytes, and most of them hundreds. */
  readonly quote?: number
  /** Type and code, if not "too big". */
  readonly kind?: readonly [number, number]
  /** Changes the quoted packet. */
  readonly forge?: (quoted: DataView) => void
}

/** A router's report about an outgoing packet, to its outer source. */
function reportOf(output: Uint8Array, { mtu = 1300, quote = 200, kind, forge }: Report = {}): Uint8Array {
  const place = networkPlace(output)
  const quoted = output.slice(place.at, place.at + quote)
  forge?.(new DataView(quoted.buffer))
  const { source } = addressesOf(output, place)
  const to = formatAddress(place.family, source.words)
  const [type, code] = kind ?? (place.family === 4 ? [3, 4] : [2, 0])
  const layers =
    place.family === 4
      ? [ipv4({ source: ROUTER[4], destination: to }), icmp(type, code, mtu)]
      : [ipv6({ source: ROUTER[6], destination: to }), icmpv6(type, code, mtu)]
  return seal(packet(ethernet(), vlan(9), ...layers, raw(quoted)), { outermost: true })
}

/** The frame without its VLAN tag. */
const untagged = (frame: Uint8Array): Uint8Array => Uint8Array.from([...frame.subarray(0, 12), ...frame.subarray(16)])

const MODES = (['ipip', 'gue'] as const).flatMap((forwarding) =>
  ([4, 6] as const).flatMap((family) => ([4, 6] as const).map((to) => ({ forwarding, family, to }))),
)

describe.each(sample(MODES, 3))('$forwarding, IPv$family to IPv$to', ({ forwarding, family, to }) => {
  const overhead = EXPECTED[forwarding].overhead[to]
  const outerHeader = to === 4 ? 20 : 40
  const web = { forwarding, backends: [BACKEND[to]], repliesFrom: 'anywhere' } as const
  const state = balancing([service('web', `${VIP[family]} 80`, web)])
  const large = segment(family, 1350)
  const fitting = segment(family, 1300 - overhead - (family === 4 ? 40 : 60))
  let output: Uint8Array

  beforeEach(async () => {
    plane.forget()
    await plane.loadState(state)
    ;[output] = (await send(large)) as [Uint8Array]
  })

  test('a report is used, and larger packets are answered with the size that fits', async () => {
    expect((await ask(large)).reason).toBe('balanced-away')
    expect(await ask(reportOf(output))).toMatchObject({ reason: 'path-mtu' })
    // A test run stores nothing.
    expect((await ask(large)).reason).toBe('balanced-away')
    await send(reportOf(output))
    expect(await ask(large)).toEqual({ reason: 'too-big', output: hex(tooBig(large, 1300 - overhead)) })
    // For other flows of the backend too, and only for packets that do not fit.
    expect((await ask(segment(family, 1350, 1234))).reason).toBe('too-big')
    expect((await ask(fitting)).reason).toBe('balanced-away')
  })

  test('a path MTU only falls, and larger packets may try again after ten minutes', async () => {
    await send(reportOf(output, { mtu: 1350 }), reportOf(output, { mtu: 1300 }), reportOf(output, { mtu: 1320 }))
    expect((await ask(large)).output).toBe(hex(tooBig(large, 1300 - overhead)))
    const [bytes] = (await plane.valuesAt('path_mtus', [0])) as [Uint8Array]
    const view = new DataView(bytes.buffer)
    const { until, ...rest } = pathMtuCodec.decode(view)
    const left = Number(until - process.hrtime.bigint()) / 1e9
    expect(left).toBeGreaterThan(PATH_MTU_LIFETIME - 120)
    expect(left).toBeLessThanOrEqual(PATH_MTU_LIFETIME)
    pathMtuCodec.encode({ ...rest, until: process.hrtime.bigint() }, view)
    await plane.setValue('path_mtus', 0, bytes)
    expect((await ask(large)).reason).toBe('balanced-away')
    await send(reportOf(output, { mtu: 1320 }))
    expect((await ask(large)).output).toBe(hex(tooBig(large, 1320 - overhead)))
  })

  test('a report is used only from the interface that the route to the backend leads to', async () => {
    await plane.loadState(balancing([service('web', `${VIP[family]} 80`, { ...web, repliesFrom: 'route' })]))
    const frame = untagged(reportOf(output))
    const reasonFrom = async (ifindex: number): Promise<unknown> =>
      (await plane.run([{ frame, arrival: { ifindex, slot: 0, flags: 0 } }]))[0]?.explanation?.reason
    expect(await reasonFrom(TEST_IFINDEX)).toBe('default-pass')
    expect(await reasonFrom(EGRESS.ifindex)).toBe('path-mtu')
  })

  test('a report below the least MTU counts as that', async () => {
    await send(reportOf(output, { mtu: 68 }))
    expect((await ask(large)).output).toBe(hex(tooBig(large, LEAST[to] - overhead)))
  })

  test('a backend that takes the slot of another does not have its path MTU', async () => {
    await send(reportOf(output))
    const other = to === 4 ? '10.0.0.12' : 'fd00::12'
    await plane.loadState(balancing([service('web', `${VIP[family]} 80`, { ...web, backends: [other] })]))
    expect((await ask(large)).reason).toBe('balanced-away')
  })

  const inner = outerHeader + (forwarding === 'gue' ? 8 : 0)
  const transport = inner + (family === 4 ? 20 : 40)
  const flip =
    (at: number) =>
    (quoted: DataView): void =>
      quoted.setUint8(at, quoted.getUint8(at) ^ 1)
  const forged: readonly (readonly [string, Report])[] = [
    ['another outer source', { forge: flip(to === 4 ? 15 : 23) }],
    ['another outer destination', { forge: flip(to === 4 ? 19 : 39) }],
    ['another outer protocol', { forge: (quoted) => quoted.setUint8(to === 4 ? 9 : 6, forwarding === 'gue' ? 4 : 17) }],
    ['another client', { forge: flip(inner + (family === 4 ? 15 : 23)) }],
    ['another VIP', { forge: flip(inner + (family === 4 ? 19 : 39)) }],
    ['another port of the client', { forge: flip(transport + 1) }],
    ['another port of the VIP', { forge: flip(transport + 3) }],
    ...(forwarding === 'gue'
      ? ([
          ['another source port of GUE', { forge: flip(outerHeader + 1) }],
          ['another port of GUE', { forge: flip(outerHeader + 3) }],
        ] as const)
      : []),
    ['a packet that fits', { mtu: 1400, forge: (quoted) => quoted.setUint16(to === 4 ? 2 : 4, 1300) }],
    ['too few bytes', { quote: transport + 7 }],
    ['an unreachable host', { kind: to === 4 ? [3, 1] : [1, 3] }],
    ...(to === 4 ? ([['no MTU', { mtu: 0 }]] as const) : []),
  ]

  test('a report about a packet that is not ours, or of something else, is not used', async () => {
    for (const [name, report] of forged) {
      const frame = reportOf(output, report)
      expect({ name, reason: (await ask(frame)).reason }).toEqual({ name, reason: 'default-pass' })
      await send(frame)
    }
    expect((await ask(large)).reason).toBe('balanced-away')
    const [bytes] = (await plane.valuesAt('path_mtus', [0])) as [Uint8Array]
    expect([...bytes]).toEqual([...new Uint8Array(bytes.length)])
  })

  test('the shortest quote that identifies the flow is enough', async () => {
    await send(reportOf(output, { quote: transport + 8 }))
    expect((await ask(large)).reason).toBe('too-big')
  })
})

test('an MTU that is not below that of the next hop changes nothing', async () => {
  const nextHop: NextHop = { ...EGRESS, mtu: 1300 }
  const state = balancing([
    service('web', `${VIP[4]} 80`, {
      forwarding: 'ipip',
      repliesFrom: 'anywhere',
      backends: [backend(BACKEND[4], { nextHop })],
    }),
  ])
  plane.forget()
  await plane.loadState(state)
  const [output] = (await send(segment(4, 1200))) as [Uint8Array]
  await send(reportOf(output, { mtu: 1300, forge: (quoted) => quoted.setUint16(2, 1400) }))
  const [bytes] = (await plane.valuesAt('path_mtus', [0])) as [Uint8Array]
  expect([...bytes]).toEqual([...new Uint8Array(bytes.length)])
})

// Full NAT: ports of a source pool, bound to flows by traffic, and the answers to them.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import {
  attachmentCodec,
  INTERFACE_FLAG,
  LINE_SIZE,
  SNAT_FIRST_PORT,
  SNAT_PORTS,
  SNAT_PROBES,
  SNAT_STATE,
  serviceCounterCodec,
  snatPortCodec,
  TICK_SHIFT,
} from '../../src/abi/generated.ts'
import type { NextHop, Service } from '../../src/model/service.ts'
import { DataPlane, type Outcome, TEST_IFINDEX } from '../support/bpf.ts'
import { seal, wrongChecksums } from '../support/checksums.ts'
import { addressesOf, linkTo, networkPlace, tooBig, translated, translatedError } from '../support/forwarding.ts'
import {
  ACK,
  ethernet,
  FIN,
  icmp,
  icmpv6,
  ipv4,
  ipv6,
  type Layer,
  packet,
  RST,
  raw,
  SYN,
  tcp,
  udp,
  vlan,
} from '../support/packets.ts'
import { address, backend, balancing, EGRESS, service } from '../support/services.ts'

const SLOT = 3
const VIP = { 4: '192.0.2.10', 6: '2001:db8:f::10' } as const
const BACKEND = { 4: '10.0.0.11', 6: 'fd00::11' } as const
const POOL = { 4: ['10.0.9.1', '10.0.9.2'], 6: ['fd00:9::1', 'fd00:9::2'] } as const
const CLIENT = { 4: '198.51.100.7', 6: '2001:db8::7' } as const
type Family = 4 | 6

/** Test runs arrive on another interface than the one to the backends. */
const services = (family: Family, repliesFrom: Service['repliesFrom'] = 'anywhere'): Service[] => [
  service('web', `${VIP[family]} 80`, { backends: [`${BACKEND[family]} 8080`], snatPool: POOL[family], repliesFrom }),
  service('dns', `${VIP[family]} 53`, {
    protocol: 'udp',
    backends: [BACKEND[family]],
    snatPool: POOL[family],
    repliesFrom,
  }),
]

let plane: DataPlane
beforeAll(async () => {
  plane = await DataPlane.open()
})
afterAll(() => plane.close())

interface Header {
  readonly from?: string
  readonly ttl?: number
  readonly df?: boolean
}

const ip = (family: Family, to: string, { from = CLIENT[family], ttl = 64, df = false }: Header = {}): Layer =>
  family === 4
    ? ipv4({ source: from, destination: to, ttl, dontFragment: df })
    : ipv6({ source: from, destination: to, hopLimit: ttl })
const sealed = (...layers: readonly Layer[]): Uint8Array => seal(packet(ethernet(), ...layers))

const segment = (family: Family, port: number, flags: number, from = CLIENT[family]): Uint8Array =>
  sealed(ip(family, VIP[family], { from }), tcp({ source: port, destination: 80, flags }), raw(5))
const datagram = (family: Family, port: number): Uint8Array =>
  sealed(ip(family, VIP[family]), udp({ source: port, destination: 53 }), raw(5))

/** Runs frames as real traffic. */
async function send(...frames: readonly Uint8Array[]): Promise<Outcome[]> {
  await plane.attachTestRuns(SLOT)
  const outcomes = await plane.run(
    frames.map((frame) => ({ frame })),
    'filter',
  )
  await plane.attachTestRuns(0)
  return outcomes
}

/** The source address and port that a packet left with. */
function boundOf({ output }: Outcome): { readonly address: string; readonly port: number } {
  const place = networkPlace(output)
  const port = new DataView(output.buffer, output.byteOffset).getUint16(place.transport)
  const { source } = addressesOf(output, place)
  return { address: source.words.join(), port }
}

/** The backend's answer to an outgoing packet. */
function answerTo(
  { output }: Outcome,
  layer: (ports: { source: number; destination: number }) => Layer,
  header: Header = {},
) {
  const place = networkPlace(output)
  const view = new DataView(output.buffer, output.byteOffset)
  const ports = { source: view.getUint16(place.transport + 2), destination: view.getUint16(place.transport) }
  return sealed(ip(place.family, textOf(output), { from: BACKEND[place.family], ...header }), layer(ports), raw(7))
}

/** The source of a packet, an address of a pool. */
function textOf(output: Uint8Array): string {
  const place = networkPlace(output)
  const { source } = addressesOf(output, place)
  const found = POOL[place.family].find((text) => address(text).words.join() === source.words.join())
  if (!found) throw new Error('not of the pool')
  return found
}

const line = (pool: number, isUdp: boolean, port: number): number => (pool * 2 + (isUdp ? 1 : 0)) * SNAT_PORTS + port

async function readPort(key: number) {
  const [bytes] = await plane.valuesAt('snat_ports', [key])
  return snatPortCodec.decode(new DataView((bytes as Uint8Array).buffer))
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
const tick = (): number => Number(process.hrtime.bigint() >> BigInt(TICK_SHIFT))

/** Next hop back to the client: the MACs of ethernet(), exchanged. */
const BACK: NextHop = { ...EGRESS, mac: '020000000001', sourceMac: '020000000000' }

describe.each([4, 6] as const)('IPv%i', (family) => {
  test('takes answers only from the interface that the route to the backend leads to', async () => {
    plane.forget()
    await plane.loadState(balancing(services(family, 'route')))
    const frame = datagram(family, 40000)
    const [sent] = (await send(frame)) as [Outcome]
    const answer = answerTo(sent, udp)
    const reasonOf = async (ifindex: number, one: Uint8Array): Promise<unknown> =>
      (await plane.run([{ frame: one, arrival: { ifindex, slot: 0, flags: 0 } }]))[0]?.explanation?.reason
    expect(await reasonOf(TEST_IFINDEX, answer)).toBe('default-pass')
    expect(await reasonOf(EGRESS.ifindex, answer)).toBe('reply-away')
    const quoted = sent.output.subarray(14)
    const error = sealed(
      ip(family, textOf(sent.output), { from: CLIENT[family] }),
      family === 4 ? icmp(3, 3) : icmpv6(1, 4),
      raw(quoted),
    )
    expect(await reasonOf(TEST_IFINDEX, error)).toBe('default-pass')
    expect(await reasonOf(EGRESS.ifindex, error)).toBe('reply-away')
  })

  beforeEach(async () => {
    plane.forget()
    await plane.loadState(balancing(services(family)))
  })

  test.each([
    ['TCP', segment(family, 40000, SYN), { source: VIP[family], sourcePort: 80 }],
    ['UDP', datagram(family, 40000), { source: VIP[family], sourcePort: 53 }],
  ] as const)('%s leaves from the pool, and the answer reaches its client', async (protocol, frame, seen) => {
    const [outcome] = (await send(frame)) as [Outcome]
    expect(outcome.verdict).toBe('redirect')
    const bound = boundOf(outcome)
    expect(bound.port).toBeGreaterThanOrEqual(SNAT_FIRST_PORT)
    const expected = translated(frame, linkTo(EGRESS, family), {
      source: address(textOf(outcome.output)),
      sourcePort: bound.port,
      destination: address(BACKEND[family]),
      destinationPort: protocol === 'TCP' ? 8080 : undefined,
    })
    expect(hex(outcome.output)).toBe(hex(expected))
    expect(wrongChecksums(outcome.output)).toEqual([])
    const answer = answerTo(outcome, (ports) => (protocol === 'TCP' ? tcp({ ...ports, flags: SYN | ACK }) : udp(ports)))
    const [back] = (await send(answer)) as [Outcome]
    expect(back.verdict).toBe('tx')
    const wanted = translated(answer, linkTo(BACK, family), {
      source: address(seen.source),
      sourcePort: seen.sourcePort,
      destination: address(CLIENT[family]),
      destinationPort: 40000,
    })
    expect(hex(back.output)).toBe(hex(wanted))
    expect(wrongChecksums(back.output)).toEqual([])
  })

  test('a flow keeps its port, and no two flows share one', async () => {
    const ports = Array.from({ length: 400 }, (_, i) => 10000 + i)
    const first = await send(...ports.map((port) => segment(family, port, SYN)))
    const bound = first.map((outcome) => Object.values(boundOf(outcome)).join())
    expect(new Set(bound).size).toBe(ports.length)
    const second = await send(...ports.map((port) => segment(family, port, ACK)))
    expect(second.map((outcome) => Object.values(boundOf(outcome)).join())).toEqual(bound)
    expect(new Set(first.map(({ output }) => textOf(output)))).toEqual(new Set(POOL[family]))
  })

  test('ignores answers from another host, to another port or of another protocol', async () => {
    const [outcome] = (await send(segment(family, 40000, SYN))) as [Outcome]
    const pool = textOf(outcome.output)
    const { port } = boundOf(outcome)
    const other = family === 4 ? '10.0.0.12' : 'fd00::12'
    const own = { source: 8080, destination: port }
    const frames = [
      sealed(ip(family, pool, { from: other }), tcp(own)),
      sealed(ip(family, pool, { from: BACKEND[family] }), tcp({ ...own, source: 8081 })),
      sealed(ip(family, pool, { from: BACKEND[family] }), tcp({ ...own, destination: port ^ 1 })),
      sealed(ip(family, pool, { from: BACKEND[family] }), udp(own)),
      sealed(ip(family, pool, { from: BACKEND[family] }), family === 4 ? icmp(8) : icmpv6(128)),
    ]
    for (const { verdict, output } of await send(...frames)) {
      expect(verdict).toBe('pass')
      expect(frames.map(hex)).toContain(hex(output))
    }
  })

  test('leaves an answer with an expiring TTL to the stack', async () => {
    const [outcome] = (await send(segment(family, 40000, SYN))) as [Outcome]
    const answer = answerTo(outcome, (ports) => tcp(ports), { ttl: 1 })
    expect((await send(answer)).map(({ verdict }) => verdict)).toEqual(['pass'])
  })

  test('translates errors and their quoted packets in both directions', async () => {
    const [outcome] = (await send(datagram(family, 40000))) as [Outcome]
    const pool = textOf(outcome.output)
    const { port } = boundOf(outcome)
    const unreachable = family === 4 ? icmp(3, 3) : icmpv6(1, 4)
    // An error of the backend: it has no such port.
    const asked = outcome.output.subarray(networkPlace(outcome.output).at)
    const refusal = sealed(ip(family, pool, { from: BACKEND[family] }), unreachable, raw(asked))
    const [refused] = (await send(refusal)) as [Outcome]
    expect(hex(refused.output)).toBe(
      hex(
        translatedError(
          refusal,
          linkTo(BACK, family),
          { source: address(VIP[family]), destination: address(CLIENT[family]) },
          {
            source: address(CLIENT[family]),
            sourcePort: 40000,
            destination: address(VIP[family]),
            destinationPort: 53,
          },
        ),
      ),
    )
    expect(refused.verdict).toBe('tx')
    expect(wrongChecksums(refused.output)).toEqual([])
    // An error of a router near the client: the answer was too big.
    const said = sealed(
      ip(family, CLIENT[family], { from: VIP[family] }),
      udp({ source: 53, destination: 40000 }),
      raw(30),
    )
    const router = family === 4 ? '198.51.100.1' : '2001:db8::1'
    const complaint = sealed(ip(family, VIP[family], { from: router }), unreachable, raw(said.subarray(14)))
    const [complained] = (await send(complaint)) as [Outcome]
    expect(hex(complained.output)).toBe(
      hex(
        translatedError(
          complaint,
          linkTo(EGRESS, family),
          { destination: address(BACKEND[family]) },
          { source: address(BACKEND[family]), destination: address(pool), destinationPort: port },
        ),
      ),
    )
    expect(wrongChecksums(complained.output)).toEqual([])
    // An error about a flow that does not exist.
    const stray = sealed(
      ip(family, CLIENT[family], { from: VIP[family] }),
      udp({ source: 53, destination: 1 }),
      raw(30),
    )
    const lost = sealed(ip(family, VIP[family], { from: router }), unreachable, raw(stray.subarray(14)))
    expect((await send(lost)).map(({ verdict }) => verdict)).toEqual(['pass'])
  })

  test('reports "packet too big" to the client for an oversized packet', async () => {
    const long = sealed(
      ip(family, VIP[family], { df: true }),
      tcp({ source: 1, destination: 80, flags: ACK }),
      raw(1600),
    )
    const [outcome] = (await send(long)) as [Outcome]
    expect(hex(outcome.output)).toBe(hex(tooBig(long, 1500)))
  })
})

describe('ports', () => {
  beforeEach(async () => {
    plane.forget()
    await plane.loadState(balancing(services(4)))
  })

  test('a line holds its owner and the next hop of answers', async () => {
    const frame = seal(packet(ethernet(), vlan(0x2007), ipv4({ destination: VIP[4] }), tcp({ destination: 80 })))
    const [outcome] = (await send(frame)) as [Outcome]
    const pool = (POOL[4] as readonly string[]).indexOf(textOf(outcome.output))
    const bound = await readPort(line(pool, false, boundOf(outcome).port))
    expect(bound).toMatchObject({ ready: 1, ifindex: TEST_IFINDEX, vlan: 7, state: SNAT_STATE.OPENING })
    expect(hex(bound.macs)).toBe('020000000001020000000000')
    const [back] = (await send(answerTo(outcome, (ports) => tcp({ ...ports, flags: SYN | ACK })))) as [Outcome]
    expect(hex(back.output.subarray(0, 18))).toBe('02000000000102000000000081000007' + '0800')
  })

  test('a packet on a member of a bond belongs to the bond', async () => {
    const bond = EGRESS.ifindex
    const record = new Uint8Array(attachmentCodec.size)
    attachmentCodec.encode({ name: 'bond0', ifindex: bond, mode: 1, since: 0n }, new DataView(record.buffer))
    await plane.setValue('attachments', SLOT, record)
    await plane.own(TEST_IFINDEX, SLOT, INTERFACE_FLAG.MEMBER)
    const [outcome] = (await plane.run([{ frame: segment(4, 9, SYN) }], 'filter')) as [Outcome]
    await plane.attachTestRuns(0)
    await plane.setValue('attachments', SLOT, new Uint8Array(attachmentCodec.size))
    // The backend is behind the bond too: back through it, which is no redirection to the device that received.
    expect(outcome.verdict).toBe('tx')
    const pool = (POOL[4] as readonly string[]).indexOf(textOf(outcome.output))
    expect(await readPort(line(pool, false, boundOf(outcome).port))).toMatchObject({ ready: 1, ifindex: bond })
  })

  test.each([
    ['the client closes it', [segment(4, 9, FIN | ACK)], SNAT_STATE.CLOSING],
    ['the client resets it', [segment(4, 9, RST)], SNAT_STATE.CLOSING],
    ['no answer', [segment(4, 9, ACK)], SNAT_STATE.OPENING],
    ['it starts again', [segment(4, 9, FIN | ACK), segment(4, 9, SYN)], SNAT_STATE.OPENING],
  ])('state of a flow: %s', async (_, frames, state) => {
    const [outcome] = (await send(segment(4, 9, SYN))) as [Outcome]
    await send(...frames)
    const pool = (POOL[4] as readonly string[]).indexOf(textOf(outcome.output))
    expect((await readPort(line(pool, false, boundOf(outcome).port))).state).toBe(state)
  })

  test.each([
    ['answered', SYN | ACK, SNAT_STATE.OPEN],
    ['refused', RST | ACK, SNAT_STATE.CLOSING],
    ['ended by the backend', FIN | ACK, SNAT_STATE.CLOSING],
  ])('state of a flow: %s', async (_, flags, state) => {
    const [outcome] = (await send(segment(4, 9, SYN))) as [Outcome]
    await send(answerTo(outcome, (ports) => tcp({ ...ports, flags })))
    const pool = (POOL[4] as readonly string[]).indexOf(textOf(outcome.output))
    expect((await readPort(line(pool, false, boundOf(outcome).port))).state).toBe(state)
  })

  test('counts ports until they are free again', async () => {
    expect(await plane.count('port_count')).toBe(0)
    const [opened] = (await send(segment(4, 9, SYN), segment(4, 10, SYN), datagram(4, 9))) as [Outcome, ...Outcome[]]
    expect(await plane.count('port_count')).toBe(3)
    const pool = (POOL[4] as readonly string[]).indexOf(textOf(opened.output))
    const key = line(pool, false, boundOf(opened).port)
    const age = async (passed: number): Promise<void> => {
      const port = await readPort(key)
      const bytes = new Uint8Array(LINE_SIZE)
      snatPortCodec.encode({ ...port, seen: tick() - Math.ceil(passed / 1.07) }, new DataView(bytes.buffer))
      await plane.setValue('snat_ports', key, bytes)
    }
    await age(230)
    expect(await plane.count('port_count')).toBe(3)
    await age(250)
    expect(await plane.count('port_count')).toBe(2)
  })

  test('test runs bind no port and show the one that a flow would get', async () => {
    const [probe] = await plane.run([{ frame: segment(4, 9, SYN) }], 'filter')
    const [again] = await plane.run([{ frame: segment(4, 10, SYN) }, { frame: segment(4, 9, SYN) }].slice(1), 'filter')
    expect(boundOf(probe as Outcome)).toEqual(boundOf(again as Outcome))
    const pool = (POOL[4] as readonly string[]).indexOf(textOf((probe as Outcome).output))
    expect((await readPort(line(pool, false, boundOf(probe as Outcome).port))).owner).toBe(0n)
    const [real] = (await send(segment(4, 9, SYN))) as [Outcome]
    expect(boundOf(real)).toEqual(boundOf(probe as Outcome))
  })

  test('does not take packets behind two tags, because their answer could not return', async () => {
    const frame = seal(packet(ethernet(), vlan(1), vlan(2), ipv4({ destination: VIP[4] }), tcp({ destination: 80 })))
    const [outcome] = await plane.run([{ frame }])
    expect(outcome?.explanation?.reason).toBe('unsupported')
  })
})

describe('an exhausted pool', () => {
  /** The candidate lines of a flow: found by occupying the line that it gets each time. */
  async function candidates(frame: Uint8Array): Promise<number[]> {
    const found: number[] = []
    for (let probe = 0; probe < SNAT_PROBES; probe++) {
      const [outcome] = await plane.run([{ frame }], 'filter')
      if (outcome?.verdict !== 'redirect') break
      const key = line(0, false, boundOf(outcome).port)
      found.push(key)
      await occupy(key, tick())
    }
    return found
  }

  /** Binds the line to another flow, with its last packet at tick `seen`. */
  async function occupy(key: number, seen: number, state: number = SNAT_STATE.OPEN): Promise<void> {
    const bytes = new Uint8Array(LINE_SIZE)
    snatPortCodec.encode(
      {
        owner: 1n,
        seen: seen >>> 0,
        ready: 1,
        client: new Uint8Array(16),
        macs: new Uint8Array(12),
        ifindex: 1,
        client_port: 1,
        backend: 0,
        vlan: 0,
        state,
      },
      new DataView(bytes.buffer),
    )
    await plane.setValue('snat_ports', key, bytes)
  }

  const only = service('web', `${VIP[4]} 80`, { backends: [backend(BACKEND[4])], snatPool: ['10.0.9.1'] })

  test('a flow tries all of its candidate ports, and is dropped and counted if none is free', async () => {
    plane.forget()
    await plane.loadState(balancing([only]))
    const frame = segment(4, 77, SYN)
    const keys = await candidates(frame)
    expect(new Set(keys).size).toBe(SNAT_PROBES)
    const [explained] = await plane.run([{ frame }])
    expect(explained?.explanation?.reason).toBe('exhausted')
    expect((await send(frame)).map(({ verdict }) => verdict)).toEqual(['drop'])
    expect(await plane.sums('service_stats', 0, serviceCounterCodec)).toMatchObject({ exhausted: 1, packets: 0 })
    // One of them was idle longer than an established flow may be: RFC 5382 §5.
    const [, , third] = keys as [number, number, number]
    await occupy(third, tick() - Math.ceil(7440 / 1.07) + 60)
    expect((await send(frame)).map(({ verdict }) => verdict)).toEqual(['drop'])
    await occupy(third, tick() - Math.ceil(7440 / 1.07) - 60)
    const [taken] = (await send(frame)) as [Outcome]
    expect(line(0, false, boundOf(taken).port)).toBe(third)
    expect((await readPort(third)).owner).not.toBe(1n)
    // Others were idle longer than a flow that never opened may be.
    const [fourth] = keys.slice(3) as [number]
    await occupy(third, tick())
    await occupy(fourth, tick() - Math.ceil(240 / 1.07) - 5, SNAT_STATE.OPENING)
    const [next] = (await send(frame)) as [Outcome]
    expect(line(0, false, boundOf(next).port)).toBe(fourth)
  })
})

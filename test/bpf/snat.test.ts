// Full NAT: ports of a source pool, bound to flows by traffic, and the answers to them.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import {
  attachmentCodec,
  INTERFACE_FLAG,
  LINE_SIZE,
  SNAT_FIRST_PORT,
  SNAT_PORTS,
  SNAT_PROBES,
  SNAT_SOURCE_LIMIT,
  SNAT_STATE,
  type SnatPort,
  serviceCounterCodec,
  snatPortCodec,
  TICK_SHIFT,
} from '../../src/abi/generated.ts'
import type { NextHop, Service } from '../../src/model/service.ts'
import { DataPlane, type Outcome, TEST_IFINDEX } from '../support/bpf.ts'
import { seal, wrongChecksums } from '../support/checksums.ts'
import { sample } from '../support/depth.ts'
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

const segment = (family: Family, port: number, flags: number, from: string = CLIENT[family]): Uint8Array =>
  sealed(ip(family, VIP[family], { from }), tcp({ source: port, destination: 80, flags }), raw(5))
const datagram = (family: Family, port: number): Uint8Array =>
  sealed(ip(family, VIP[family]), udp({ source: port, destination: 53 }), raw(5))

/** Runs frames as real traffic. */
const send = (...frames: readonly Uint8Array[]): Promise<Outcome[]> => plane.send(SLOT, frames)

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

describe.each(sample([4, 6] as const, 2))('IPv%i', (family) => {
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
      tcp({ source: 1, destination: 80, flags: SYN }),
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

  /** The sequence number of a SYN and of its SYN-ACK. */
  const [ASKED, ANSWERED] = [1000, 500_000] as const
  const fromClient = (flags: number, fields: { sequence?: number; acknowledged?: number } = {}): Uint8Array =>
    sealed(ip(4, VIP[4]), tcp({ source: 9, destination: 80, flags, sequence: ASKED, ...fields }))
  const synAck = (outcome: Outcome, acknowledged: number = ASKED + 1): Uint8Array =>
    answerTo(outcome, (ports) => tcp({ ...ports, flags: SYN | ACK, sequence: ANSWERED, acknowledged }))
  const bindingOf = (outcome: Outcome, isUdp = false): Promise<SnatPort> =>
    readPort(line((POOL[4] as readonly string[]).indexOf(textOf(outcome.output)), isUdp, boundOf(outcome).port))
  /** The frame, from the router with this MAC address. */
  const behind = (router: number, frame: Uint8Array): Uint8Array => {
    const copy = frame.slice()
    copy[11] = router
    return copy
  }
  const opened = async (): Promise<Outcome> => {
    const [outcome] = (await send(fromClient(SYN))) as [Outcome]
    await send(synAck(outcome), fromClient(ACK, { sequence: ASKED + 1, acknowledged: ANSWERED + 1 }))
    expect((await bindingOf(outcome)).state).toBe(SNAT_STATE.OPEN)
    return outcome
  }

  test.each([
    ['no packet follows', [], SNAT_STATE.OPENING],
    ['an ACK without an answer', [fromClient(ACK, { acknowledged: ANSWERED + 1 })], SNAT_STATE.OPENING],
    ['the client resets it', [fromClient(RST)], SNAT_STATE.OPENING],
    ['the client closes it', [fromClient(FIN | ACK)], SNAT_STATE.OPENING],
  ])('a TCP flow is half-open: %s', async (_, frames, state) => {
    const [outcome] = (await send(fromClient(SYN))) as [Outcome]
    await send(...frames)
    expect((await bindingOf(outcome)).state).toBe(state)
  })

  test.each([
    ['the answer alone', [], SNAT_STATE.ANSWERED],
    ['an ACK of another number', [fromClient(ACK, { acknowledged: ANSWERED })], SNAT_STATE.ANSWERED],
    ['an ACK far beyond', [fromClient(ACK, { acknowledged: ANSWERED + 100_000 })], SNAT_STATE.ANSWERED],
    ['RST with the right number', [fromClient(RST | ACK, { acknowledged: ANSWERED + 1 })], SNAT_STATE.ANSWERED],
    ['a repeated SYN', [fromClient(SYN)], SNAT_STATE.ANSWERED],
    ['another SYN', [fromClient(SYN, { sequence: 7 })], SNAT_STATE.OPENING],
    ['the client acknowledges it', [fromClient(ACK, { acknowledged: ANSWERED + 1 })], SNAT_STATE.OPEN],
    ['it acknowledges data behind it too', [fromClient(ACK, { acknowledged: ANSWERED + 9000 })], SNAT_STATE.OPEN],
    ['it acknowledges and closes', [fromClient(FIN | ACK, { acknowledged: ANSWERED + 1 })], SNAT_STATE.CLOSING],
  ])('an answered TCP flow: %s', async (_, frames, state) => {
    const [outcome] = (await send(fromClient(SYN))) as [Outcome]
    await send(synAck(outcome), ...frames)
    expect((await bindingOf(outcome)).state).toBe(state)
  })

  test.each([
    ['a SYN-ACK of an earlier flow', SYN | ACK, 77, 0, SNAT_STATE.OPENING],
    ['RST', RST | ACK, ASKED + 1, 0, SNAT_STATE.OPENING],
    ['an ACK, as against forged packets', ACK, ASKED + 1, 0, SNAT_STATE.OPENING],
    ['data, which only a backend with the ACK of the client sends', ACK, ASKED + 1, 5, SNAT_STATE.OPEN],
    ['FIN', FIN | ACK, ASKED + 1, 0, SNAT_STATE.CLOSING],
  ])('the backend sends %s', async (_, flags, acknowledged, bytes, state) => {
    const [outcome] = (await send(fromClient(SYN))) as [Outcome]
    const place = networkPlace(outcome.output)
    const view = new DataView(outcome.output.buffer, outcome.output.byteOffset)
    const ports = { source: view.getUint16(place.transport + 2), destination: view.getUint16(place.transport) }
    const header = tcp({ ...ports, flags, acknowledged })
    await send(sealed(ip(4, textOf(outcome.output), { from: BACKEND[4] }), header, ...(bytes > 0 ? [raw(bytes)] : [])))
    expect((await bindingOf(outcome)).state).toBe(state)
  })

  test('a SYN leaves a flow alone that was open', async () => {
    const outcome = await opened()
    const forged = behind(0x66, sealed(ip(4, VIP[4]), tcp({ source: 9, destination: 80, flags: SYN })))
    for (const frames of [[], [fromClient(FIN | ACK)], [fromClient(RST)]]) {
      await send(...frames)
      const before = await bindingOf(outcome)
      const [sent] = (await send(forged)) as [Outcome]
      expect(boundOf(sent)).toEqual(boundOf(outcome))
      expect(await bindingOf(outcome)).toEqual(before)
    }
  })

  test('a closed flow starts again when its backend accepts the SYN', async () => {
    const outcome = await opened()
    await send(fromClient(FIN | ACK))
    expect((await bindingOf(outcome)).state).toBe(SNAT_STATE.CLOSING)
    await send(fromClient(SYN, { sequence: 9000 }), synAck(outcome, 9001))
    expect(await bindingOf(outcome)).toMatchObject({ state: SNAT_STATE.ANSWERED, asked: 9000, answered: ANSWERED })
    await send(fromClient(ACK, { sequence: 9001, acknowledged: ANSWERED + 1 }))
    expect((await bindingOf(outcome)).state).toBe(SNAT_STATE.OPEN)
  })

  test('only a SYN takes a port', async () => {
    const frames = [ACK, SYN | ACK, FIN | ACK, RST, 0].map((flags) => fromClient(flags))
    const explained = await plane.run(frames.map((frame) => ({ frame })))
    expect(explained.map(({ explanation }) => explanation?.reason)).toEqual(frames.map(() => 'no-flow'))
    expect((await send(...frames)).map(({ verdict }) => verdict)).toEqual(frames.map(() => 'drop'))
    expect(await plane.count('port_count')).toBe(0)
  })

  test('a UDP flow is open when its client sends after an answer', async () => {
    const [outcome] = (await send(datagram(4, 9), datagram(4, 9))) as [Outcome]
    expect((await bindingOf(outcome, true)).state).toBe(SNAT_STATE.OPENING)
    await send(answerTo(outcome, (ports) => udp(ports)))
    expect((await bindingOf(outcome, true)).state).toBe(SNAT_STATE.ANSWERED)
    await send(datagram(4, 9))
    expect((await bindingOf(outcome, true)).state).toBe(SNAT_STATE.OPEN)
  })

  test('answers follow the path of the last packet of the client', async () => {
    const outcome = await opened()
    const moved = tcp({ source: 9, destination: 80, flags: ACK, acknowledged: ANSWERED + 1 })
    await send(behind(0x77, sealed(vlan(0x2007), ip(4, VIP[4]), moved)))
    const [back] = (await send(answerTo(outcome, (ports) => tcp({ ...ports, flags: ACK })))) as [Outcome]
    expect(hex(back.output.subarray(0, 18))).toBe('020000000077020000000000810000070800')
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
    await age(25)
    expect(await plane.count('port_count')).toBe(3)
    await age(35)
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
        fraction: 0,
        asked: 0,
        answered: 0,
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
    // A half-open flow gives way, the oldest first; a closing one does not.
    await occupy(third, tick())
    const [fourth, fifth, sixth] = keys.slice(3) as [number, number, number]
    await occupy(fourth, tick() - 60, SNAT_STATE.CLOSING)
    await occupy(fifth, tick() - 2, SNAT_STATE.OPENING)
    await occupy(sixth, tick() - 5, SNAT_STATE.ANSWERED)
    const [next] = (await send(frame)) as [Outcome]
    expect(line(0, false, boundOf(next).port)).toBe(sixth)
  })
})

describe('a pool that gets more addresses', () => {
  const pool = Array.from({ length: 8 }, (_, i) => `10.0.9.${i + 1}`)
  const web = (count: number): Service =>
    service('web', `${VIP[4]} 80`, { backends: [backend(BACKEND[4])], snatPool: pool.slice(0, count) })
  /** Has all addresses, so that the map of ports has its size from the start. */
  const other = service('other', `${VIP[4]} 81`, { backends: [backend('10.0.0.12')], snatPool: pool })
  const bound = async (count: number, flags: number): Promise<string[]> => {
    const frames = Array.from({ length: count }, (_, i) => segment(4, 10_000 + i, flags))
    return (await send(...frames)).map((outcome) => Object.values(boundOf(outcome)).join())
  }

  test('keeps the ports of all flows, and gives new flows ports of every address', async () => {
    plane.forget()
    await plane.loadState(balancing([web(1), other]))
    const before = await bound(300, SYN)
    for (const count of [2, 3, 8]) {
      await plane.loadState(balancing([web(count), other]))
      expect(await bound(300, ACK)).toEqual(before)
    }
    const after = await send(...Array.from({ length: 400 }, (_, i) => segment(4, 20_000 + i, SYN)))
    expect(new Set(after.map(({ output }) => addressesOf(output, networkPlace(output)).source.words.join())).size).toBe(
      8,
    )
  })

  test('takes no port that sockets of this host use', async () => {
    plane.forget()
    const own = { ...address('10.0.9.1'), hostPorts: { first: 32_768, last: 60_999 } }
    const FLOWS = 2000
    await plane.loadState(balancing([{ ...web(1), snatPool: [own] }]))
    const taken = await send(...Array.from({ length: FLOWS }, (_, i) => segment(4, 10_000 + i, SYN)))
    expect(taken.filter(({ verdict }) => verdict !== 'redirect')).toEqual([])
    const ports = taken.map((outcome) => boundOf(outcome).port)
    expect(ports.filter((port) => port >= 32_768 && port <= 60_999)).toEqual([])
    const again = await send(...Array.from({ length: FLOWS }, (_, i) => segment(4, 10_000 + i, ACK)))
    expect(again.map((outcome) => boundOf(outcome).port)).toEqual(ports)
  })
})

test('a source prefix has at most half of the ports half-open, and others are not affected', async () => {
  plane.forget()
  const only = service('web', `${VIP[4]} 80`, { backends: [backend(BACKEND[4])], snatPool: ['10.0.9.1'] })
  await plane.loadState(balancing([only]))
  const flood = Array.from({ length: 40_000 }, (_, i) => segment(4, 1024 + (i % 60_000), SYN, `203.0.113.${i % 200}`))
  for (let at = 0; at < flood.length; at += 2000) await send(...flood.slice(at, at + 2000))
  const held = await plane.count('port_count')
  expect(held).toBeLessThanOrEqual(SNAT_SOURCE_LIMIT)
  expect(held).toBeGreaterThan(SNAT_SOURCE_LIMIT * 0.95)
  // More of the prefix take the place of others of it.
  const more = await send(...Array.from({ length: 200 }, (_, i) => segment(4, 1024 + i, SYN, '203.0.113.222')))
  expect(more.filter(({ verdict }) => verdict === 'redirect').length).toBeGreaterThanOrEqual(198)
  expect(await plane.count('port_count')).toBeLessThanOrEqual(SNAT_SOURCE_LIMIT)
  const others = await send(...Array.from({ length: 200 }, (_, i) => segment(4, 1024 + i, SYN)))
  expect(others.filter(({ verdict }) => verdict !== 'redirect')).toEqual([])
})

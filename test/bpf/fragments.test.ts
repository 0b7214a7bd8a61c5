// Fragments of datagrams to and from services: sequences of packets received on an attached interface. A later fragment
// goes where its first one went; one without a first is dropped.

import { rmSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { anything } from '../../src/abi/answer.ts'
import {
  FRAGMENT_LIFETIME,
  FRAGMENT_LINES,
  FRAGMENT_SEEN,
  FRAGMENT_SHIFT,
  FRAGMENT_STAY,
  FRAGMENT_UDP,
  FRAGMENTS_A_LINE,
  serviceCounterCodec,
} from '../../src/abi/generated.ts'
import { FORWARDING_MODES, FORWARDINGS } from '../../src/features/forwarding/forwarding.ts'
import { encodeStack, stackRecord } from '../../src/kernel/observe/records.ts'
import { askBpftool, runBpftool } from '../../src/kernel/tools/bpftool.ts'
import type { PortRange, TransportProtocol } from '../../src/model/ports.ts'
import type { Service } from '../../src/model/service.ts'
import type { State } from '../../src/model/state.ts'
import { formatAddress } from '../../src/model/text.ts'
import type { Transit } from '../../src/semantics/balance.ts'
import { type Judged, judge } from '../../src/semantics/judge.ts'
import { sipHash } from '../../src/semantics/sip-hash.ts'
import { DataPlane, type Outcome } from '../support/bpf.ts'
import { seal, wrongChecksums } from '../support/checksums.ts'
import { SEED, sample, usually } from '../support/depth.ts'
import { addressesOf, networkPlace, outcomeOf } from '../support/forwarding.ts'
import { factsOf } from '../support/model.ts'
import { buildObject } from '../support/objects.ts'
import {
  destinationOptions,
  ethernet,
  fragment,
  hopByHop,
  icmp,
  ipv4,
  ipv6,
  type Layer,
  packet,
  raw,
  tcp,
  udp,
} from '../support/packets.ts'
import { address, arbitraryServices, balancing, service } from '../support/services.ts'

type Family = 4 | 6
const FAMILIES = [4, 6] as const
const SLOT = 3
const VIP = { 4: '192.0.2.10', 6: '2001:db8:f::10' } as const
const CLIENT = { 4: '198.51.100.7', 6: '2001:db8::7' } as const
const OTHER = { 4: '198.51.100.8', 6: '2001:db8::8' } as const
const BACKENDS = { 4: ['10.0.0.11', '10.0.0.12', '10.0.0.13'], 6: ['fd00::11', 'fd00::12', 'fd00::13'] } as const
const POOL = { 4: '10.0.9.1', 6: 'fd00:9::1' } as const
const NUMBERS = { tcp: 6, udp: 17 } as const

let plane: DataPlane
beforeAll(async () => {
  plane = await DataPlane.open()
})
afterAll(() => plane.close())

/** Loads a state with new maps. */
async function loadAlone(state: State): Promise<void> {
  plane.forget()
  await plane.loadState(state)
}

/** An identification that no test before used. */
let fresh = 0
beforeEach(() => {
  fresh += 2
})

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

interface Piece {
  readonly family: Family
  readonly from?: string
  readonly to?: string
  readonly protocol?: keyof typeof NUMBERS
  readonly ports?: { readonly source: number; readonly destination: number }
  readonly identification?: number
  /** In units of 8 bytes. */
  readonly offset?: number
  readonly more?: boolean
  readonly size?: number
  /** The protocol that an IPv6 fragment header names. */
  readonly next?: number
  /** Headers behind the fragment header of IPv6. */
  readonly behind?: readonly Layer[]
}

/** A fragment; by default the first one of a datagram to the DNS service. */
function piece({
  family,
  from = CLIENT[family],
  to = VIP[family],
  protocol = 'udp',
  ports = { source: 40000, destination: 53 },
  identification = fresh,
  offset = 0,
  more = true,
  size = 40,
  next = NUMBERS[protocol],
  behind = [],
}: Piece): Uint8Array {
  const transport = protocol === 'tcp' ? tcp(ports) : udp(ports)
  const body = offset === 0 ? [...behind, transport, raw(size)] : [raw(Uint8Array.from({ length: size }, (_, i) => i))]
  const later = offset === 0 ? {} : { protocol: NUMBERS[protocol], next }
  const headers =
    family === 4
      ? [ipv4({ source: from, destination: to, identification, offset, more, ...later })]
      : [ipv6({ source: from, destination: to }), hopByHop(), fragment({ identification, offset, more, ...later })]
  return seal(packet(ethernet(), ...headers, ...body), { keepZero: true })
}

const middle = (fields: Piece): Uint8Array => piece({ offset: 6, ...fields })
const last = (fields: Piece): Uint8Array => piece({ offset: 11, more: false, size: 5, ...fields })

/** Sends frames as real traffic, in their order. */
const send = (...frames: readonly Uint8Array[]): Promise<Outcome[]> => plane.send(SLOT, frames)

/** The reasons that test runs get. */
const ask = async (...frames: readonly Uint8Array[]): Promise<(string | undefined)[]> =>
  (await plane.run(frames.map((frame) => ({ frame })))).map(({ explanation }) => explanation?.reason)

/** The model's decision on a frame, given the first fragment of its datagram. */
function expected(state: State, frame: Uint8Array, first: Transit['first']): Judged {
  const facts = factsOf(frame)
  if (facts.kind !== 'ip' || !facts.transit) throw new Error('not a packet for the balancer')
  return judge(state, { ...facts, transit: { ...facts.transit, first } })
}

/** Identifies the datagram of a fragment, as a receiver does. */
function datagramOf(frame: Uint8Array): string {
  const place = networkPlace(frame)
  const { source, destination } = addressesOf(frame, place)
  const view = new DataView(frame.buffer, frame.byteOffset)
  const own =
    place.family === 4
      ? `${view.getUint16(place.at + 4)} ${place.protocol}`
      : `${view.getUint32(place.at + 40 + 8 + 4)}`
  return `${source.words.join()} ${destination.words.join()} ${own}`
}

/** The outcomes of program and model for a sequence of frames. Only first fragments to VIPs are remembered. */
async function compare(state: State, frames: readonly Uint8Array[]): Promise<readonly Judged[]> {
  const outcomes = await send(...frames)
  const firsts = new Map<string, Transit['first']>()
  return frames.map((frame, i) => {
    const facts = factsOf(frame)
    const { ports, protocol } = facts as { ports?: { source: number; destination: number }; protocol?: number }
    const key = datagramOf(frame)
    if (ports) firsts.set(key, { ports, protocol: protocol as number })
    const first = networkPlace(frame).isLater ? firsts.get(key) : undefined
    const judged = expected(state, frame, first)
    const { verdict, output } = outcomes[i] as Outcome
    expect({ i, verdict, output: hex(output) }).toEqual({
      i,
      verdict: judged.verdict,
      output: hex(outcomeOf(frame, judged, undefined, { first })),
    })
    return judged
  })
}

interface Entry {
  readonly line: number
  readonly place: number
  readonly check: bigint
  readonly facts: bigint
}

/** A bucket of the map. */
async function bucket(line: number): Promise<DataView> {
  const [bytes] = (await plane.valuesAt('fragments', [line])) as [Uint8Array]
  return new DataView(bytes.buffer)
}

async function entriesOf(line: number): Promise<Entry[]> {
  const view = await bucket(line)
  return Array.from({ length: FRAGMENTS_A_LINE }, (_, place) => ({
    line,
    place,
    check: view.getBigUint64(place * 16, true),
    facts: view.getBigUint64(place * 16 + 8, true),
  })).filter(({ check, facts }) => check !== 0n || facts !== 0n)
}

const writeBucket = (line: number, view: DataView): Promise<void> =>
  plane.setValue('fragments', line, new Uint8Array(view.buffer))

async function keyOf(): Promise<[bigint, bigint]> {
  const view = await bucket(FRAGMENT_LINES)
  return [view.getBigUint64(0, true), view.getBigUint64(8, true)]
}

/** The hash of an IPv4 datagram. */
async function hash4(from: string, to: string, identification: number, protocol: number): Promise<bigint> {
  const number = (text: string): bigint => 0xffff_0000_0000n | BigInt(address(text).words[0] as number)
  // The identification as it is in the packet, in the host's order.
  const swapped = ((identification & 255) << 8) | (identification >> 8)
  const words = [0n, number(from), 0n, number(to), (BigInt(protocol) << 32n) | BigInt(swapped)]
  return sipHash(words, await keyOf())
}

const lineOf = (hash: bigint): number => Number(hash & BigInt(FRAGMENT_LINES - 1))
const tick = (): bigint => (process.hrtime.bigint() >> BigInt(FRAGMENT_SHIFT)) & BigInt(FRAGMENT_SEEN)
const SECOND = Math.floor(1e9 / 2 ** FRAGMENT_SHIFT)

/** Moves the entries of a bucket into the past. */
async function ageBy(line: number, ticks: number): Promise<void> {
  const view = await bucket(line)
  for (let place = 0; place < FRAGMENTS_A_LINE; place++) {
    const [check, facts] = [view.getBigUint64(place * 16, true), view.getBigUint64(place * 16 + 8, true)]
    if (check === 0n) continue
    const older = (facts & ~BigInt(FRAGMENT_SEEN)) | ((tick() - BigInt(ticks)) & BigInt(FRAGMENT_SEEN))
    view.setBigUint64(place * 16, check ^ facts ^ older, true)
    view.setBigUint64(place * 16 + 8, older, true)
  }
  await writeBucket(line, view)
}

const services = (
  family: Family,
  fields: Pick<Partial<Service>, 'forwarding' | 'repliesFrom'> & { readonly snatPool?: readonly string[] },
  backends: readonly string[] = BACKENDS[family],
): Service[] => [
  service('dns', `${VIP[family]} 53`, { protocol: 'udp', repliesFrom: 'anywhere', ...fields, backends }),
  service('web', `${VIP[family]} 80`, { repliesFrom: 'anywhere', ...fields, backends }),
]

const MODES = FORWARDINGS.flatMap((forwarding) =>
  FAMILIES.flatMap((family) =>
    (FORWARDING_MODES[forwarding].crossesFamilies ? FAMILIES : [family]).map((to) => ({ forwarding, family, to })),
  ),
)

describe.each(sample(MODES, 3))('$forwarding, IPv$family to IPv$to', ({ forwarding, family, to }) => {
  const state = balancing(services(family, { forwarding }, BACKENDS[to]))
  beforeAll(() => loadAlone(state))

  test('later fragments of UDP go where the first one went', async () => {
    const ports = { source: 40001, destination: 53 }
    const frames = [piece({ family, ports }), middle({ family }), last({ family })]
    const judged = await compare(state, frames)
    expect(judged.map(({ reason }) => reason)).toEqual(['balanced-away', 'balanced-away', 'balanced-away'])
    expect(new Set(judged.map(({ balanced }) => balanced?.backend)).size).toBe(1)
    for (const { output } of await send(...frames)) expect(wrongChecksums(output)).toEqual([])
  })

  test('later fragments of TCP go where the first one went', async () => {
    const web = { family, protocol: 'tcp', ports: { source: 40001, destination: 80 } } as const
    const judged = await compare(state, [piece(web), middle(web), last(web)])
    expect(judged.map(({ balanced }) => balanced?.service?.name)).toEqual(['web', 'web', 'web'])
  })

  test('a later fragment of another datagram, or before its first one, is dropped', async () => {
    const strange = [
      middle({ family, identification: fresh + 1 }),
      middle({ family, from: OTHER[family] }),
      ...(family === 4 ? [middle({ family, protocol: 'tcp' })] : []),
    ]
    const judged = await compare(state, [
      middle({ family }),
      piece({ family }),
      ...strange,
      last({ family }),
      piece({ family, identification: fresh + 1 }),
      last({ family, identification: fresh + 1 }),
    ])
    expect(judged.map(({ reason }) => reason)).toEqual([
      'fragment',
      'balanced-away',
      ...strange.map(() => 'fragment'),
      'balanced-away',
      'balanced-away',
      'balanced-away',
    ])
  })

  test('an identification that is used again stands for the newer datagram', async () => {
    const web = { family, protocol: 'tcp', ports: { source: 40001, destination: 80 } } as const
    const dns = (source: number) => ({ family, ports: { source, destination: 53 } })
    await compare(state, [piece(dns(1)), piece(dns(2)), middle(dns(2)), piece(web), middle(web)])
  })

  test('fragments of datagrams to no service are not ours', async () => {
    const stray = { family, ports: { source: 40001, destination: 54 } }
    const judged = await compare(state, [piece(stray), middle(stray), last(stray)])
    expect(judged.map(({ reason }) => reason)).toEqual(['default-pass', 'default-pass', 'default-pass'])
  })

  test('a test run stores nothing, and reads what is stored', async () => {
    expect(await ask(piece({ family }), middle({ family }))).toEqual(['balanced-away', 'fragment'])
    await send(piece({ family }))
    expect(await ask(middle({ family }))).toEqual(['balanced-away'])
  })
})

describe('IPv6', () => {
  const state = balancing(services(6, { forwarding: 'nat' }))
  beforeAll(() => loadAlone(state))

  test('only the header of the first fragment names the protocol (RFC 8200 §4.5)', async () => {
    const judged = await compare(state, [
      piece({ family: 6 }),
      ...[6, 58, 60, 47].map((next) => middle({ family: 6, next })),
    ])
    expect(judged.map(({ reason }) => reason)).toEqual(judged.map(() => 'balanced-away'))
  })

  test('headers behind the fragment header are followed', async () => {
    const judged = await compare(state, [
      piece({ family: 6, behind: [destinationOptions({ size: 24 })] }),
      middle({ family: 6, next: 60 }),
    ])
    expect(judged.map(({ reason }) => reason)).toEqual(['balanced-away', 'balanced-away'])
  })

  test('without its first one, a fragment of unknown protocol is not ours', async () => {
    expect(await ask(middle({ family: 6, next: 60 }))).toEqual(['default-pass'])
  })
})

describe('IPv4', () => {
  const state = balancing(services(4, { forwarding: 'ipip' }))
  beforeEach(() => loadAlone(state))

  test('fragments of other protocols store nothing', async () => {
    const echo = seal(
      packet(ethernet(), ipv4({ destination: VIP[4], more: true, identification: fresh }), icmp(8), raw(16)),
    )
    const gre = packet(
      ethernet(),
      ipv4({ destination: VIP[4], more: true, identification: fresh, protocol: 47 }),
      raw(24),
    )
    await send(echo, gre)
    expect(await keyOf()).toEqual([0n, 0n])
    expect(await ask(middle({ family: 4 }))).toEqual(['fragment'])
  })

  test('an entry lies where the keyed hash of its datagram says, and the key is random', async () => {
    const keys = new Set<bigint>()
    for (let run = 0; run < 2; run++) {
      await loadAlone(state)
      await send(piece({ family: 4, ports: { source: 0xabcd, destination: 53 }, identification: 0x1234 }))
      const hash = await hash4(CLIENT[4], VIP[4], 0x1234, 17)
      const [entry, ...more] = await entriesOf(lineOf(hash))
      expect(more).toEqual([])
      expect((entry?.check ?? 0n) ^ (entry?.facts ?? 0n)).toBe(hash)
      expect((entry?.facts ?? 0n) >> 32n).toBe(0xabcd0035n)
      expect(((entry?.facts ?? 0n) & BigInt(FRAGMENT_UDP)) !== 0n).toBe(true)
      for (const word of await keyOf()) keys.add(word)
    }
    expect(keys.size).toBe(4)
    expect(keys).not.toContain(0n)
  })

  test('the key stays, and with it the datagrams, when the programs are replaced', async () => {
    await send(piece({ family: 4 }))
    await plane.loadState(balancing(services(4, { forwarding: 'dsr' })))
    expect(await ask(last({ family: 4 }))).toEqual(['balanced-away'])
  })

  test(`later fragments may follow for ${FRAGMENT_LIFETIME} seconds`, async () => {
    await send(piece({ family: 4 }))
    const line = lineOf(await hash4(CLIENT[4], VIP[4], fresh, 17))
    await ageBy(line, (FRAGMENT_LIFETIME - 1) * SECOND)
    expect(await ask(middle({ family: 4 }))).toEqual(['balanced-away'])
    expect(await plane.count('fragment_count')).toBe(1)
    await ageBy(line, (FRAGMENT_LIFETIME + 1) * SECOND)
    expect(await ask(middle({ family: 4 }))).toEqual(['fragment'])
    expect(await plane.count('fragment_count')).toBe(0)
    await send(piece({ family: 4 }))
    expect(await ask(middle({ family: 4 }))).toEqual(['balanced-away'])
    expect(await plane.count('fragment_count')).toBe(1)
  })

  /** Fills the bucket of the test's datagram with others, `ticks` old. */
  async function crowd(ticks: number): Promise<number> {
    await send(piece({ family: 4, identification: fresh + 1 }))
    const line = lineOf(await hash4(CLIENT[4], VIP[4], fresh, 17))
    const view = new DataView(new ArrayBuffer(64))
    for (let place = 0; place < FRAGMENTS_A_LINE; place++) {
      const facts = (tick() - BigInt(ticks)) & BigInt(FRAGMENT_SEEN)
      view.setBigUint64(place * 16, BigInt(place + 1) ^ facts, true)
      view.setBigUint64(place * 16 + 8, facts, true)
    }
    await writeBucket(line, view)
    return line
  }
  const hashesOf = async (line: number): Promise<bigint[]> =>
    (await entriesOf(line)).map(({ check, facts }) => check ^ facts)

  test('of a full bucket, the oldest entry gives way', async () => {
    const line = await crowd(FRAGMENT_STAY + 1)
    await send(piece({ family: 4 }))
    const own = await hash4(CLIENT[4], VIP[4], fresh, 17)
    expect(await hashesOf(line)).toEqual([own, 1n, 2n, 3n])
    await send(piece({ family: 4, ports: { source: 1, destination: 53 } }))
    expect(await hashesOf(line)).toEqual([own, 1n, 2n, 3n])
    expect(await ask(middle({ family: 4 }))).toEqual(['balanced-away'])
  })

  test('a torn entry is none', async () => {
    await send(piece({ family: 4 }))
    const line = lineOf(await hash4(CLIENT[4], VIP[4], fresh, 17))
    const view = await bucket(line)
    view.setBigUint64(8, view.getBigUint64(8, true) ^ (1n << 40n), true)
    await writeBucket(line, view)
    expect(await ask(middle({ family: 4 }))).toEqual(['fragment'])
  })

  test('a fragment in a frame to another host is not remembered', async () => {
    const frame = piece({ family: 4 })
    await plane.setValue('interface_stack', SLOT, encodeStack(stackRecord({ macs: ['02005e100009'], above: [] })))
    await send(frame)
    expect(await plane.count('fragment_count')).toBe(0)
    await plane.setValue('interface_stack', SLOT, encodeStack(stackRecord({ macs: [], above: [] })))
    await send(frame)
    expect(await plane.count('fragment_count')).toBe(1)
  })

  test('a fragment of a backend is remembered only where the route to it leads', async () => {
    const answer = piece({ family: 4, from: BACKENDS[4][0], to: CLIENT[4], ports: { source: 53, destination: 40000 } })
    for (const repliesFrom of ['route', 'anywhere'] as const) {
      await loadAlone(balancing(services(4, { forwarding: 'nat', repliesFrom })))
      await send(answer)
      expect(await plane.count('fragment_count')).toBe(repliesFrom === 'route' ? 0 : 1)
    }
  })

  test('counts each fragment for its service, and the flow once', async () => {
    await plane.reset(SLOT, [])
    await send(
      piece({ family: 4 }),
      middle({ family: 4 }),
      last({ family: 4 }),
      last({ family: 4, identification: fresh + 1 }),
    )
    expect(await plane.sums('service_stats', 0, serviceCounterCodec)).toMatchObject({
      packets: 3,
      flows: 1,
      hits: 2,
    })
    expect(await plane.reasons(SLOT)).toMatchObject({ fragment: { packets: 1 } })
  })
})

/** Runs remember_datagram on a bucket, at a tick: data is the bucket, hash, ports, tick. */
const REMEMBER = `
#include "${fileURLToPath(new URL('../../bpf/include/fragment.h', import.meta.url))}"
struct request { struct line bucket; __u64 hash; __u32 ports; __u32 tick; };
SEC("xdp")
int remember(struct xdp_md *ctx)
{
	struct flow flow = { .protocol = IPPROTO_UDP };
	struct request request;

	if (bpf_xdp_load_bytes(ctx, 0, &request, sizeof(request)))
		return XDP_ABORTED;
	flow.ports = request.ports;
	remember_datagram((void *)&request.bucket, request.hash, &flow, request.tick);
	return bpf_xdp_store_bytes(ctx, 0, &request, sizeof(request)) ? XDP_ABORTED : XDP_PASS;
}
`

describe('a bucket under a flood of first fragments', () => {
  const directory = `/dev/shm/xdp-test-remember-${process.pid}`
  const pin = `/sys/fs/bpf/xdp-test-remember-${process.pid}`
  beforeAll(async () => {
    await runBpftool('prog', 'load', buildObject(directory, 'remember', REMEMBER), pin)
  })
  afterAll(() => {
    rmSync(pin, { force: true })
    rmSync(directory, { recursive: true, force: true })
  })

  let content: Uint8Array
  beforeEach(() => {
    content = new Uint8Array(64)
  })

  /** A first fragment of a datagram arrives at a tick; returns the hashes in the bucket, newest first. */
  async function arrive(hash: bigint, at: number): Promise<bigint[]> {
    const data = new Uint8Array(80)
    const view = new DataView(data.buffer)
    data.set(content)
    view.setBigUint64(64, hash, true)
    view.setUint32(72, 0x00010035, true)
    view.setUint32(76, at, true)
    const file = `${directory}/data`
    writeFileSync(file, data)
    const { retval, data_out } = (await askBpftool(
      anything,
      ...['prog', 'run', 'pinned', pin, 'data_in', file, 'data_out', '-'],
    )) as { retval: number; data_out: string[] }
    expect(retval).toBe(2)
    content = Uint8Array.from(data_out, Number).slice(0, 64)
    const out = new DataView(content.buffer)
    return Array.from(
      { length: FRAGMENTS_A_LINE },
      (_, i) => out.getBigUint64(i * 16, true) ^ out.getBigUint64(i * 16 + 8, true),
    )
  }

  test('an entry keeps its place for FRAGMENT_STAY ticks, then the oldest gives way', async () => {
    for (const hash of [1n, 2n, 3n]) await arrive(hash, 100)
    expect(await arrive(4n, 101)).toEqual([4n, 3n, 2n, 1n])
    for (let at = 101; at < 100 + FRAGMENT_STAY; at++) {
      expect(await arrive(BigInt(at), at)).toEqual([4n, 3n, 2n, 1n])
    }
    expect(await arrive(5n, 100 + FRAGMENT_STAY)).toEqual([5n, 4n, 3n, 2n])
    expect(await arrive(6n, 100 + FRAGMENT_STAY)).toEqual([6n, 5n, 4n, 3n])
    expect(await arrive(7n, 100 + FRAGMENT_STAY)).toEqual([7n, 6n, 5n, 4n])
    expect(await arrive(8n, 100 + FRAGMENT_STAY)).toEqual([7n, 6n, 5n, 4n])
    expect(await arrive(8n, 101 + FRAGMENT_STAY)).toEqual([8n, 7n, 6n, 5n])
  })

  test('a datagram that is there comes to the front, even of a young bucket', async () => {
    for (const hash of [1n, 2n, 3n, 4n]) await arrive(hash, 100)
    expect(await arrive(2n, 100)).toEqual([2n, 4n, 3n, 1n])
    expect(await arrive(1n, 101)).toEqual([1n, 2n, 4n, 3n])
    expect(await arrive(1n, 102)).toEqual([1n, 2n, 4n, 3n])
  })

  test('ticks may wrap around', async () => {
    for (const hash of [1n, 2n, 3n, 4n]) await arrive(hash, FRAGMENT_SEEN - 1)
    expect(await arrive(5n, 1)).toEqual([4n, 3n, 2n, 1n])
    expect(await arrive(5n, FRAGMENT_STAY - 2)).toEqual([5n, 4n, 3n, 2n])
  })
})

describe('full NAT', () => {
  describe.each(sample(FAMILIES, 2))('IPv%i', (family) => {
    const state = balancing(services(family, { snatPool: [POOL[family]] }, BACKENDS[family].slice(0, 1)))
    beforeEach(() => loadAlone(state))

    test.each(['udp', 'tcp'] as const)(
      'fragments of %s leave from one port, and fragments of answers return',
      async (protocol) => {
        const own = { family, protocol, ports: { source: 40001, destination: protocol === 'udp' ? 53 : 80 } } as const
        const frames = [piece(own), middle(own), last(own)]
        const outcomes = await send(...frames)
        for (const [i, { verdict, output }] of outcomes.entries()) {
          expect(verdict).toBe('redirect')
          expect(wrongChecksums(output)).toEqual([])
          const { source, destination } = addressesOf(output, networkPlace(output))
          expect(formatAddress(family, source.words)).toBe(POOL[family])
          expect(formatAddress(family, destination.words)).toBe(BACKENDS[family][0])
          if (i > 0) expect(payloadOf(output)).toEqual(payloadOf(frames[i] as Uint8Array))
        }
        const { output } = outcomes[0] as Outcome
        const port = new DataView(output.buffer, output.byteOffset).getUint16(networkPlace(output).transport)
        const answer = {
          ...own,
          from: BACKENDS[family][0],
          to: POOL[family],
          ports: { source: own.ports.destination, destination: port },
          identification: 99,
        }
        // The later fragment of an answer without its first one may be for this host itself.
        const [early, ...answers] = await send(middle(answer), piece(answer), middle(answer), last(answer))
        expect(early?.verdict).toBe('pass')
        for (const { verdict, output: back } of answers) {
          expect(verdict).toBe('tx')
          expect(wrongChecksums(back)).toEqual([])
          const { source, destination } = addressesOf(back, networkPlace(back))
          expect(formatAddress(family, source.words)).toBe(VIP[family])
          expect(formatAddress(family, destination.words)).toBe(CLIENT[family])
        }
        const sums = await plane.sums('service_stats', protocol === 'udp' ? 0 : 1, serviceCounterCodec)
        expect(sums).toMatchObject({ packets: 3, flows: 1, replies: 3 })
      },
    )

    test('fragments to a pool address that answer nothing are not ours', async () => {
      const stray = { family, to: POOL[family], from: OTHER[family] }
      const outcomes = await send(piece(stray), middle(stray))
      expect(outcomes.map(({ verdict }) => verdict)).toEqual(['pass', 'pass'])
    })
  })
})

const payloadOf = (frame: Uint8Array): string => {
  const { transport, end, family } = networkPlace(frame)
  return hex(frame.subarray(transport, family === 4 ? end : frame.length))
}

const SEQUENCES = usually(6, { thoroughly: 30 })

test(`program and model agree on random sequences of fragments, seed ${SEED}`, async () => {
  // A new flow of `random` goes anywhere, and full NAT picks ports: both are above.
  const drawn = fc
    .sample(arbitraryServices, { numRuns: SEQUENCES * 4, seed: SEED })
    .map((state) => state.services.filter(({ scheduler, snatPool }) => scheduler !== 'random' && snatPool.length === 0))
    .filter((found) => found.length > 0)
    .slice(0, SEQUENCES)
  expect(drawn.length).toBeGreaterThan(SEQUENCES / 2)
  for (const [number, found] of drawn.entries()) {
    const state = balancing(found)
    await loadAlone(state)
    const frames = fc.sample(arbitraryFragment(found), { numRuns: 120, seed: SEED + number })
    await compare(state, frames)
  }
})

/** Fragments of few datagrams, so that first and later ones meet, in any order. */
const arbitraryFragment = (found: readonly Service[]): fc.Arbitrary<Uint8Array> =>
  fc
    .record({
      of: fc.constantFrom(...found),
      client: fc.constantFrom(CLIENT, OTHER),
      source: fc.constantFrom(1, 65535, 40000),
      isLast: fc.boolean(),
      port: fc.nat(),
      identification: fc.constantFrom(0, 1, 0xffff),
      kind: fc.constantFrom(piece, middle, last),
      isOther: fc.constantFrom(false, false, false, true),
    })
    .map(({ of, client, source, isLast, port, identification, kind, isOther }) => {
      const { family, words } = of.vip
      const [own] = of.protocols as readonly [TransportProtocol]
      const other = own === 'tcp' ? 'udp' : 'tcp'
      const [range] = of.ports as readonly [PortRange]
      const span = range.last - range.first + 1
      return kind({
        family,
        from: client[family],
        to: formatAddress(family, words),
        protocol: isOther ? other : own,
        ports: { source, destination: isLast ? range.last : range.first + (port % span) },
        identification,
        size: port % 5 === 0 ? 1480 : 40,
      })
    })

// Random segments to a host that protects ports, and what the models make of them.

import type { Facts } from '../../src/semantics/judge.ts'
import { answerTo, type Listener } from '../../src/semantics/syn-answer.ts'
import { networkOf, placeAt, seal } from './checksums.ts'
import { factsOf } from './model.ts'
import * as p from './packets.ts'
import type { Random } from './random.ts'

/** A whole TCP segment, in no fragment. */
interface Segment {
  readonly family: 4 | 6
  readonly network: number
  readonly header: Uint8Array
  readonly trafficClass: number
  readonly flags: number
  readonly isInDatagram: boolean
  readonly facts: Facts & { readonly kind: 'ip' }
}

/** undefined: the frame holds no segment, or one in fragments, or its header is cut off. */
export function segmentOf(frame: Uint8Array): Segment | undefined {
  const facts = factsOf(frame)
  if (facts.kind !== 'ip' || facts.unparsed || facts.protocol !== 6 || !facts.ports) return undefined
  if (facts.traits?.fragment !== undefined) return undefined
  const network = networkOf(frame) as number
  const { transport, end, family } = placeAt(frame, network)
  const size = ((frame[transport + 12] as number) >>> 4) * 4
  return {
    family,
    network,
    header: frame.subarray(transport, transport + size),
    trafficClass:
      family === 4
        ? (frame[network + 1] as number)
        : (new DataView(frame.buffer, frame.byteOffset).getUint16(network) >>> 4) & 255,
    flags: frame[transport + 13] as number,
    isInDatagram: size >= 20 && transport + size <= Math.min(end, frame.length),
    facts,
  }
}

const isGroup = (frame: Uint8Array): boolean => ((frame[0] as number) & 1) !== 0

const isHost = (family: 4 | 6, words: Uint32Array): boolean => {
  const first = (words[0] as number) >>> 24
  if (family === 4) return first !== 0 && first !== 127 && first < 224
  return first !== 0xff && !(words.slice(0, 3).every((word) => word === 0) && (words[3] as number) < 2)
}

/** Whether one host can have sent the packet to another. */
function isBetweenHosts({ family, source, traits }: Segment['facts']): boolean {
  const destination = traits?.destination as Uint32Array
  const isOwn = source.every((word, i) => word === destination[i])
  return !isOwn && isHost(family, source) && isHost(family, destination)
}

const FIN = 1
const both = p.SYN | p.ACK

/** Whether this host answers the frame while SYNs are answered, if a socket listens. */
export function opens(frame: Uint8Array): boolean {
  const segment = segmentOf(frame)
  if (!segment || isGroup(frame)) return false
  const opening = (segment.flags & (FIN | both | p.RST)) === p.SYN
  return opening && segment.isInDatagram && isBetweenHosts(segment.facts)
}

/** Whether the frame needs a cookie while SYNs are answered, if a socket listens. */
export function acknowledges(frame: Uint8Array): boolean {
  const segment = segmentOf(frame)
  return segment !== undefined && !isGroup(frame) && (segment.flags & (both | p.RST)) === p.ACK
}

/** The answer to the SYN in a frame, but for its cookie, time and checksums: those of `masked`. */
export function answerFrame(frame: Uint8Array, listener: Listener): Uint8Array {
  const { family, network, header, trafficClass } = segmentOf(frame) as Segment
  const answer = answerTo({ family, trafficClass, header }, listener)
  const size = family === 4 ? 20 : 40
  const made = new Uint8Array(network + size + answer.length)
  const view = new DataView(made.buffer)
  made.set(frame.subarray(0, network))
  made.set(frame.subarray(6, 12), 0)
  made.set(frame.subarray(0, 6), 6)
  made.set(answer, network + size)
  const [source, destination, length] = family === 4 ? [12, 16, 4] : [8, 24, 16]
  const address = (at: number): Uint8Array => frame.subarray(network + at, network + at + length)
  made.set(address(destination), network + source)
  made.set(address(source), network + destination)
  if (family === 4) {
    view.setUint16(network, 0x4500)
    view.setUint16(network + 2, size + answer.length)
    view.setUint16(network + 6, 0x4000)
    view.setUint16(network + 8, 0x4006)
  } else {
    view.setUint32(network, 0x60000000)
    view.setUint16(network + 4, answer.length)
    view.setUint16(network + 6, 0x0640)
  }
  return made
}

/** An answer without what no model knows: cookie, checksums, and the time in the timestamp. */
export function masked(answer: Uint8Array): {
  readonly bytes: string
  readonly cookie: number
  readonly time?: number
} {
  const bytes = answer.slice()
  const view = new DataView(bytes.buffer)
  const { family, at, transport } = placeAt(bytes, networkOf(bytes) as number)
  if (family === 4) view.setUint16(at + 10, 0)
  const cookie = view.getUint32(transport + 4)
  view.setUint32(transport + 4, 0)
  view.setUint16(transport + 16, 0)
  const hasTime = bytes.length - transport === 40
  const time = hasTime ? view.getUint32(transport + 28) : undefined
  if (time !== undefined) view.setUint32(transport + 28, time & 63)
  return { bytes: Buffer.from(bytes).toString('hex'), cookie, ...(time !== undefined && { time }) }
}

const bytesOf = (random: Random, count: number): number[] => Array.from({ length: count }, () => random.below(256))

/** One option of TCP, right or wrong. */
function option(random: Random): number[] {
  const kinds: readonly (() => number[])[] = [
    () => [1],
    () => [0],
    () => [2, 4, ...bytesOf(random, 2)],
    () => [3, 3, random.below(20)],
    () => [4, 2],
    () => [8, 10, ...bytesOf(random, 8)],
    () => {
      const size = 2 + random.below(9)
      return [random.pick([2, 3, 4, 8, 19, 34]), size, ...bytesOf(random, size - 2)]
    },
    () => bytesOf(random, 1 + random.below(3)),
  ]
  const usual = [2, 3, 4, 5, 0]
  return (kinds[random.chance(0.8) ? random.pick(usual) : random.below(kinds.length)] as () => number[])()
}

/** Options of Linux: MSS 1460, SACK permitted, a timestamp, window scale 7. */
const LINUX = [2, 4, 5, 180, 4, 2, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 1, 3, 3, 7]

function options(random: Random): Uint8Array {
  if (random.chance(0.3)) return Uint8Array.from(LINUX)
  const all: number[] = []
  for (let i = random.below(7); i > 0; i--) all.push(...option(random))
  const most = all.slice(0, 40)
  return Uint8Array.from([...most, ...new Array((4 - (most.length % 4)) % 4).fill(random.pick([0, 1]))])
}

export interface Ends {
  readonly sources: readonly string[]
  readonly destinations: readonly string[]
  readonly ports: readonly number[]
}

/** A segment, mostly a SYN, in a frame of any sort. */
export function randomSegment(random: Random, { sources, destinations, ports }: Ends): Uint8Array {
  const isSix = random.chance(0.5)
  const fits = (address: string): boolean => address.includes(':') === isSix
  const source = random.pick(sources.filter(fits))
  const destination = random.pick(destinations.filter(fits))
  const flags = random.chance(0.75)
    ? p.SYN | random.pick([0, 0, 0xc0, 0xc0, 0x40, 8])
    : random.pick([p.ACK, p.ACK | 8, p.ACK | FIN, both, p.RST, p.RST | p.ACK, p.SYN | p.RST, p.SYN | FIN, 0, FIN, 0xff])
  const own = options(random)
  const words = random.chance(0.9) ? 5 + own.length / 4 : random.below(16)
  const fields = { source: 1024 + random.below(60_000), destination: random.pick(ports), flags, words }
  const numbers = { sequence: random.below(2 ** 32), acknowledged: random.below(2 ** 32) }
  const data = Uint8Array.from([...own, ...bytesOf(random, random.chance(0.2) ? random.below(60) : 0)])
  const tos = random.pick([0, 0, 0, 1, 2, 0x10, 0xb8])
  const more = random.chance(0.05)
  const offset = random.chance(0.05) ? random.below(4) : 0
  const network = isSix
    ? [
        p.ipv6({ source, destination, trafficClass: tos, flowLabel: random.below(2 ** 20) }),
        ...(random.chance(0.15) ? [random.pick([p.hopByHop, p.destinationOptions, p.routing])()] : []),
        ...(more || offset > 0 ? [p.fragment({ more, offset })] : []),
      ]
    : [
        p.ipv4({
          ...{ source, destination, tos, more, offset, ttl: random.below(256), identification: random.below(65_536) },
          ...{ options: random.chance(0.15) ? 4 * (1 + random.below(10)) : 0, dontFragment: random.chance(0.5) },
        }),
      ]
  const tags = Array.from({ length: random.chance(0.3) ? 1 + random.below(2) : 0 }, () =>
    p.vlan(random.below(4096), { type: random.pick([0x8100, 0x88a8]) }),
  )
  const group = random.chance(0.03) ? { destination: random.pick(['ff:ff:ff:ff:ff:ff', '01:00:5e:00:00:01']) } : {}
  const segment = p.tcp({ ...fields, ...numbers })
  const whole: p.Layer = { protocol: 6, build: (payload, next) => segment.build(payload, next) }
  const frame = seal(p.packet(p.ethernet(group), ...tags, ...network, whole, { build: () => data }))
  // The flag of RFC 9768.
  if (random.chance(0.05)) {
    const found = segmentOf(frame)
    if (found && found.header.length > 12) found.header[12] = (found.header[12] as number) | 1
  }
  return damaged(random, random.chance(0.3) ? padded(random, frame) : frame)
}

/** Behind the datagram, as short frames of Ethernet are. */
function padded(random: Random, frame: Uint8Array): Uint8Array {
  const longer = new Uint8Array(Math.max(60, frame.length + random.below(9)))
  longer.set(frame)
  return longer
}

function damaged(random: Random, frame: Uint8Array): Uint8Array {
  if (random.chance(0.04)) return frame.slice(0, 14 + random.below(frame.length - 14))
  if (!random.chance(0.08)) return frame
  const other = frame.slice()
  other[12 + random.below(frame.length - 12)] = random.below(256)
  return other
}

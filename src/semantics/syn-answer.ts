// Reference model of the answer to a SYN (bpf/include/syn_answer.h): its TCP header, but for the cookie, the time in its
// timestamp and the checksum, which only the kernel and the moment know.

import type { Family } from '../model/address.ts'
import { ACK, CWR, ECE, SYN } from '../model/headers.ts'

/** A SYN: its TCP header with all options, and the traffic class around it. */
export interface Syn {
  readonly family: Family
  readonly trafficClass: number
  readonly header: Uint8Array
}

/** A listening socket and its host. */
export interface Listener {
  /** `TCP_MAXSEG`; 0: none. */
  readonly mostSegment: number
  /** Bytes of its receive buffer, and whether it was set by `SO_RCVBUF`. */
  readonly buffer: number
  readonly isBounded: boolean
  /** MTU of the interface that receives. */
  readonly mtu: number
  /** The larger of `tcp_rmem` and `net.core.rmem_max`. */
  readonly largest: number
  /** Settings below net.ipv4. */
  readonly timestamps: number
  readonly scaling: boolean
  readonly sack: boolean
  readonly ecn: number
}

const HEADER = 20
const KIND = { end: 0, none: 1, segment: 2, scale: 3, sack: 4, timestamp: 8 } as const
const MOST_SCALE = 14
const MOST_WINDOW = 0xf000
/** The least size of a segment that the kernel offers, and the most that the field holds. */
const SEGMENT = { least: 256, most: 0xffff - 40 } as const
/** Bits of a timestamp that carry options: cookie_init_timestamp of the kernel. */
const BIT = { noScale: 15, sack: 16, ecn: 32 } as const

interface Offered {
  readonly scale?: number
  readonly sack?: boolean
  readonly timestamp?: number
}

/** The offers in the options of a SYN; those behind a broken one do not count. */
export function readOptions(header: Uint8Array): Offered {
  const view = new DataView(header.buffer, header.byteOffset, header.length)
  let offered: Offered = {}
  for (let at = HEADER; at < header.length; ) {
    const kind = view.getUint8(at)
    if (kind === KIND.end) break
    if (kind === KIND.none) {
      at++
      continue
    }
    const size = at + 1 < header.length ? view.getUint8(at + 1) : 0
    if (size < 2 || at + size > header.length) break
    if (kind === KIND.scale && size === 3) offered = { ...offered, scale: Math.min(MOST_SCALE, view.getUint8(at + 2)) }
    if (kind === KIND.sack && size === 2) offered = { ...offered, sack: true }
    if (kind === KIND.timestamp && size === 10) offered = { ...offered, timestamp: view.getUint32(at + 2) }
    at += size
  }
  return offered
}

/** RFC 3168 §6.1.1; a SYN with the flag of RFC 9768 asks for another ECN. */
function asksEcn({ header, trafficClass }: Syn): boolean {
  const both = ECE | CWR
  return ((header[13] ?? 0) & both) === both && ((header[12] ?? 0) & 1) === 0 && (trafficClass & 3) === 0
}

const ownScale = (largest: number): number => Math.max(0, Math.min(MOST_SCALE, 31 - Math.clz32(largest) - 15))

function ownSegment({ mtu, mostSegment }: Listener, family: Family): number {
  const headers = HEADER + (family === 4 ? 20 : 40)
  const fits = Math.min(SEGMENT.most, Math.max(SEGMENT.least, mtu - headers))
  return mostSegment > 0 ? Math.min(mostSegment, fits) : fits
}

/** The TCP header of the answer. Cookie and checksum are zero, and of the timestamp only the bits with options are set. */
export function answerTo(syn: Syn, listener: Listener): Uint8Array {
  const { scale, sack = false, timestamp } = readOptions(syn.header)
  const asked = new DataView(syn.header.buffer, syn.header.byteOffset, syn.header.length)
  const isWhole = timestamp !== undefined && listener.timestamps === 2
  const size = HEADER + (isWhole ? 20 : 4)
  const answer = new DataView(new ArrayBuffer(size))
  const keepsSack = sack && listener.sack
  const keepsScale = scale !== undefined && listener.scaling && !listener.isBounded
  const keepsEcn = isWhole && listener.ecn > 0 && asksEcn(syn)
  answer.setUint16(0, asked.getUint16(2))
  answer.setUint16(2, asked.getUint16(0))
  answer.setUint32(8, (asked.getUint32(4) + 1) >>> 0)
  answer.setUint8(12, (size / 4) << 4)
  answer.setUint8(13, SYN | ACK | (keepsEcn ? ECE : 0))
  answer.setUint16(14, Math.min(MOST_WINDOW, Math.floor(listener.buffer / 4)))
  answer.setUint32(HEADER, (KIND.segment << 24) | (4 << 16) | ownSegment(listener, syn.family))
  if (isWhole) {
    const bits = (keepsScale ? scale : BIT.noScale) | (keepsSack ? BIT.sack : 0) | (keepsEcn ? BIT.ecn : 0)
    answer.setUint16(24, keepsSack ? (KIND.sack << 8) | 2 : 0x0101)
    answer.setUint16(26, (KIND.timestamp << 8) | 10)
    answer.setUint32(28, bits)
    answer.setUint32(32, timestamp)
    answer.setUint32(
      36,
      keepsScale ? (KIND.none << 24) | (KIND.scale << 16) | (3 << 8) | ownScale(listener.largest) : 0x01010101,
    )
  }
  return new Uint8Array(answer.buffer)
}

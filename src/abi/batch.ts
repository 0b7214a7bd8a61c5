// Batches: many test packets in one run of `explain`, whose repetitions take one packet after the other. See
// bpf/include/batch.h.

import { TCP, UDP } from '../model/ports.ts'
import {
  BATCH_PACKET,
  type Explanation,
  explanationCodec,
  INTERFACE_FLAG,
  type TestRun,
  testBatchCodec,
  testRunCodec,
} from './generated.ts'
import { type TestInput, type TestPacket, testInputFor } from './packet.ts'

/** A test packet, and the interface that it stands for. */
export interface Arriving {
  readonly packet: TestPacket
  readonly arrival: TestRun
}

const META = testBatchCodec.size
const RUN = testRunCodec.size
/** The frame and its metadata must fit into 64 KiB. */
const MOST_BYTES = 65_536 - META - BATCH_PACKET

const ETHERNET_SIZE = 14

/** Bytes with addresses and ports: their offset in the IP header, and their number. IP headers have no options. */
const VARYING = { 4: { offset: 12, bytes: 12 }, 6: { offset: 8, bytes: 36 } } as const

/** Bytes of a record, which also has room for an explanation. */
const sizeOf = (family: 4 | 6): number => Math.max(explanationCodec.size, RUN + VARYING[family].bytes)

const isBare = ({ flags }: TestRun): boolean => (flags & INTERFACE_FLAG.IP) !== 0

/** Packets of one batch have equal kinds; undefined: this one fits into no batch. */
function kindOf({ packet, arrival }: Arriving): string | undefined {
  const { source, protocol = UDP, isWithin = false } = packet
  if (protocol !== TCP && protocol !== UDP) return undefined
  return [source.family, protocol, isWithin, isBare(arrival)].join()
}

/** Packets for one run, by their positions in a list. */
export interface Batch {
  readonly input: TestInput
  readonly positions: readonly number[]
  readonly size: number
}

function batchOf(packets: readonly Arriving[], positions: readonly number[]): Batch {
  const first = packets[positions[0] as number] as Arriving
  const { family } = first.packet.source
  const size = sizeOf(family)
  const { offset: inHeader } = VARYING[family]
  const offset = inHeader + (isBare(first.arrival) ? 0 : ETHERNET_SIZE)
  const length = BATCH_PACKET + positions.length * size
  const data = new Uint8Array(META + length)
  const view = new DataView(data.buffer)
  for (const [i, position] of positions.entries()) {
    const { packet, arrival } = packets[position] as Arriving
    const frame = testInputFor(packet, arrival).data.subarray(RUN)
    const at = META + BATCH_PACKET + i * size
    testRunCodec.encode(arrival, view, at)
    // The program writes all of the record into the frame, whatever varies.
    data.set(frame.subarray(offset, offset + size - RUN), at + RUN)
    if (i === 0) data.set(frame, META)
  }
  testBatchCodec.encode({ run: first.arrival, at: BATCH_PACKET, length, size, offset }, view)
  const context = new Uint8Array(Uint32Array.of(META, data.length, 0, 0, 0, 0).buffer)
  return { input: { data, context }, positions, size }
}

/** Batches of those packets at these positions that fit into one. */
export function batchesOf(packets: readonly Arriving[], positions: readonly number[]): Batch[] {
  const groups = new Map<string, number[]>()
  for (const position of positions) {
    const kind = kindOf(packets[position] as Arriving)
    if (kind === undefined) continue
    const group = groups.get(kind) ?? []
    group.push(position)
    groups.set(kind, group)
  }
  return [...groups.values()].flatMap((group) => {
    const { family } = (packets[group[0] as number] as Arriving).packet.source
    const most = Math.floor(MOST_BYTES / sizeOf(family))
    const count = Math.ceil(group.length / most)
    return Array.from({ length: count }, (_, i) => batchOf(packets, group.slice(i * most, (i + 1) * most)))
  })
}

/**
 * The explanations of the packets of a batch, from the output of its run. undefined: the batch ended early, because the
 * balancer changed the length of a packet.
 */
export function explanationsOf({ positions, size }: Batch, output: Uint8Array): (Explanation | undefined)[] {
  const view = new DataView(output.buffer, output.byteOffset, output.byteLength)
  const whole = BATCH_PACKET + positions.length * size
  const isWhole = output.byteLength === META + whole && testBatchCodec.decode(view).at === whole
  return positions.map((_, i) => (isWhole ? explanationCodec.decode(view, META + BATCH_PACKET + i * size) : undefined))
}

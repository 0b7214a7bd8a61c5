// Batches: many test packets in one run of `explain`, whose repetitions take one packet after the other. See
// bpf/include/batch.h.

import {
  BATCH_PACKET,
  batchRecordCodec,
  type Explanation,
  explanationCodec,
  type TestRun,
  testBatchCodec,
} from './generated.ts'
import { type TestInput, type TestPacket, testInputFor } from './packet.ts'

/** Packets of one batch, which with its metadata must fit into 64 KiB. */
export const BATCH_RECORDS = 640

/** A test packet, and the interface that it stands for. */
export interface Arriving {
  readonly packet: TestPacket
  readonly arrival: TestRun
}

const RECORD = batchRecordCodec.size
const META = testBatchCodec.size

/** The input of a run that repeats as often as there are packets. Throws RangeError for a packet that is too long. */
export function batchInputFor(packets: readonly Arriving[]): TestInput {
  const length = BATCH_PACKET + packets.length * RECORD
  const data = new Uint8Array(META + length)
  const view = new DataView(data.buffer)
  for (const [i, { packet, arrival }] of packets.entries()) {
    const record = testInputFor(packet, arrival).data
    if (record.length > RECORD) throw new RangeError(`a packet of ${record.length} bytes does not fit into a batch`)
    data.set(record, META + BATCH_PACKET + i * RECORD)
  }
  const first = META + BATCH_PACKET
  data.copyWithin(META, first + RECORD - BATCH_PACKET, first + RECORD)
  const run = packets[0]?.arrival ?? { ifindex: 1, slot: 0, flags: 0 }
  testBatchCodec.encode({ run, at: BATCH_PACKET, length }, view)
  return { data, context: new Uint8Array(Uint32Array.of(META, data.length, 0, 0, 0, 0).buffer) }
}

/**
 * The explanations of `count` packets, from the output of the run. undefined: the batch ended before this packet, or with
 * it, because the balancer changed the length of a packet.
 */
export function explanationsOf(output: Uint8Array, count: number): (Explanation | undefined)[] {
  const view = new DataView(output.buffer, output.byteOffset, output.byteLength)
  const { at } = testBatchCodec.decode(view)
  const whole = BATCH_PACKET + count * RECORD
  const isWhole = at === whole && output.byteLength === META + whole
  return Array.from({ length: count }, (_, i) =>
    isWhole ? explanationCodec.decode(view, META + BATCH_PACKET + i * RECORD) : undefined,
  )
}

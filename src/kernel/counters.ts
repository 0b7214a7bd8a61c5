// Counters: per-CPU values summed, by slot. Looked up one by one in one batch; a dump would print every slot of every
// CPU of a large machine.

import { counterCodec, REASON, REASON_SLOTS } from '../abi/generated.ts'
import type { Paths } from '../abi/paths.ts'
import type { Count, ReasonName } from '../model/result.ts'
import { bpftool, type Command, runBatch } from './bpftool.ts'
import { bytesOf, keyBytes } from './instance.ts'

/** Reason names by number, as JSON and text show them. */
export const REASON_NAMES = Object.fromEntries(
  Object.entries(REASON).map(([name, number]) => [number, name.toLowerCase().replaceAll('_', '-')]),
) as Readonly<Record<number, ReasonName>>

interface PerCpuEntry {
  readonly values: readonly { readonly value: readonly string[] }[]
}

function total(output: unknown): Count {
  const { values } = output as PerCpuEntry
  let packets = 0n
  let bytes = 0n
  for (const { value } of values) {
    const data = bytesOf(value)
    const counter = counterCodec.decode(new DataView(data.buffer))
    packets += counter.packets
    bytes += counter.bytes
  }
  return { packets: Number(packets), bytes: Number(bytes) }
}

const lookup = (map: string, key: number): Command => bpftool('map', 'lookup', 'pinned', map, 'key', ...keyBytes(key))

const REASONS = Object.values(REASON)

/** Counters of the given interface slots (by reason) and list slots. */
export async function readCounters(
  paths: Paths,
  interfaceSlots: readonly number[],
  listSlots: readonly number[],
): Promise<{ interfaces: Map<number, Map<ReasonName, Count>>; lists: Map<number, Count> }> {
  const outputs = await runBatch([
    ...interfaceSlots.flatMap((slot) =>
      REASONS.map((reason) => lookup(paths.sharedMap('verdictStats'), slot * REASON_SLOTS + reason)),
    ),
    ...listSlots.map((slot) => lookup(paths.sharedMap('listStats'), slot)),
  ])
  const counts = outputs.map(total)
  const interfaces = new Map(
    interfaceSlots.map((slot, i) => [
      slot,
      new Map(
        REASONS.map((reason, j) => [REASON_NAMES[reason] as ReasonName, counts[i * REASONS.length + j] as Count]),
      ),
    ]),
  )
  const lists = new Map(listSlots.map((slot, i) => [slot, counts[interfaceSlots.length * REASONS.length + i] as Count]))
  return { interfaces, lists }
}

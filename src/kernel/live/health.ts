// Map `health`: one byte per backend and service about the traffic that it takes now. Read by line. Runs of
// health_write store single bytes, so writers need no lock: a daemon must not wait for an apply before it reports a
// dead backend. Slots belong to a generation, so each write goes through a program of that generation, which the kernel
// refuses once a later generation has claimed the map.
//
// An apply, with P the paths and N its new generation, calls `writeHealth(P, N, …)` with zeros for slots with a new
// owner before the switch, and `claimHealth(P, N, …)` with the same bytes once the old generation is gone; in between,
// a daemon that does not know the new generation may still have written for a former owner.

import { writeFile } from 'node:fs/promises'
import { bytes as hexBytes, ran, record } from '../../abi/answer.ts'
import { bpftool, keyBytes } from '../../abi/command.ts'
import { HEALTH_OP, HEALTH_RECORDS, healthHeaderCodec, healthRecordCodec, LINE_SIZE } from '../../abi/generated.ts'
import type { HealthBytes } from '../../abi/health.ts'
import { type Paths, pinPaths } from '../../abi/paths.ts'
import { fail } from '../../diagnostics.ts'
import type { Observed } from '../../features/feature.ts'
import { HEALTH, restingBytes } from '../../features/health.ts'
import type { Host } from '../host/host.ts'
import { askBatch } from '../tools/bpftool.ts'
import { withExchange } from '../tools/exchange.ts'
import { list } from '../tools/pins.ts'
import { runLine } from '../tools/transfer.ts'

/** XDP_DROP and XDP_PASS, as health_write returns them. */
const REFUSED = 1
const STORED = 2

/** Reads the bytes of these numbers, as many lines as they lie in. */
export async function readHealth(paths: Paths, numbers: Iterable<number>): Promise<Map<number, number>> {
  const wanted = [...numbers]
  const lines = [...new Set(wanted.map((number) => Math.floor(number / LINE_SIZE)))].sort((a, b) => a - b)
  const map = paths.sharedMap(HEALTH.maps.health)
  const outputs = await askBatch(
    record({ value: hexBytes(LINE_SIZE) }),
    lines.map((line) => bpftool('map', 'lookup', 'pinned', map, 'key', ...keyBytes(line))),
  )
  const content = new Map(lines.map((line, i) => [line, outputs[i]?.value]))
  return new Map(
    wanted.map((number) => [number, content.get(Math.floor(number / LINE_SIZE))?.[number % LINE_SIZE] ?? 0]),
  )
}

/** The input of one run of health_write. */
export function encodeHealth(op: number, bytes: readonly (readonly [number, number])[]): Uint8Array {
  const data = new Uint8Array(healthHeaderCodec.size + bytes.length * healthRecordCodec.size)
  const view = new DataView(data.buffer)
  healthHeaderCodec.encode({ op, count: bytes.length }, view)
  for (const [i, [byte, value]] of bytes.entries()) {
    healthRecordCodec.encode({ byte, value }, view, healthHeaderCodec.size + i * healthRecordCodec.size)
  }
  return data
}

/** Whether the generation still exists, so that its program can write. */
const isThere = async (paths: Paths, generation: number): Promise<boolean> =>
  (await list(paths.programs(generation))).includes(HEALTH.programs.write)

async function run(paths: Paths, generation: number, op: number, bytes: HealthBytes): Promise<boolean> {
  const entries = [...bytes]
  const runs = Math.max(1, Math.ceil(entries.length / HEALTH_RECORDS))
  const program = paths.program(generation, HEALTH.programs.write)
  return withExchange(async (directory) => {
    const commands = await Promise.all(
      Array.from({ length: runs }, async (_, i) => {
        const file = `${directory}/${i}`
        await writeFile(file, encodeHealth(op, entries.slice(i * HEALTH_RECORDS, (i + 1) * HEALTH_RECORDS)))
        return runLine(program, file, '/dev/null')
      }),
    )
    const outputs = await askBatch(ran, commands)
    if (outputs.some(({ retval }) => retval === REFUSED)) return false
    if (outputs.some(({ retval }) => retval !== STORED)) throw fail('E108', 'the data plane refused to write health')
    return true
  })
}

/**
 * Stores the bytes. `superseded`: none or only some of them, because another generation has taken over (or the instance
 * is gone); the caller must read the owners of the slots again. Throws XdpError for any other failure.
 */
export async function writeHealth(
  paths: Paths,
  generation: number,
  bytes: HealthBytes,
): Promise<'written' | 'superseded'> {
  if (bytes.size === 0) return 'written'
  try {
    return (await run(paths, generation, HEALTH_OP.SET, bytes)) ? 'written' : 'superseded'
  } catch (error) {
    if (!(await isThere(paths, generation))) return 'superseded'
    throw error
  }
}

/** Access of a daemon to the health of an instance. */
export interface HealthMap {
  readonly read: (numbers: readonly number[]) => Promise<HealthBytes>
  /** See writeHealth. */
  readonly write: (generation: number, bytes: HealthBytes) => Promise<'written' | 'superseded'>
}

export function openHealth({ bpffs, instance }: Pick<Host, 'bpffs' | 'instance'>): HealthMap {
  const paths = pinPaths(bpffs, instance)
  return {
    read: (numbers) => readHealth(paths, numbers),
    write: (generation, bytes) => writeHealth(paths, generation, bytes),
  }
}

/** Stores the bytes, and shuts out older generations. The caller holds the lock. */
export async function claimHealth(paths: Paths, generation: number, bytes: HealthBytes): Promise<void> {
  if (!(await run(paths, generation, HEALTH_OP.CLAIM, bytes))) {
    throw fail('E108', `a later generation than ${generation} owns the health map`)
  }
}

/** Writes the bytes that hold while no daemon checks backends, where a daemon that is gone has left others. */
export async function restHealth(paths: Paths, live: Observed): Promise<void> {
  if (live.state.services.size === 0 || live.instance.missing.length > 0) return
  const wanted = restingBytes({ services: live.state.services, slots: live.slots })
  const found = await readHealth(paths, wanted.keys())
  const stale = [...wanted].filter(([number, value]) => found.get(number) !== value)
  await writeHealth(paths, live.generation, new Map(stale))
}

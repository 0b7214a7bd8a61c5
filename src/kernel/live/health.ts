// Map `health`: one byte per backend and service about the traffic that it takes now. Read by line. Runs of
// health_write store single bytes, so writers need no lock: a daemon must not wait for an apply before it reports a
// dead backend. Slots belong to a generation, so each write goes through a program of that generation, which the kernel
// refuses once a later generation has claimed the map.
//
// An apply, with P the paths and N its new generation, calls `writeHealth(P, N, …)` with zeros for slots with a new
// owner before the switch, and `claimHealth(P, N, …)` with the same bytes once the old generation is gone; in between,
// a daemon that does not know the new generation may still have written for a former owner.

import { writeFile } from 'node:fs/promises'
import { bpftool, keyBytes } from '../../abi/command.ts'
import {
  HEALTH_DOWN,
  HEALTH_OP,
  HEALTH_RECORDS,
  HEALTH_SERVICES,
  healthHeaderCodec,
  healthRecordCodec,
  LINE_SIZE,
  SERVICE_HEALTH,
} from '../../abi/generated.ts'
import { type Paths, PROGRAMS, pinPaths } from '../../abi/paths.ts'
import { fail } from '../../diagnostics.ts'
import type { Slots } from '../../model/live.ts'
import type { Overlay, ServiceMode } from '../../model/overlay.ts'
import type { Host } from '../host/host.ts'
import { bytesOf, list } from '../observe/instance.ts'
import { runBatch } from '../tools/bpftool.ts'
import { withExchange } from '../tools/exchange.ts'
import { runLine } from '../tools/transfer.ts'

/** XDP_DROP and XDP_PASS, as health_write returns them. */
const REFUSED = 1
const STORED = 2

/** Values by index of the byte: see backendByte and serviceByte. */
export type HealthBytes = ReadonlyMap<number, number>

export const backendByte = (slot: number): number => slot
export const serviceByte = (slot: number): number => HEALTH_SERVICES + slot

const MODES: Readonly<Record<ServiceMode, number>> = {
  well: SERVICE_HEALTH.WELL,
  empty: SERVICE_HEALTH.EMPTY,
  drop: SERVICE_HEALTH.FALLBACK_DROP,
  sorry: SERVICE_HEALTH.FALLBACK_SORRY,
}
const MODE_NAMES = new Map(Object.entries(MODES).map(([name, value]) => [value, name as ServiceMode]))

/** How many of 255 new flows a backend with this share (0 to 1) leaves to others; HEALTH_DOWN for a share of 0. */
export function shortfallOf(share: number): number {
  if (share <= 0) return HEALTH_DOWN
  return Math.min(HEALTH_DOWN - 1, Math.max(0, Math.round((1 - share) * HEALTH_DOWN)))
}

export const shareOf = (shortfall: number): number => (HEALTH_DOWN - shortfall) / HEALTH_DOWN

type HealthSlots = Pick<Slots, 'services' | 'backends'>

/** The bytes of an overlay. Leaves out services and backends without a slot. */
export function encodeOverlay(overlay: Overlay, { services, backends }: HealthSlots): Map<number, number> {
  const bytes = new Map<number, number>()
  for (const [name, { mode, shares }] of overlay) {
    const slot = services.get(name)
    if (slot !== undefined) bytes.set(serviceByte(slot), MODES[mode])
    for (const [key, share] of shares) {
      const backend = backends.get(`${name}/${key}`)
      if (backend !== undefined) bytes.set(backendByte(backend), shortfallOf(share))
    }
  }
  return bytes
}

/** The overlay in the bytes of these slots; a missing byte counts as zero. */
export function decodeOverlay(bytes: HealthBytes, { services, backends }: HealthSlots): Overlay {
  const shares = new Map<string, Map<string, number>>([...services.keys()].map((name) => [name, new Map()]))
  for (const [name, slot] of backends) {
    const at = name.indexOf('/')
    shares.get(name.slice(0, at))?.set(name.slice(at + 1), shareOf(bytes.get(backendByte(slot)) ?? 0))
  }
  return new Map(
    [...services].map(([name, slot]) => [
      name,
      {
        mode: MODE_NAMES.get(bytes.get(serviceByte(slot)) ?? 0) ?? 'well',
        shares: shares.get(name) ?? new Map<string, number>(),
      },
    ]),
  )
}

/** The indexes of all bytes of these slots. */
export const bytesOfSlots = ({ services, backends }: HealthSlots): number[] => [
  ...[...backends.values()].map(backendByte),
  ...[...services.values()].map(serviceByte),
]

/** Reads the bytes with these indexes, line by line. */
export async function readHealth(paths: Paths, numbers: Iterable<number>): Promise<Map<number, number>> {
  const wanted = [...numbers]
  const lines = [...new Set(wanted.map((number) => Math.floor(number / LINE_SIZE)))].sort((a, b) => a - b)
  const map = paths.sharedMap('health')
  const outputs = await runBatch(lines.map((line) => bpftool('map', 'lookup', 'pinned', map, 'key', ...keyBytes(line))))
  const content = new Map(
    lines.map((line, i) => [line, bytesOf((outputs[i] as { readonly value: readonly string[] }).value)]),
  )
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
  (await list(paths.programs(generation))).includes(PROGRAMS.healthWrite)

async function run(paths: Paths, generation: number, op: number, bytes: HealthBytes): Promise<boolean> {
  const entries = [...bytes]
  const runs = Math.max(1, Math.ceil(entries.length / HEALTH_RECORDS))
  const program = paths.program(generation, 'healthWrite')
  return withExchange(async (directory) => {
    const commands = await Promise.all(
      Array.from({ length: runs }, async (_, i) => {
        const file = `${directory}/${i}`
        await writeFile(file, encodeHealth(op, entries.slice(i * HEALTH_RECORDS, (i + 1) * HEALTH_RECORDS)))
        return runLine(program, file, '/dev/null')
      }),
    )
    const outputs = (await runBatch(commands)) as { retval: number }[]
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

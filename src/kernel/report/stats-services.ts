// Services in `xdp stats`: one bpftool process reads their records and the fill of their maps, another one their
// counters and health. Without services it costs nothing.

import { FLOWS_A_LINE, SNAT_FIRST_PORT, SNAT_PORTS } from '../../abi/generated.ts'
import type { BalanceMap, Paths, ProgramName } from '../../abi/paths.ts'
import { POOL_SLOTS } from '../../model/limits.ts'
import type { ServiceStatus } from '../../report/result.ts'
import type { Fill } from '../../report/stats.ts'
import { hasServices } from '../../tables/image/image.ts'
import { recordedServices, SERVICE_SECTIONS } from '../../tables/image/recognize.ts'
import { readHeader } from '../../tables/layout/layout.ts'
import { LINE_WORDS } from '../../tables/lines/lines.ts'
import { monotonicSeconds } from '../host/surroundings.ts'
import { plainRun } from '../live/bans.ts'
import type { Generation, Instance } from '../observe/instance.ts'
import { type Part, runParts } from '../tools/bpftool.ts'
import { withExchange } from '../tools/exchange.ts'
import { readPart } from '../tools/transfer.ts'
import { readServiceStatus } from './service-status.ts'

export interface ServiceStats {
  readonly services: readonly ServiceStatus[]
  /** Fill of the maps of the balancer; empty without services. */
  readonly fill: readonly Fill[]
}

const NONE: ServiceStats = { services: [], fill: [] }

/** Counts the entries of the flow table and of the port map. A generation of another build may lack these programs. */
function countPart(paths: Paths, { number, unpinned }: Generation): Part<ReadonlyMap<ProgramName, number>> {
  const programs = (['flowCount', 'portCount'] as const).filter((name) => !unpinned.has(name))
  return {
    commands: programs.map((name) => plainRun(paths.program(number, name))),
    finish: (outputs) =>
      new Map((outputs as { retval: number }[]).map(({ retval }, i) => [programs[i] as ProgramName, retval])),
  }
}

function fillOf({ balance }: Generation, counts: ReadonlyMap<ProgramName, number>, pools: number): Fill[] {
  const [flows, ports] = [counts.get('flowCount'), counts.get('portCount')]
  const entries = (map: BalanceMap): number => balance.get(map)?.entries ?? 0
  const ofPools: Fill[] = [{ name: 'pools', used: pools, capacity: POOL_SLOTS }]
  // Each address has this many ports for TCP, and as many for UDP.
  const capacity = pools * 2 * (SNAT_PORTS - SNAT_FIRST_PORT)
  return [
    ...(flows === undefined
      ? []
      : [{ name: 'flows', used: flows, capacity: FLOWS_A_LINE * entries('flows') } as const]),
    ...(pools === 0 ? [] : ofPools),
    ...(pools === 0 || ports === undefined ? [] : [{ name: 'source_ports', used: ports, capacity } as const]),
  ]
}

/** The services of the live generation, from the records in its tables. Throws XdpError E113 if these are damaged. */
export async function readServices(
  paths: Paths,
  generation: Generation | undefined,
  { missing }: Instance,
): Promise<ServiceStats> {
  const header = generation?.meta && generation.header ? readHeader(generation.header) : undefined
  if (!generation || !header || !hasServices(header) || missing.length > 0) return NONE
  const { number } = generation
  const places = SERVICE_SECTIONS.map((name) => header.directory[name])
  const [bytes, counts] = await withExchange((files) =>
    runParts(readPart(`${files}/services`, paths.program(number, 'read'), places), countPart(paths, generation)),
  )
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >>> 2)
  let at = 0
  const cut = (lines: number): Uint32Array => {
    at += lines * LINE_WORDS
    return words.subarray(at - lines * LINE_WORDS, at)
  }
  const sections = Object.fromEntries(SERVICE_SECTIONS.map((name) => [name, cut(header.directory[name].lines)]))
  const recorded = recordedServices(header, sections as Parameters<typeof recordedServices>[1])
  const slots = { interfaces: new Map(), lists: new Map(), ...recorded.slots }
  const services = await readServiceStatus(paths, {
    ...recorded,
    slots,
    generation: number,
    bootSeconds: monotonicSeconds(),
  })
  return { services, fill: fillOf(generation, counts, slots.pools.size) }
}

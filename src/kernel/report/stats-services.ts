// Services in `xdp stats`: one bpftool process reads their records and the fill of their maps, another one their
// counters and health. Without services it costs nothing.

import type { Generation, Instance } from '../../abi/instance.ts'
import type { Paths } from '../../abi/paths.ts'
import { FILTER } from '../../features/filter.ts'
import type { Slots } from '../../model/live.ts'
import type { ServiceStatus } from '../../report/result.ts'
import { hasServices } from '../../tables/image/image.ts'
import { recordedServices, SERVICE_SECTIONS } from '../../tables/image/recognize.ts'
import { readHeader } from '../../tables/layout/layout.ts'
import { LINE_WORDS } from '../../tables/lines/lines.ts'
import { monotonicSeconds } from '../host/surroundings.ts'
import { runParts } from '../tools/bpftool.ts'
import { withExchange } from '../tools/exchange.ts'
import { readPart } from '../tools/transfer.ts'
import { readServiceStatus } from './service-status.ts'

export interface ServiceStats {
  readonly services: readonly ServiceStatus[]
  readonly slots: Pick<Slots, 'pools'>
}

const NONE: ServiceStats = { services: [], slots: { pools: new Map() } }

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
  const [bytes] = await withExchange((files) =>
    runParts(readPart(`${files}/services`, paths.program(number, FILTER.programs.read), places)),
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
  return { services, slots }
}

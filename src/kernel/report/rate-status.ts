// Rate limits in `xdp status` and `xdp stats`: what they have counted. Without limits it costs nothing.

import type { Generation, Instance } from '../../abi/instance.ts'
import type { Paths } from '../../abi/paths.ts'
import { FILTER } from '../../features/filter.ts'
import type { RateLimit } from '../../model/rate-limit.ts'
import type { RateStatus } from '../../report/result.ts'
import { decodeInterfaces } from '../../tables/classes/interfaces.ts'
import { readHeader } from '../../tables/layout/layout.ts'
import { LINE_WORDS } from '../../tables/lines/lines.ts'
import { decodeRates } from '../../tables/rates/rates.ts'
import { readRateCounters } from '../live/service-counters.ts'
import { runParts } from '../tools/bpftool.ts'
import { withExchange } from '../tools/exchange.ts'
import { readPart } from '../tools/transfer.ts'

/** Limits in the order in which packets meet them, with their counters. */
export async function rateStatus(
  paths: Paths,
  generation: number,
  limits: ReadonlyMap<string, RateLimit>,
  slots: ReadonlyMap<string, number>,
): Promise<RateStatus[]> {
  const ordered = [...limits.values()].sort((a, b) => a.position - b.position)
  const known = ordered.flatMap((limit) => {
    const slot = slots.get(limit.name)
    return slot === undefined ? [] : [{ limit, slot }]
  })
  const counters = await readRateCounters(
    paths,
    generation,
    known.map(({ slot }) => slot),
  )
  const none = { packets: 0, bytes: 0, exceeding_packets: 0, exceeding_bytes: 0 }
  return known.map(({ limit: { name, per, action }, slot }) => ({
    name,
    per,
    action,
    ...(counters.get(slot) ?? none),
  }))
}

/** Rate limits of the live generation, from its tables, with their counters. Throws XdpError E113 if these are damaged. */
export async function readRates(
  paths: Paths,
  generation: Generation | undefined,
  { missing }: Instance,
): Promise<readonly RateStatus[]> {
  const header = generation?.meta && generation.header ? readHeader(generation.header) : undefined
  if (!generation || !header || header.directory.SETTINGS.lines === 0 || missing.length > 0) return []
  const { SETTINGS, INTERFACES } = header.directory
  const [bytes] = await withExchange((files) =>
    runParts(
      readPart(`${files}/rates`, paths.program(generation.number, FILTER.programs.read), [SETTINGS, INTERFACES]),
    ),
  )
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >>> 2)
  const settings = words.subarray(0, SETTINGS.lines * LINE_WORDS)
  const { sets } = decodeInterfaces(words.subarray(settings.length))
  const { limits, slots } = decodeRates(settings, sets)
  return rateStatus(paths, generation.number, limits, slots)
}

// Anomalies and rate limits for `xdp stats`, read from the tables of the live generation.

import type { Generation, Instance } from '../../abi/instance.ts'
import type { Paths } from '../../abi/paths.ts'
import { FILTER } from '../../features/filter.ts'
import type { Stats } from '../../report/stats.ts'
import { decodeInterfaces } from '../../tables/classes/interfaces.ts'
import { readHeader } from '../../tables/layout/layout.ts'
import { LINE_WORDS } from '../../tables/lines/lines.ts'
import { decodeRates } from '../../tables/rates/rates.ts'
import { runParts } from '../tools/bpftool.ts'
import { withExchange } from '../tools/exchange.ts'
import { readPart } from '../tools/transfer.ts'
import { anomalyStatus } from './anomaly-status.ts'
import { rateStatus } from './rate-status.ts'

type Mitigations = Pick<Stats, 'anomalies' | 'rate_limits'>

const NONE: Mitigations = { anomalies: [], rate_limits: [] }

/** Anomalies and rate limits of the live generation, with counters. Throws XdpError E113 if its tables are damaged. */
export async function readMitigations(
  paths: Paths,
  generation: Generation | undefined,
  { missing }: Instance,
): Promise<Mitigations> {
  const header = generation?.meta && generation.header ? readHeader(generation.header) : undefined
  if (!generation || !header || missing.length > 0) return NONE
  const { SETTINGS, INTERFACES } = header.directory
  if (SETTINGS.lines + INTERFACES.lines === 0) return NONE
  const [bytes] = await withExchange((files) =>
    runParts(
      readPart(`${files}/mitigations`, paths.program(generation.number, FILTER.programs.read), [SETTINGS, INTERFACES]),
    ),
  )
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >>> 2)
  const settings = words.subarray(0, SETTINGS.lines * LINE_WORDS)
  const { sets, anomalies } = decodeInterfaces(words.subarray(settings.length))
  const { limits, slots } = decodeRates(settings, sets)
  return {
    anomalies: await anomalyStatus(paths, generation.number, anomalies),
    rate_limits: await rateStatus(paths, generation.number, limits, slots),
  }
}

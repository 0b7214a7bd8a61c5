// Sources that have exceeded rate limits with `ban`: reports of the data plane, and the counters of the bans that followed
// (bpf/include/rate_ban.h).

import { writeFile } from 'node:fs/promises'
import { ran } from '../../abi/answer.ts'
import { LITTLE_ENDIAN } from '../../abi/bytes.ts'
import { RATE_REPORTS, rateReportCodec, rateRequestCodec } from '../../abi/generated.ts'
import type { Paths } from '../../abi/paths.ts'
import { RATES } from '../../features/rates.ts'
import type { Address } from '../../model/address.ts'
import { readOutput, understand } from '../tools/answer.ts'
import { askBatch } from '../tools/bpftool.ts'
import { withExchange } from '../tools/exchange.ts'
import { checkRuns, runLine } from '../tools/transfer.ts'

/** A source that has exceeded a limit for long enough. */
export interface Offender {
  /** Of the limit. */
  readonly slot: number
  /** The first address of its prefix. */
  readonly source: Address
}

/** Numbers by slot of a limit. */
type BySlot = ReadonlyMap<number, number>

const NONE: BySlot = new Map()
const WORD = 4
/** A run ends early once there may be no room for the reports of another set. */
export const MANY_REPORTS = RATE_REPORTS - 3

/** The address in a flow of the data plane: IPv4 as ::ffff:a.b.c.d. */
function addressOf(high: bigint, low: bigint): Address {
  if (high === 0n && low >> 32n === 0xffffn) return { family: 4, words: Uint32Array.of(Number(low & 0xffffffffn)) }
  const words = [high >> 32n, high, low >> 32n, low].map((word) => Number(word & 0xffffffffn))
  return { family: 6, words: Uint32Array.from(words) }
}

async function run(paths: Paths, generation: number, after: BySlot, banned: BySlot): Promise<Offender[]> {
  const size = rateRequestCodec.size + RATE_REPORTS * rateReportCodec.size
  const request = new Uint8Array(size)
  const words = new DataView(request.buffer)
  for (const [slot, ms] of after) words.setUint32(rateRequestCodec.offsets.after + slot * WORD, ms, LITTLE_ENDIAN)
  for (const [slot, count] of banned)
    words.setUint32(rateRequestCodec.offsets.banned + slot * WORD, count, LITTLE_ENDIAN)
  return withExchange(async (directory) => {
    const file = `${directory}/reports`
    await writeFile(file, request)
    const program = paths.program(generation, RATES.programs.reports)
    checkRuns(await askBatch(ran, [runLine(program, file, `${file}.out`)]), 'reading sources that exceed a rate')
    return understand('bpftool', 'bpftool prog run', () => {
      const answer = readOutput(`${file}.out`, size)
      const view = new DataView(answer.buffer, answer.byteOffset, answer.byteLength)
      const { count } = rateRequestCodec.decode(view)
      return Array.from({ length: count }, (_, i) => {
        const { high, low, slot } = rateReportCodec.decode(view, rateRequestCodec.size + i * rateReportCodec.size)
        return { slot, source: addressOf(high, low) }
      })
    })
  })
}

/**
 * Sources that have exceeded the limit of a slot for `after` milliseconds; their time begins again. A part of them if there
 * are MANY_REPORTS. Throws E101 and E108 while an apply replaces the generation.
 */
export const readOffenders = (paths: Paths, generation: number, after: BySlot): Promise<Offender[]> =>
  run(paths, generation, after, NONE)

/** Adds to the counters of bans. Throws as readOffenders. */
export async function countLimitBans(paths: Paths, generation: number, banned: BySlot): Promise<void> {
  await run(paths, generation, NONE, banned)
}

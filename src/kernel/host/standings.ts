// Standings of health checks, kept for the next daemon of the instance on tmpfs: the health map says which backends are
// down, but not how many results in a row contradict that, nor whether a backend that is up was ever checked.

import { readFile, rename, rm, writeFile } from 'node:fs/promises'
import { instanceFile } from '../tools/exchange.ts'
import type { Host } from './host.ts'

/** The standing of one backend. */
export interface KeptStanding {
  readonly up: boolean
  /** Results in a row that contradict `up`. */
  readonly against: number
  /** Identifies the check: of a changed one nothing is known. */
  readonly check: string
}

/** By `SERVICE/BACKEND`. */
export type KeptStandings = ReadonlyMap<string, KeptStanding>

export interface StandingsFile {
  /** Empty if there is no record, or it is too old. */
  readonly read: () => Promise<KeptStandings>
  /** Never throws; if there is no space, the old record stays. */
  readonly write: (standings: KeptStandings) => Promise<void>
}

const FORMAT = 1
/** Milliseconds after which a record says nothing any more, and after which results are no longer in a row. */
const MOST_AGE = 600_000
const MOST_PAUSE = 60_000

const isWhole = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0

function readEntry(entry: unknown, isInARow: boolean): [string, KeptStanding][] {
  if (!Array.isArray(entry)) return []
  const [key, up, against, check] = entry as unknown[]
  const isValid = typeof key === 'string' && typeof up === 'boolean' && isWhole(against) && typeof check === 'string'
  return isValid ? [[key, { up, against: isInARow ? against : 0, check }]] : []
}

/** Parses a record. `age`: milliseconds since it was written. */
export function parseStandings(text: string, age: (written: number) => number): KeptStandings {
  try {
    const { format, written, backends } = JSON.parse(text) as Readonly<Record<string, unknown>>
    if (format !== FORMAT || !isWhole(written) || !Array.isArray(backends)) return new Map()
    const passed = age(written)
    // A clock that was set back says nothing about the time that passed.
    if (passed < 0 || passed > MOST_AGE) return new Map()
    return new Map(backends.flatMap((entry) => readEntry(entry, passed <= MOST_PAUSE)))
  } catch {
    return new Map()
  }
}

export const formatStandings = (standings: KeptStandings, written: number): string => {
  const backends = [...standings].map(([key, { up, against, check }]) => [key, up, against, check])
  return `${JSON.stringify({ format: FORMAT, written, backends })}\n`
}

/** Removes the record when nothing of the instance is left. */
export async function removeStandings({ bpffs, instance }: Pick<Host, 'bpffs' | 'instance'>): Promise<void> {
  await instanceFile(bpffs, instance, 'standings.json')
    .then((path) => rm(path, { force: true }))
    .catch(() => undefined)
}

/** The record of the instance. Its directory belongs to root. */
export function openStandings({ bpffs, instance }: Pick<Host, 'bpffs' | 'instance'>): StandingsFile {
  const file = (): Promise<string> => instanceFile(bpffs, instance, 'standings.json')
  return {
    async read() {
      const text = await file()
        .then((path) => readFile(path, 'utf8'))
        .catch(() => '')
      return parseStandings(text, (written) => Date.now() - written)
    },
    async write(standings) {
      const path = await file().catch(() => undefined)
      if (path === undefined) return
      const partial = `${path}.part`
      await writeFile(partial, formatStandings(standings, Date.now()), { mode: 0o600 })
        .then(() => rename(partial, path))
        .catch(() => rm(partial, { force: true }).catch(() => undefined))
    },
  }
}

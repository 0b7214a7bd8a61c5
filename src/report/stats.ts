// Counters and gauges: one reading of the kernel, and the facts beside it that only a running watcher or the config
// knows.

import type { Feed } from '../model/desired.ts'
import type { PendingConfirmation } from './confirmation.ts'
import type { CopyFacts } from './fetch.ts'
import type {
  AnomalyStatus,
  Count,
  InterfaceStatus,
  ListStatus,
  RateStatus,
  ServiceStatus,
  Status,
  SynStatus,
  UnknownInterfaces,
} from './result.ts'
import type { CheckFacts, ReconcileFacts } from './watch.ts'

/** Fill of a structure: used and capacity. */
export interface Fill<N extends string = string> {
  readonly name: N
  readonly used: number
  readonly capacity: number
}

/**
 * Kernel memory in bytes: the live generation with its tables and the balancer's maps, the counters and records, the
 * bans.
 */
export interface Memory {
  readonly policy: number
  readonly counters: number
  readonly bans: number
}

/** Results of cheap reads: no table is read, so drift in tables does not show. */
export interface Stats {
  /** Unix time in milliseconds. */
  readonly time: number
  /** Duration of the reading. */
  readonly seconds: number
  /** Interfaces that run a program of ours. */
  readonly interfaces: readonly InterfaceStatus[]
  readonly unknown: UnknownInterfaces
  /** Interfaces that the last apply attached to and that no longer run a program of ours. */
  readonly detached: readonly string[]
  readonly lists: readonly ListStatus[]
  readonly anomalies: readonly AnomalyStatus[]
  readonly rate_limits: readonly RateStatus[]
  /** Packets that observed bans would have dropped; undefined: nothing is applied, or the build in force does not count it. */
  readonly observed_bans: Count | undefined
  /** undefined: the policy protects no ports. */
  readonly syn_protection?: SynStatus | undefined
  readonly services: readonly ServiceStatus[]
  /** Empty if nothing is applied. */
  readonly fill: readonly Fill[]
  readonly memory: Memory
  readonly program: Status['program']
  readonly generation: number
  /** ISO 8601, UTC; undefined = nothing applied. */
  readonly committed_at: string | undefined
  readonly drifted: Status['drifted']
  /** The live policy waits for its confirmation. */
  readonly pending: PendingConfirmation | undefined
}

/** The config on disk. */
export interface ConfigFacts {
  readonly path: string
  /** Over the file and everything it names; undefined if one of them cannot be read. */
  readonly sha256: string | undefined
  /** Modification time of the file, Unix time in seconds; undefined if the file is missing. */
  readonly modifiedAt: number | undefined
  /** Whether it can be applied. */
  readonly valid: boolean
}

/** The files of one list. */
export interface FeedFacts {
  readonly list: string
  /** Timestamp in the oldest file, else its modification time; Unix time in seconds. */
  readonly updatedAt: number
  /** Maximum age of a file in seconds; undefined = any age. */
  readonly maxAge: number | undefined
  readonly entries: number
  /** Number of lines skipped because they are not entries. */
  readonly skipped: number
}

/** Facts from outside the kernel; an absent fact has no metrics. */
export interface Surroundings {
  readonly config?: ConfigFacts
  readonly feeds?: readonly FeedFacts[]
  readonly copies?: readonly CopyFacts[]
  readonly reconcile?: ReconcileFacts
  /** Keys of all objects that differ from the record of the last apply, tables included; replaces `Stats.drifted`. */
  readonly drifted?: readonly string[]
  readonly checks?: CheckFacts | undefined
}

/** The facts of a config's feeds, one for each list; a list of several feeds is as old as its oldest file. */
export function feedFacts(feeds: readonly Feed[]): FeedFacts[] {
  const byList = new Map<string, FeedFacts>()
  for (const { list, files, maxAge } of feeds) {
    const known = byList.get(list)
    const ages = [known?.maxAge, maxAge].filter((age) => age !== undefined)
    byList.set(list, {
      list,
      updatedAt: Math.min(known?.updatedAt ?? Number.POSITIVE_INFINITY, ...files.map(({ updatedAt }) => updatedAt)),
      maxAge: ages.length > 0 ? Math.min(...ages) : undefined,
      entries: files.reduce((sum, { entries }) => sum + entries, known?.entries ?? 0),
      skipped: files.reduce((sum, { skipped }) => sum + skipped, known?.skipped ?? 0),
    })
  }
  return [...byList.values()]
}

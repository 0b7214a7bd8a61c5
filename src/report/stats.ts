// What counters and gauges tell: one look at the kernel, and what only a running watcher or the config knows beside it.

import type { Feed } from '../model/desired.ts'
import type { InterfaceStatus, ListStatus, ServiceStatus, Status } from './result.ts'
import type { CheckFacts, ReconcileFacts } from './watch.ts'

/** Something that holds only so much: interfaces, lists, bans, flows with a packet in the last five minutes … */
export interface Fill {
  readonly name: string
  readonly used: number
  readonly capacity: number
}

/** Bytes of kernel memory: the live generation with its tables and the balancer's maps, the counters and records, the bans. */
export interface Memory {
  readonly policy: number
  readonly counters: number
  readonly bans: number
}

/** What is cheap to see: no table is read, so drift in them does not show. */
export interface Stats {
  /** Unix time in milliseconds. */
  readonly time: number
  /** How long reading took. */
  readonly seconds: number
  /** Those that run a program of ours. */
  readonly interfaces: readonly InterfaceStatus[]
  /** Interfaces that the last apply attached to and that run no program of ours any more. */
  readonly detached: readonly string[]
  readonly lists: readonly ListStatus[]
  readonly services: readonly ServiceStatus[]
  /** Empty where nothing is applied. */
  readonly fill: readonly Fill[]
  readonly memory: Memory
  readonly program: Status['program']
  readonly generation: number
  /** ISO 8601, UTC; undefined = nothing applied. */
  readonly committed_at: string | undefined
  readonly drifted: Status['drifted']
}

/** The config as it is on disk. */
export interface ConfigFacts {
  readonly path: string
  /** Over the file and all it names; undefined where it cannot be read. */
  readonly sha256: string | undefined
  /** When the file was last written, Unix time in seconds; undefined where it is not there. */
  readonly modifiedAt: number | undefined
  /** Whether it can be applied. */
  readonly valid: boolean
}

/** The files of one list. */
export interface FeedFacts {
  readonly list: string
  /** Of the oldest file: its own timestamp, else when it was last written; Unix time in seconds. */
  readonly updatedAt: number
  /** Seconds; undefined = files may be of any age. */
  readonly maxAge: number | undefined
  readonly entries: number
  /** Lines that are no entries and were skipped. */
  readonly skipped: number
}

/** What is known beside the kernel; what is absent has no metrics. */
export interface Surroundings {
  readonly config?: ConfigFacts
  readonly feeds?: readonly FeedFacts[]
  readonly reconcile?: ReconcileFacts
  /** Keys of all objects that differ from what the last apply recorded, tables included; replaces `Stats.drifted`. */
  readonly drifted?: readonly string[]
  readonly checks?: CheckFacts | undefined
}

/** What the feeds of a config tell, one for each list; a list of several feeds is as old as its oldest file. */
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

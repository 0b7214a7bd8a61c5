// Sources in the network: fetches each when its time has come, and keeps its copy. A new copy is an edit of a file that the
// config names, so the loop applies it like any other edit; nothing here touches the policy.

import type { Remote } from '../config/text/remote.ts'
import { type Diagnostic, XdpError } from '../diagnostics.ts'
import { fetchSource, type Group, groupsOf, periodOf } from '../fetch/fetch.ts'
import type { Store } from '../fetch/store.ts'
import type { CopyFacts, Fetched } from '../report/fetch.ts'
import type { WatchEvent } from '../report/watch.ts'
import { createQueue } from './time/queue.ts'
import { createAlarm, type Scheduler } from './time/scheduler.ts'

export interface Sources {
  /** The config names these sources from now on. */
  readonly follow: (remotes: readonly Remote[]) => void
  /** Fetches those that have no copy; resolves when each was tried. */
  readonly fill: (remotes: readonly Remote[]) => Promise<void>
  /** The copies of the followed sources. */
  readonly facts: () => readonly CopyFacts[]
  readonly close: () => Promise<void>
}

export interface SourcesPorts {
  readonly scheduler: Scheduler
  readonly store: Store
  /** Unix time in milliseconds. */
  readonly clock: () => number
  /** From 0 to 1. */
  readonly random: () => number
  readonly emit: (event: WatchEvent) => void
  /** Ends a `fill`. */
  readonly signal: AbortSignal | undefined
  /** Fetches one source; replaced in tests. */
  readonly fetch?: typeof fetchSource
}

/** Milliseconds before the first repetition of a failed fetch. */
const RETRY = 60_000
/** Hosts with the same config must not ask a server in the same second: a period is this share shorter or longer. */
const JITTER = 0.1
/** Bounds of a fetch that the start of the daemon waits for. */
const HURRIED = { idleMs: 10_000, totalMs: 30_000 }

interface Followed {
  group: Group
  /** Time of the next fetch, by the scheduler. */
  due: number
}

/** A failure is a warning for the daemon: the policy in force stays. */
const warningOf = (problem: Diagnostic): Diagnostic =>
  problem.code === 'E264' ? { ...problem, code: 'W262', severity: 'warning' } : problem

export function followSources(ports: SourcesPorts): Sources {
  const { scheduler, store, clock, random, emit, fetch = fetchSource } = ports
  const closing = new AbortController()
  const signal = ports.signal ? AbortSignal.any([ports.signal, closing.signal]) : closing.signal
  const followed = new Map<string, Followed>()
  const queue = createQueue()
  const jittered = (ms: number): number => ms * (1 - JITTER + 2 * JITTER * random())

  /** Milliseconds until the next fetch. */
  const pauseAfter = (group: Group, { outcome, validMs, path }: Fetched): number => {
    const period = periodOf(group, validMs)
    if (outcome !== 'failed') return jittered(period)
    const failures = store.note(path)?.failures ?? 1
    return Math.max(
      validMs ?? 0,
      jittered(Math.min(periodOf(group, undefined), RETRY * 2 ** Math.min(failures - 1, 20))),
    )
  }

  const report = ({ outcome, source, lists, prefixes, problem }: Fetched): void => {
    if (closing.signal.aborted) return
    if (problem) emit({ event: 'warning', warnings: [warningOf(problem)] })
    else if (outcome !== 'unchanged') emit({ event: 'fetched', source, lists, outcome, prefixes })
  }

  const fetchNow = async (group: Group, bounds?: typeof HURRIED): Promise<void> => {
    const known = followed.get(group[0].path)
    let pause = jittered(RETRY)
    try {
      const result = await fetch(group, { store, clock, signal, ...(bounds && { bounds }) })
      report(result)
      pause = pauseAfter(group, result)
    } catch (error) {
      if (!(error instanceof XdpError)) throw error
      emit({ event: 'trouble', what: error.diagnostics[0]?.message ?? error.message })
    }
    if (known) known.due = scheduler.now() + pause
  }

  const work = async (): Promise<void> => {
    for (const { group, due } of followed.values()) {
      if (!closing.signal.aborted && due <= scheduler.now()) await fetchNow(group)
    }
    arm()
  }
  const alarm = createAlarm(scheduler, () => queue.add(work))
  const arm = (): void => {
    const next = Math.min(...[...followed.values()].map(({ due }) => due))
    if (closing.signal.aborted || next === Number.POSITIVE_INFINITY) alarm.clear()
    else alarm.set(Math.max(0, next - scheduler.now()))
  }

  /** Time of the first fetch: a restart of the daemon is no reason to ask a server again. */
  const firstDue = (group: Group): number => {
    const { path } = group[0]
    const note = store.note(path)
    if (note === undefined || store.content(path) === undefined) return scheduler.now()
    const age = clock() - note.checkedAt * 1000
    const pause = note.failures > 0 ? RETRY : jittered(periodOf(group, undefined))
    return scheduler.now() + Math.max(0, pause - Math.max(0, age))
  }

  return {
    follow(remotes) {
      const groups = new Map(groupsOf(remotes).map((group) => [group[0].path, group]))
      for (const path of followed.keys()) if (!groups.has(path)) followed.delete(path)
      for (const [path, group] of groups) {
        const known = followed.get(path)
        if (known) known.group = group
        else followed.set(path, { group, due: firstDue(group) })
      }
      arm()
    },
    async fill(remotes) {
      const missing = groupsOf(remotes).filter(([{ path }]) => store.content(path) === undefined)
      await Promise.all(missing.map((group) => fetchNow(group, HURRIED)))
    },
    facts: () => store.all().filter(({ path }) => followed.has(path)),
    async close() {
      closing.abort()
      alarm.clear()
      await queue.close()
    },
  }
}

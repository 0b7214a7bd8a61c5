// The daemon's health checks: runs them for the live services and writes the results into the kernel. The bytes written
// belong to the slots of one generation, and any apply, by this daemon or by another process, may change the slots.

import { bytesOfSlots, decodeOverlay } from '../abi/health.ts'
import type { KeptStandings, StandingsFile } from '../kernel/host/standings.ts'
import type { HealthMap } from '../kernel/live/health.ts'
import type { Desired } from '../model/desired.ts'
import type { Served } from '../model/live.ts'
import type { HealthSummary, WatchEvent } from '../report/watch.ts'
import type { HealthCounters } from './health/counters.ts'
import type { Probe } from './health/loop.ts'
import { type BackendReport, type HealthEvent, HealthMonitor } from './health/monitor.ts'
import { makeProbe } from './health/probes/probe.ts'
import { HealthPublisher } from './health/publish.ts'
import { targetsOf } from './health/targets.ts'
import { createQueue } from './time/queue.ts'
import { createAlarm, type Scheduler } from './time/scheduler.ts'
import { checkThroughVips, type VipChecksPorts } from './vip-checks.ts'

/** Most backends that a summary lists as down. */
const MOST_LISTED = 100
/** Collects changes for this many milliseconds, so that a thousand backends going down make one summary. */
const REPORT_GAP = 200
/** Milliseconds before another attempt to read the health map. */
const AGAIN = 1000
/** Milliseconds from a changed standing to its record, and at most between two records, which have an age. */
const RECORD_GAP = 250
const RECORD_EVERY = 60_000

export interface Checks {
  /** Checks these live services from now on, as `desired` says. */
  readonly serve: (served: Served, desired: Desired) => void
  /** Backends whose last check failed, by backendSlotKey. */
  readonly failing: () => ReadonlySet<string>
  /** undefined: no service has been live yet. */
  readonly counters: () => (HealthCounters & { readonly writes: number }) | undefined
  readonly close: () => Promise<void>
}

export interface ChecksPorts {
  readonly scheduler: Scheduler
  readonly map: HealthMap
  /** Where the standings of backends are kept for the next daemon; undefined: nowhere. */
  readonly standings?: StandingsFile
  readonly emit: (event: WatchEvent) => void
  readonly onSummary: (health: HealthSummary | undefined) => void
  /** The live services are no longer the ones last given to `serve`: the daemon must observe and serve the new ones. */
  readonly onStale: () => void
  readonly probe?: Probe
  /** Opens the path of checks through VIPs; undefined: there are none. */
  readonly openPath?: VipChecksPorts['open']
  readonly random?: () => number
  /** Wall clock, in milliseconds. */
  readonly clock: () => number
}

export function summaryOf(reports: readonly BackendReport[], clock: () => number): HealthSummary | undefined {
  if (reports.length === 0) return undefined
  const down = reports.filter(({ state }) => state === 'down')
  const since = (forMs: number): string => new Date(Math.round((clock() - forMs) / 1000) * 1000).toISOString()
  const backends = down.slice(0, MOST_LISTED).map(({ service, backend, forMs, reason }) => ({
    service,
    backend,
    since: forMs === undefined ? undefined : since(forMs),
    reason,
  }))
  return { checked: reports.length, down: down.length, backends }
}

function eventOf(event: HealthEvent): WatchEvent {
  if (event.kind === 'service') {
    const { service, mode, isFallback, healthy, needed } = event
    return { event: 'service-health', service, mode, isFallback, healthy, needed }
  }
  const { service, backend } = event
  if (event.kind === 'unknown') {
    return { event: 'trouble', what: `service ${service}: cannot check ${backend}: ${event.reason}` }
  }
  return event.up
    ? { event: 'backend-up', service, backend }
    : { event: 'backend-down', service, backend, reason: event.reason }
}

export function runChecks(ports: ChecksPorts): Checks {
  const { scheduler, map, standings, emit, onSummary, onStale, clock, random = Math.random } = ports
  const { probe: direct = makeProbe(scheduler.now), openPath } = ports
  const onTrouble = (why: string): void =>
    emit({ event: 'trouble', what: `cannot check backends through VIPs: ${why}` })
  const vips = openPath && checkThroughVips({ scheduler, open: openPath, onTrouble }, direct)
  const probe: Probe = vips?.probe ?? direct
  const queue = createQueue()
  let newest: { readonly served: Served; readonly desired: Desired } | undefined
  let monitor: HealthMonitor | undefined
  let isClosed = false
  const again = createAlarm(scheduler, onStale)
  const report = createAlarm(scheduler, () => onSummary(summaryOf(monitor?.report() ?? [], clock)))
  const record = createAlarm(scheduler, () => {
    record.set(RECORD_EVERY)
    recordNow()
  })
  const recordNow = (): void => {
    const known = monitor?.standings()
    if (standings && known) queue.add(() => standings.write(known))
  }
  let isRecording = false
  const soon = createAlarm(scheduler, () => {
    isRecording = false
    record.set(0)
  })
  const publisher = new HealthPublisher({
    scheduler,
    onSuperseded: onStale,
    onError: (error) => emit({ event: 'trouble', what: `cannot write health to the kernel: ${firstLine(error)}` }),
  })

  const begin = (restored: ReturnType<typeof decodeOverlay>, kept: KeptStandings): HealthMonitor =>
    new HealthMonitor({
      scheduler,
      probe,
      random,
      restored,
      kept,
      onStanding() {
        if (!standings || isRecording) return
        isRecording = true
        soon.set(RECORD_GAP)
      },
      onOverlay: (changed) => publisher.publish(changed),
      onEvent(event) {
        emit(eventOf(event))
        report.set(REPORT_GAP)
      },
    })

  const retarget = async (served: Served, desired: Desired): Promise<void> => {
    const { services, slots, leaving, generation } = served
    const { health } = desired
    if (services.size === 0 && !monitor) return
    await vips?.follow(served, desired)
    const bytes = await map.read(services.size === 0 ? [] : bytesOfSlots(slots))
    if (isClosed) return
    const isReachable = ({ nextHop }: { readonly nextHop: unknown }): boolean => nextHop !== undefined
    if (!monitor) {
      const kept = (await standings?.read()) ?? new Map()
      if (isClosed) return
      monitor = begin(decodeOverlay(bytes, slots), kept)
      record.set(RECORD_EVERY)
    }
    // Later overlays are for the new slots.
    publisher.retarget(undefined, new Map())
    monitor.update(targetsOf({ services: services.values(), health, isReachable, leaving }))
    const write = (wanted: typeof bytes) => map.write(generation, wanted)
    publisher.retarget(services.size === 0 ? undefined : { slots, bytes, write }, monitor.overlay())
    report.set(0)
  }

  return {
    serve(served, desired) {
      const isQueued = newest !== undefined
      newest = { served, desired }
      if (isQueued) return
      queue.add(async () => {
        const one = newest
        newest = undefined
        if (!one || isClosed) return
        await retarget(one.served, one.desired).catch((error: unknown) => {
          emit({ event: 'trouble', what: `cannot read health from the kernel: ${firstLine(error)}` })
          again.set(AGAIN)
        })
      })
    },
    failing: () => monitor?.failing() ?? new Set(),
    counters: () => monitor && { ...monitor.counters(), writes: publisher.writes },
    async close() {
      isClosed = true
      for (const alarm of [again, report, record, soon]) alarm.clear()
      recordNow()
      monitor?.stop()
      await queue.close()
      await vips?.close()
      publisher.retarget(undefined, new Map())
      await publisher.settled()
    },
  }
}

const firstLine = (error: unknown): string =>
  (error instanceof Error ? error.message : String(error)).split('\n')[0] ?? ''

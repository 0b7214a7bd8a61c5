// The health monitor: runs every check on its schedule, turns results into standings and standings into overlays, and
// reports changes. It knows neither the kernel nor the config: `update` sets the targets, `onOverlay` receives the
// bytes to write. Clock, probes and randomness are injected.
//
// Invariants: a backend that an update does not change keeps its standing and its schedule; a backend without results
// gets traffic; a changed standing is in an overlay at most FLUSH_GAP later.

import { createHash } from 'node:crypto'
import type { KeptStanding, KeptStandings } from '../../kernel/host/standings.ts'
import type { HealthCheck } from '../../model/health.ts'
import type { Overlay, ServiceMode, ServiceOverlay } from '../../model/overlay.ts'
import type { Scheduler } from '../time/scheduler.ts'
import { type Composition, compose, type Member } from './compose.ts'
import { Counting, type HealthCounters } from './counters.ts'
import { Gate } from './gate.ts'
import { CheckLoop, type LoopContext, type Probe, type Subject } from './loop.ts'
import { isSameCheck } from './same.ts'
import { FRESH, type Result, type Standing, unproven, weigh } from './standing.ts'
import type { BackendTarget, ServiceTarget, Targets } from './targets.ts'
import { Timeline } from './timeline.ts'

/** A change to log. */
export type HealthEvent =
  | ({ readonly kind: 'backend'; readonly up: boolean; readonly reason: string | undefined } & Subject)
  /** A check cannot run, so it says nothing about the backend. Emitted for the first of such results in a row. */
  | ({ readonly kind: 'unknown'; readonly reason: string } & Subject)
  /** `isFallback`: fewer are healthy than needed. */
  | {
      readonly kind: 'service'
      readonly service: string
      readonly mode: ServiceMode
      readonly isFallback: boolean
      readonly healthy: number
      readonly needed: number
    }

export interface MonitorOptions {
  readonly scheduler: Scheduler
  readonly probe: Probe
  /** From 0 to below 1. */
  readonly random: () => number
  /** The overlay in the kernel when the daemon started; backends missing from it count as up. */
  readonly restored?: Overlay
  /** What the daemon before knew of these backends. */
  readonly kept?: KeptStandings
  /** A standing changed that `standings` returns. */
  readonly onStanding?: () => void
  /** Receives the new and changed overlays. */
  readonly onOverlay: (changed: Overlay) => void
  readonly onEvent: (event: HealthEvent) => void
}

/** The health of a backend, for status and metrics. */
export interface BackendReport extends Subject {
  /** `unknown`: no check has ended yet; the backend counts as up, or as it was restored. */
  readonly state: 'up' | 'down' | 'unknown'
  /** The part of its weight in effect now, 0 to 1. */
  readonly share: number
  /** Milliseconds since it went up or down; undefined: it has not changed. */
  readonly forMs: number | undefined
  /** Why the last check failed or could not run; undefined: it passed, or there was none. */
  readonly reason: string | undefined
  readonly checks: number
  readonly failures: number
}

/** Most checks that hold a socket at a time. */
export const MOST_CONNECTIONS = 2048
/** Most checks that run a command at a time. */
export const MOST_COMMANDS = 32
/** Milliseconds between steps of a slow start. */
const RAMP_STEP = 250
/** Least milliseconds between flushes, so that a thousand dying backends do not make a thousand. */
const FLUSH_GAP = 10

interface BackendState {
  target: BackendTarget
  standing: Standing
  loop: CheckLoop | undefined
  last: Result | undefined
  checks: number
  failures: number
}

interface ServiceState {
  target: ServiceTarget
  readonly backends: Map<string, BackendState>
  composition: Composition | undefined
  isRamping: boolean
}

export class HealthMonitor {
  readonly #options: MonitorOptions
  readonly #timeline: Timeline
  readonly #counting = new Counting()
  readonly #connections: LoopContext
  readonly #commands: LoopContext
  readonly #services = new Map<string, ServiceState>()
  /** Services to compose again at the next flush; a flush is planned while there are any. */
  readonly #stale = new Set<string>()
  #flushedAt = Number.NEGATIVE_INFINITY
  #restored: Overlay | undefined
  #kept: KeptStandings | undefined

  constructor(options: MonitorOptions) {
    this.#options = options
    this.#restored = options.restored
    this.#kept = options.kept
    this.#timeline = new Timeline(options.scheduler)
    const { probe, random } = options
    const common = { timeline: this.#timeline, counting: this.#counting, probe, random }
    this.#connections = { ...common, gate: new Gate(MOST_CONNECTIONS) }
    this.#commands = { ...common, gate: new Gate(MOST_COMMANDS) }
  }

  /** Checks these targets from now on. Spreads the first checks of new backends over one interval. */
  update(targets: Targets): void {
    const fresh: { readonly state: BackendState; readonly subject: Subject }[] = []
    for (const [name, service] of this.#services) if (!targets.has(name)) this.#dropService(name, service)
    for (const [name, target] of targets) {
      const service = this.#services.get(name) ?? {
        target,
        backends: new Map(),
        composition: undefined,
        isRamping: false,
      }
      this.#services.set(name, service)
      service.target = target
      for (const [key, { loop }] of service.backends) {
        if (target.backends.has(key)) continue
        loop?.stop()
        service.backends.delete(key)
      }
      for (const [key, wanted] of target.backends) {
        const state = this.#adopt(name, service, key, wanted)
        if (state.target.check && !state.loop) fresh.push({ state, subject: { service: name, backend: key } })
      }
      this.#stale.add(name)
    }
    this.#restored = undefined
    this.#kept = undefined
    const now = this.#timeline.now()
    for (const [i, { state, subject }] of fresh.entries()) {
      const check = state.target.check as HealthCheck
      this.#startLoop(state, check, subject, now + (check.intervalMs * i) / fresh.length)
    }
    this.#flush()
  }

  /** The current overlay of every service. */
  overlay(): Overlay {
    return new Map([...this.#services].map(([name, { composition }]) => [name, (composition as Composition).overlay]))
  }

  counters(): HealthCounters {
    return this.#counting.read()
  }

  /** Reports every backend that has a check. */
  report(): BackendReport[] {
    const now = this.#timeline.now()
    return [...this.#services].flatMap(([service, { backends, composition }]) =>
      [...backends].flatMap(([backend, { target, standing, last, checks, failures }]) => {
        if (!target.check) return []
        const state = standing.proven ? (standing.up ? 'up' : 'down') : 'unknown'
        const forMs = Number.isFinite(standing.since) ? now - standing.since : undefined
        const share = composition?.overlay.shares.get(backend) ?? 1
        const reason = last && last.outcome !== 'good' ? last.reason : undefined
        return [{ service, backend, state, share, forMs, reason, checks, failures } as const]
      }),
    )
  }

  /** What is known of backends with a check, for the next daemon. */
  standings(): KeptStandings {
    const found = new Map<string, KeptStanding>()
    for (const [service, { backends }] of this.#services) {
      for (const [backend, { target, standing }] of backends) {
        const { up, proven, against } = standing
        if (target.check && proven) found.set(`${service}/${backend}`, { up, against, check: identityOf(target.check) })
      }
    }
    return found
  }

  /** Backends whose last check failed, by `SERVICE/BACKEND`. */
  failing(): Set<string> {
    const keys = new Set<string>()
    for (const [service, { backends }] of this.#services) {
      for (const [backend, { last }] of backends) if (last?.outcome === 'bad') keys.add(`${service}/${backend}`)
    }
    return keys
  }

  /** Ends every check. Emits nothing afterwards. */
  stop(): void {
    for (const [name, service] of this.#services) this.#dropService(name, service)
    this.#timeline.clear()
  }

  #dropService(name: string, { backends }: ServiceState): void {
    for (const { loop } of backends.values()) loop?.stop()
    this.#services.delete(name)
    this.#stale.delete(name)
  }

  /** Moves a backend to its new target, and keeps its state as far as the check is unchanged. */
  #adopt(name: string, service: ServiceState, key: string, wanted: BackendTarget): BackendState {
    const known = service.backends.get(key)
    if (!known) {
      const standing = this.#standingOf(name, key, wanted)
      const state: BackendState = { target: wanted, standing, loop: undefined, last: undefined, checks: 0, failures: 0 }
      service.backends.set(key, state)
      return state
    }
    // The file has no check for a leaving backend, so its last one goes on.
    const check = wanted.leaving ? known.target.check : wanted.check
    if (!isSameCheck(check, known.target.check)) {
      known.loop?.stop()
      known.loop = undefined
      known.last = undefined
      known.standing = check ? unproven(known.standing) : FRESH
    }
    // Keeps the object that the running loop holds.
    known.target = { ...wanted, check: known.loop ? known.target.check : check }
    return known
  }

  #standingOf(name: string, key: string, { check, leaving }: BackendTarget): Standing {
    const share = this.#restored?.get(name)?.shares.get(key) ?? 1
    const kept = this.#kept?.get(`${name}/${key}`)
    // The kernel decides: without a daemon, an apply marks all backends as up.
    const known = kept && check && kept.check === identityOf(check) && kept.up === share > 0 ? kept : undefined
    if (!(check || leaving)) return FRESH
    if (share >= 1) return known ? { ...FRESH, proven: true, against: known.against } : FRESH
    if (share <= 0) return { ...FRESH, up: false, proven: true, against: known?.against ?? 0 }
    if (!check) return FRESH
    const since = this.#timeline.now() - share * check.slowStartMs
    return { ...FRESH, proven: true, against: known?.against ?? 0, since }
  }

  #startLoop(state: BackendState, check: HealthCheck, subject: Subject, first: number): void {
    const context = check.type === 'exec' ? this.#commands : this.#connections
    state.loop = new CheckLoop(context, check, subject, first, (result) => this.#record(state, check, subject, result))
  }

  #record(state: BackendState, check: HealthCheck, subject: Subject, result: Result): void {
    const { standing: before, last } = state
    state.last = result
    state.checks++
    if (result.outcome === 'bad') state.failures++
    state.standing = weigh(before, result, check, this.#timeline.now())
    const { onEvent, onStanding } = this.#options
    const { up, proven, against } = state.standing
    if (up !== before.up || proven !== before.proven || against !== before.against) onStanding?.()
    if (result.outcome === 'unknown' && last?.outcome !== 'unknown') {
      onEvent({ kind: 'unknown', ...subject, reason: result.reason })
    }
    if (state.standing.up === before.up) return
    const reason = result.outcome === 'good' ? undefined : result.reason
    onEvent({ kind: 'backend', ...subject, up: state.standing.up, reason })
    this.#renew(subject.service)
  }

  /** Plans to compose a service again, at most FLUSH_GAP from now. */
  #renew(name: string): void {
    const isPlanned = this.#stale.size > 0
    this.#stale.add(name)
    if (!isPlanned) this.#timeline.at(this.#flushedAt + FLUSH_GAP, () => this.#flush())
  }

  #flush(): void {
    this.#flushedAt = this.#timeline.now()
    const names = [...this.#stale]
    this.#stale.clear()
    const changed = new Map<string, ServiceOverlay>()
    for (const name of names) {
      const service = this.#services.get(name)
      const overlay = service && this.#compose(name, service)
      if (overlay) changed.set(name, overlay)
    }
    if (changed.size > 0) this.#options.onOverlay(changed)
  }

  /** Composes a service. Returns its overlay if it changed. */
  #compose(name: string, service: ServiceState): ServiceOverlay | undefined {
    const { target, backends, composition: before } = service
    const members = new Map<string, Member>(backends)
    const after = compose(target, members, before?.kept, this.#timeline.now())
    service.composition = after
    this.#reportMode(name, before, after)
    if (after.ramping && !service.isRamping) {
      service.isRamping = true
      this.#timeline.at(this.#timeline.now() + RAMP_STEP, () => {
        service.isRamping = false
        if (this.#services.get(name) === service) this.#renew(name)
      })
    }
    return before && isSameOverlay(before.overlay, after.overlay) ? undefined : after.overlay
  }

  #reportMode(service: string, before: Composition | undefined, after: Composition): void {
    const { overlay, healthy, needed } = after
    const { mode } = overlay
    const isFallback = healthy < needed
    const was = before && { mode: before.overlay.mode, isFallback: before.healthy < before.needed }
    const isNews = was ? was.mode !== mode || was.isFallback !== isFallback : mode !== 'well' || isFallback
    if (isNews) this.#options.onEvent({ kind: 'service', service, mode, isFallback, healthy, needed })
  }
}

const identities = new WeakMap<HealthCheck, string>()

/** Equal for equal checks, in every process. */
function identityOf(check: HealthCheck): string {
  const known = identities.get(check)
  if (known !== undefined) return known
  const identity = createHash('sha256').update(JSON.stringify(check)).digest('base64url').slice(0, 16)
  identities.set(check, identity)
  return identity
}

function isSameOverlay(a: ServiceOverlay, b: ServiceOverlay): boolean {
  if (a.mode !== b.mode || a.shares.size !== b.shares.size) return false
  for (const [key, share] of a.shares) if (b.shares.get(key) !== share) return false
  return true
}

// Backends that a test starts and stops, and a monitor that checks them on the test's clock.

import type { HealthCheck, ServiceHealth, TcpCheck } from '../../src/model/health.ts'
import type { Overlay, ServiceOverlay } from '../../src/model/overlay.ts'
import { parseAddress } from '../../src/model/text.ts'
import type { Probe, Subject } from '../../src/watch/health/loop.ts'
import { type HealthEvent, HealthMonitor } from '../../src/watch/health/monitor.ts'
import { bad, GOOD, unknown } from '../../src/watch/health/standing.ts'
import type { BackendTarget, ServiceTarget, Targets } from '../../src/watch/health/targets.ts'
import { FakeTimer } from './timer.ts'

export const check = (more: Partial<TcpCheck> = {}): TcpCheck => ({
  type: 'tcp',
  address: parseAddress('10.0.0.1') as TcpCheck['address'],
  port: 80,
  intervalMs: 2000,
  jitterMs: 0,
  timeoutMs: 1000,
  rise: 2,
  fall: 3,
  slowStartMs: 0,
  ...more,
})

export const backend = (more: Partial<BackendTarget> = {}): BackendTarget => ({
  check: check(),
  active: true,
  backup: false,
  reachable: true,
  leaving: false,
  ...more,
})

/** A service with one backend for each name. */
export const service = (
  backends: Readonly<Record<string, BackendTarget>>,
  more: Partial<Pick<ServiceHealth, 'minHealthy' | 'fallback'>> = {},
): ServiceTarget => ({
  minHealthy: { kind: 'count', value: 1 },
  fallback: 'keep_last',
  ...more,
  backends: new Map(Object.entries(backends)),
})

/** The answer of a backend. `silent`: never; `broken`: the check cannot run. `latency` in milliseconds. */
export interface Answer {
  readonly how: 'good' | 'bad' | 'silent' | 'broken'
  readonly latency: number
}
export const GOOD_ANSWER: Answer = { how: 'good', latency: 1 }
export const BAD_ANSWER: Answer = { how: 'bad', latency: 1 }
export const SILENT: Answer = { how: 'silent', latency: 0 }
export const BROKEN: Answer = { how: 'broken', latency: 1 }

const RESULTS = { good: GOOD, bad: bad('refused'), broken: unknown('no ports') }

export interface Start extends Subject {
  readonly time: number
  readonly check: HealthCheck
}

export class World {
  readonly timer = new FakeTimer()
  /** By backend name; others pass their checks. */
  readonly answers = new Map<string, Answer>()
  readonly starts: Start[] = []
  readonly events: HealthEvent[] = []
  /** Every overlay that the monitor reported, with its time. */
  readonly overlays: { readonly time: number; readonly changed: Overlay }[] = []
  running = 0
  random = (): number => 0
  readonly monitor: HealthMonitor

  constructor(restored?: Overlay) {
    this.monitor = new HealthMonitor({
      scheduler: this.timer,
      probe: this.#probe,
      random: () => this.random(),
      ...(restored ? { restored } : {}),
      onOverlay: (changed) => this.overlays.push({ time: this.timer.now(), changed }),
      onEvent: (event) => this.events.push(event),
    })
  }

  /** Updates the one service, `web`. */
  update(target: ServiceTarget): void {
    this.monitor.update(new Map([['web', target]]))
  }

  updateAll(targets: Targets): void {
    this.monitor.update(targets)
  }

  set(name: string, answer: Answer): void {
    this.answers.set(name, answer)
  }

  web(): ServiceOverlay {
    return this.monitor.overlay().get('web') as ServiceOverlay
  }

  /** Shares of `web` by name. */
  shares(): Record<string, number> {
    return Object.fromEntries(this.web().shares)
  }

  /** Starts of the checks of one backend. */
  startsOf(name: string): number[] {
    return this.starts.filter(({ backend: key }) => key === name).map(({ time }) => time)
  }

  /** The result depends on the backend at the time of the answer: it may die after the request. */
  readonly #probe: Probe = (check, subject, done) => {
    this.starts.push({ ...subject, check, time: this.timer.now() })
    this.running++
    const asked = this.answers.get(subject.backend) ?? GOOD_ANSWER
    if (asked.how === 'silent') return () => void this.running--
    const cancel = this.timer.after(asked.latency, () => {
      const { how } = this.answers.get(subject.backend) ?? GOOD_ANSWER
      if (how === 'silent') return
      this.running--
      done(RESULTS[how])
    })
    return () => {
      this.running--
      cancel()
    }
  }
}

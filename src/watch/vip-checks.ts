// Checks through VIPs, for the checks of the daemon: which backends have one, and the probe that makes them.

import type { CheckedBackend, CheckPath, CheckPathEvents } from '../kernel/live/check-path.ts'
import type { Desired } from '../model/desired.ts'
import type { HealthCheck } from '../model/health.ts'
import type { Served } from '../model/live.ts'
import { backendKey, backendSlotKey } from '../model/service.ts'
import type { Probe } from './health/loop.ts'
import { type Answer, remoteChecks } from './health/probes/remote.ts'
import { bad, unknown } from './health/standing.ts'
import { createAlarm, type Scheduler } from './time/scheduler.ts'

export interface VipChecks {
  readonly probe: Probe
  readonly follow: (served: Served, desired: Desired) => Promise<void>
  readonly close: () => Promise<void>
}

export interface VipChecksPorts {
  readonly scheduler: Scheduler
  readonly open: (events: CheckPathEvents) => CheckPath
  /** Checks through VIPs cannot be made, for this reason. Called once for equal reasons in a row. */
  readonly onTrouble: (reason: string) => void
}

/** Milliseconds before another attempt. */
const AGAIN = 5000

export const isThroughVip = (check: HealthCheck | undefined): boolean =>
  check !== undefined && check.type !== 'exec' && check.via === 'vip'

/**
 * The backends with such a check. One that is leaving keeps its last check.
 *
 * @param before backendSlotKeys of the last time
 */
export function checkedBackends(
  { services, leaving }: Pick<Served, 'services' | 'leaving'>,
  { health }: Pick<Desired, 'health'>,
  before: ReadonlySet<string>,
): CheckedBackend[] {
  const found = [...services.values()].flatMap((service) => {
    const checks = health.get(service.name)?.checks
    return service.backends
      .filter((backend) => backend.state !== 'disabled' && isThroughVip(checks?.get(backendKey(backend))))
      .map((backend) => ({ service, backend }))
  })
  const gone = leaving.flatMap(({ service: name, backend }) => {
    const service = services.get(name)
    return service && before.has(backendSlotKey(name, backend)) ? [{ service, backend }] : []
  })
  return [...found, ...gone]
}

/** `direct` makes all other checks. */
export function checkThroughVips(ports: VipChecksPorts, direct: Probe): VipChecks {
  const { scheduler, open, onTrouble } = ports
  let wanted: readonly CheckedBackend[] = []
  let keys: ReadonlySet<string> = new Set()
  let trouble: string | undefined
  let isClosed = false
  const again = createAlarm(scheduler, () => void apply())
  const path = open({
    onMessage: (message) => remote.hear(message as Answer),
    onEnd() {
      remote.lose('the process that makes checks through VIPs has ended')
      if (!isClosed) again.set(0)
    },
  })
  const remote = remoteChecks(path.send)
  let running = Promise.resolve()
  const apply = (): Promise<void> => {
    running = running.then(async () => {
      if (isClosed) return
      try {
        await path.follow(wanted)
        trouble = undefined
      } catch (error) {
        const reason = (error instanceof Error ? error.message : String(error)).split('\n')[0] ?? ''
        if (reason !== trouble) onTrouble(reason)
        trouble = reason
        again.set(AGAIN)
      }
    })
    return running
  }
  return {
    probe(check, subject, done) {
      if (!isThroughVip(check)) return direct(check, subject, done)
      const source = path.sourceOf(`${subject.service}/${subject.backend}`)
      if ('address' in source) return remote.start(check, subject, source, done)
      done(source.isFault ? bad(source.reason) : unknown(source.reason))
      return () => undefined
    },
    async follow(served, desired) {
      wanted = checkedBackends(served, desired, keys)
      keys = new Set(wanted.map(({ service, backend }) => backendSlotKey(service.name, backend)))
      await apply()
    },
    async close() {
      isClosed = true
      again.clear()
      await running
      await path.close()
    },
  }
}

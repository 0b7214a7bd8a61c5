// Joins live services with the checks of the file into the targets of the monitor. Pure.

import {
  DEFAULT_MIN_HEALTHY,
  defaultFallback,
  type Fallback,
  type HealthCheck,
  type MinHealthy,
  type ServiceHealth,
} from '../../model/health.ts'
import { type Backend, backendKey, type LeavingBackend, type Service, takesFlows } from '../../model/service.ts'

export interface BackendTarget {
  /** undefined: not checked, and counts as healthy. */
  readonly check: HealthCheck | undefined
  /** Whether the file lets it take new flows: active, with a weight. */
  readonly active: boolean
  /** Whether it stands in for others: it does not count for `minHealthy`. */
  readonly backup: boolean
  /** Whether its next hop is known. */
  readonly reachable: boolean
  /** No longer in the file; its last check goes on for as long as it keeps its flows. */
  readonly leaving: boolean
}

export interface ServiceTarget {
  readonly minHealthy: MinHealthy
  readonly fallback: Fallback
  /** By backendKey. */
  readonly backends: ReadonlyMap<string, BackendTarget>
}

/** By service name. */
export type Targets = ReadonlyMap<string, ServiceTarget>

export interface TargetSource {
  readonly services: Iterable<Service>
  /** By service name: Desired.health. */
  readonly health: ReadonlyMap<string, ServiceHealth>
  /** Whether the next hop of a backend is known. */
  readonly isReachable: (backend: Backend) => boolean
  readonly leaving: readonly LeavingBackend[]
}

/** A disabled backend gets no packets and needs no check; a draining one keeps flows and is checked. */
const checkOf = (backend: Backend, health: ServiceHealth | undefined): HealthCheck | undefined =>
  backend.state === 'disabled' ? undefined : health?.checks.get(backendKey(backend))

export function targetsOf({ services, health, isReachable, leaving }: TargetSource): Targets {
  const targets = new Map<string, ServiceTarget & { readonly backends: Map<string, BackendTarget> }>()
  for (const service of services) {
    const { name, backends } = service
    const checks = health.get(name)
    targets.set(name, {
      minHealthy: checks?.minHealthy ?? DEFAULT_MIN_HEALTHY,
      fallback: checks?.fallback ?? defaultFallback(service),
      backends: new Map(
        backends.map((backend) => [
          backendKey(backend),
          {
            check: checkOf(backend, checks),
            active: takesFlows(backend),
            backup: backend.backup,
            reachable: isReachable(backend),
            leaving: false,
          },
        ]),
      ),
    })
  }
  for (const { service, backend } of leaving) {
    const target = targets.get(service)
    const key = backendKey(backend)
    if (!target || target.backends.has(key)) continue
    const reachable = isReachable(backend)
    target.backends.set(key, { check: undefined, active: false, backup: backend.backup, reachable, leaving: true })
  }
  return targets
}

// The services in `xdp status`: the live ones, with counters and health.

import { bytesOfSlots, decodeOverlay } from '../../abi/health.ts'
import type { Paths } from '../../abi/paths.ts'
import type { Live, Served } from '../../model/live.ts'
import { type Backend, backendKey, backendSlotKey, type Service } from '../../model/service.ts'
import { formatAddress } from '../../model/text.ts'
import type { BackendStatus, ServiceStatus } from '../../report/result.ts'
import { readHealth } from '../live/health.ts'
import { type BalanceCounters, readBalanceCounters } from '../live/service-counters.ts'

/** The live services, with related facts from the tables. */
export type LiveServices = Served & Pick<Live, 'deadlines' | 'bootSeconds'>

/** A backend, and its role in its service. */
interface Standing {
  readonly backend: Backend
  readonly role: BackendStatus['role']
  /** When it loses its flows, in seconds of monotonic time; undefined = it keeps them. */
  readonly deadline: number | undefined
}

function standings(service: Service, live: LiveServices): Standing[] {
  const used = service.backends.map((backend): Standing => {
    const deadline = live.deadlines.get(backendSlotKey(service.name, backend))
    return { backend, role: backend.backup ? 'backup' : 'backend', deadline }
  })
  const leaving = live.leaving
    .filter((one) => one.service === service.name && one.deadline > live.bootSeconds)
    .map(({ backend, deadline }): Standing => ({ backend, role: 'leaving', deadline }))
  const sorry: Standing[] = service.sorry ? [{ backend: service.sorry, role: 'sorry', deadline: undefined }] : []
  return [...used, ...sorry, ...leaving]
}

const NO_BACKEND = { packets: 0, bytes: 0, flows: 0 }

function backendStatus(
  service: Service,
  { backend, role, deadline }: Standing,
  share: number,
  counters: BalanceCounters,
  live: LiveServices,
): BackendStatus {
  const slot = live.slots.backends.get(backendSlotKey(service.name, backend)) ?? -1
  const { packets, bytes, flows } = counters.backends.get(slot) ?? NO_BACKEND
  return {
    address: formatAddress(backend.address.family, backend.address.words),
    port: backend.port,
    weight: backend.weight,
    state: backend.state,
    role,
    health: share >= 1 ? 'up' : share <= 0 ? 'down' : 'starting',
    share,
    next_hop: backend.nextHop,
    drained_in: deadline === undefined ? undefined : Math.max(0, deadline - live.bootSeconds),
    packets,
    bytes,
    flows,
  }
}

/** Reads the counters and the health of the live services, sorted by name. */
export async function readServiceStatus(paths: Paths, live: LiveServices): Promise<readonly ServiceStatus[]> {
  const services = [...live.services.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
  if (services.length === 0) return []
  const [counters, health] = await Promise.all([
    readBalanceCounters(paths, live.generation, [...live.slots.services.values()], [...live.slots.backends.values()]),
    readHealth(paths, bytesOfSlots(live.slots)),
  ])
  const overlay = decodeOverlay(health, live.slots)
  return services.map((service): ServiceStatus => {
    const { mode = 'well', shares = new Map<string, number>() } = overlay.get(service.name) ?? {}
    const counts = counters.services.get(live.slots.services.get(service.name) ?? -1)
    return {
      service,
      mode,
      packets: counts?.packets ?? 0,
      bytes: counts?.bytes ?? 0,
      flows: counts?.flows ?? 0,
      hits: counts?.hits ?? 0,
      misses: counts?.misses ?? 0,
      limited: counts?.limited ?? 0,
      empty: counts?.empty ?? 0,
      unresolved: counts?.unresolved ?? 0,
      too_big: counts?.too_big ?? 0,
      replies: counts?.replies ?? 0,
      exhausted: counts?.exhausted ?? 0,
      icmp: counts?.icmp ?? 0,
      backends: standings(service, live).map((standing) =>
        backendStatus(service, standing, shares.get(backendKey(standing.backend)) ?? 1, counters, live),
      ),
    }
  })
}

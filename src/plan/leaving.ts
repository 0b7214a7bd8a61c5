// Backends that keep their flows but take no new ones, with a deadline: drained backends, and backends that left the
// file while their service stayed. None of it is a change: the plan mentions a backend when it leaves, and never again.

import { isPlainNat } from '../features/forwarding/forwarding.ts'
import type { Live } from '../model/live.ts'
import {
  type Backend,
  backendSlotKey,
  DRAIN_TIMEOUT,
  everyBackend,
  type LeavingBackend,
  type Service,
  slotKeysOf,
  takesFlows,
} from '../model/service.ts'
import type { State } from '../model/state.ts'
import { type Claim, claimsOf, claimsOn, isAmbiguous } from '../semantics/replies.ts'
import { addressText, hopFor } from './next-hops.ts'
import { keepsFlows } from './services.ts'

type Facts = Pick<Live, 'state' | 'leaving' | 'deadlines' | 'bootSeconds' | 'nextHops'>

/** When a drained backend loses its flows. An edited timeout counts from the start of the drain. */
function drainDeadline(key: string, service: Service, live: Facts): number | undefined {
  if (service.drainTimeout === undefined) return undefined
  const known = live.deadlines.get(key)
  const timeout = live.state.services.get(service.name)?.drainTimeout
  const began = known === undefined || timeout === undefined ? live.bootSeconds : known - timeout
  return Math.max(1, began + service.drainTimeout)
}

const isDrained = (backend: Backend): boolean => backend.state !== 'disabled' && !takesFlows(backend)

/**
 * By backendSlotKey: when the drained backends of a state lose their flows. A backend without a deadline keeps them.
 */
export function deadlinesOf({ services }: Pick<State, 'services'>, live: Facts): ReadonlyMap<string, number> {
  const found = [...services.values()].flatMap((service) =>
    service.backends.filter(isDrained).flatMap((backend) => {
      const key = backendSlotKey(service.name, backend)
      const deadline = drainDeadline(key, service, live)
      return deadline === undefined ? [] : [[key, deadline] as const]
    }),
  )
  return new Map(found)
}

/** The backends that leave with this plan. */
function newlyLeaving(before: Service, after: Service, live: Facts): LeavingBackend[] {
  if (before === after) return []
  const kept = new Set(slotKeysOf(after))
  const timeout = after.drainTimeout ?? DRAIN_TIMEOUT
  const keys = slotKeysOf(before)
  return everyBackend(before).flatMap((backend, i) => {
    const key = keys[i] as string
    if (kept.has(key) || backend.state === 'disabled' || backend.nextHop === undefined) return []
    const drained = live.deadlines.get(key) ?? Number.POSITIVE_INFINITY
    const deadline = Math.min(live.bootSeconds + timeout, drained)
    return [{ service: after.name, backend, deadline }]
  })
}

/** The claims of all services on replies, by key. */
function claimsByKey(services: Iterable<Service>): ReadonlyMap<string, readonly Claim[]> {
  const groups = new Map<string, Claim[]>()
  for (const claim of [...services].flatMap(claimsOf)) {
    const group = groups.get(claim.key)
    if (group === undefined) groups.set(claim.key, [claim])
    else group.push(claim)
  }
  return groups
}

/**
 * Ends a leaving backend at once if its replies could be confused with those of a backend in use: they would get a
 * wrong VIP.
 */
function withOwnReplies(leaving: readonly LeavingBackend[], services: State['services']): readonly LeavingBackend[] {
  if (leaving.length === 0) return leaving
  const claims = claimsByKey(services.values())
  return leaving.filter(({ service: name, backend }) => {
    const service = services.get(name)
    if (service === undefined || !isPlainNat(service)) return true
    return claimsOn(service, backend).every((own) =>
      (claims.get(own.key) ?? []).every((claim) => !isAmbiguous(claim, own)),
    )
  })
}

const keyOf = ({ service, backend }: LeavingBackend): string => backendSlotKey(service, backend)

/** The backend with the next hop that the kernel knows now, or else the last known one. */
const withHop = (backend: Backend, service: Service | undefined, { nextHops }: Facts): Backend => {
  const hop = nextHops.get(addressText(backend)) ?? backend.nextHop
  return { ...backend, nextHop: hopFor(service, backend, hop) }
}

/** Backends that left the file and keep their flows for a while, sorted. */
export function leavingOf({ services }: Pick<State, 'services'>, live: Facts): readonly LeavingBackend[] {
  if (live.state.services.size === 0) return []
  const staying = [...services.values()].flatMap((after) => {
    const before = live.state.services.get(after.name)
    return before !== undefined && keepsFlows(before, after) ? [{ before, after }] : []
  })
  const names = new Set(live.leaving.map(({ service }) => service))
  const used = new Map(
    staying.flatMap(({ after }) => (names.has(after.name) ? [[after.name, new Set(slotKeysOf(after))] as const] : [])),
  )
  const earlier = live.leaving.filter((one) => used.get(one.service)?.has(keyOf(one)) === false)
  const later = staying.flatMap(({ before, after }) => newlyLeaving(before, after, live))
  const found = [...earlier, ...later].filter(({ deadline }) => deadline > live.bootSeconds)
  return withOwnReplies(found, services)
    .map((one) => ({ ...one, backend: withHop(one.backend, services.get(one.service), live) }))
    .sort((left, right) => (keyOf(left) < keyOf(right) ? -1 : 1))
}

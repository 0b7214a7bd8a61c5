// Slots. A slot is the index of the counters of an interface, list, service or backend, and the number by which the
// balancer knows a backend or pool address. It belongs to the name as long as that is in the file (or the backend is
// leaving), so that counters and flows survive edits, generations and program updates.

import { fail } from '../diagnostics.ts'
import {
  BACKEND_SLOTS,
  FIRST_INTERFACE_SLOT,
  INTERFACE_SLOTS,
  LIST_SLOTS,
  POOL_SLOTS,
  RATE_LIMITS,
  SERVICE_SLOTS,
} from '../model/limits.ts'
import type { Live, Slots } from '../model/live.ts'
import { formatCount } from '../model/numbers.ts'
import { backendSlotKey, type LeavingBackend, slotKeysOf } from '../model/service.ts'
import type { State } from '../model/state.ts'
import { formatAddress } from '../model/text.ts'

/**
 * Keeps the slots of names that have one. The other names, sorted, get the lowest free slots. A slot that this plan
 * frees is reused only if no other is left, because the old generation counts in it until the switch. undefined: more
 * names than slots.
 */
function assign(
  names: readonly string[],
  taken: ReadonlyMap<string, number>,
  first: number,
  end: number,
): ReadonlyMap<string, number> | undefined {
  const slots = new Map<string, number>()
  const without: string[] = []
  for (const name of names) {
    const slot = taken.get(name)
    if (slot !== undefined) slots.set(name, slot)
    else without.push(name)
  }
  if (without.length === 0) return slots
  const kept = new Set(slots.values())
  const going = new Set([...taken.values()].filter((slot) => !kept.has(slot)))
  const every = Array.from({ length: end - first }, (_, index) => first + index)
  const free = every.filter((slot) => !kept.has(slot) && !going.has(slot))
  const reusable = every.filter((slot) => going.has(slot))
  const available = [...free, ...reusable].values()
  for (const name of without.sort()) {
    const { value, done } = available.next()
    if (done) return undefined
    slots.set(name, value)
  }
  return slots
}

/** Names of backends that have a slot: those of services, sorry backends, and leaving ones. */
function backendNames({ services }: State, leaving: readonly LeavingBackend[]): string[] {
  const used = [...services.values()].flatMap(slotKeysOf)
  return [...used, ...leaving.map(({ service, backend }) => backendSlotKey(service, backend))]
}

/** The addresses of all source pools, without duplicates. */
function poolNames({ services }: State): string[] {
  const pools = [...services.values()].flatMap(({ snatPool }) => snatPool)
  return [...new Set(pools.map(({ family, words }) => formatAddress(family, words)))]
}

const most = (what: string, wanted: number, possible: number): string =>
  `${formatCount(wanted)} ${what}; one instance can have ${formatCount(possible)}`

/**
 * The slots of everything in a state. Throws XdpError E047, E203, E205, E209, E210 or E134 if there are too few.
 */
export function assignSlots(state: State, live: Live, leaving: readonly LeavingBackend[] = []): Slots {
  const { slots } = live
  const interfaces = assign([...state.interfaces.keys()], slots.interfaces, FIRST_INTERFACE_SLOT, INTERFACE_SLOTS)
  if (interfaces === undefined) {
    const possible = INTERFACE_SLOTS - FIRST_INTERFACE_SLOT
    throw fail('E205', `the config has ${state.interfaces.size} interfaces; one instance can have ${possible}`)
  }
  const lists = assign([...state.lists.keys()], slots.lists, 0, LIST_SLOTS)
  if (lists === undefined)
    throw fail('E203', `the config has ${state.lists.size} lists; one instance can have ${LIST_SLOTS}`)
  const services = assign([...state.services.keys()], slots.services, 0, SERVICE_SLOTS)
  if (services === undefined)
    throw fail('E209', `the config has ${most('services', state.services.size, SERVICE_SLOTS)}`)
  const names = backendNames(state, leaving)
  const backends = assign(names, slots.backends, 0, BACKEND_SLOTS)
  if (backends === undefined)
    throw fail('E210', `the config has ${most('backends, leaving ones included', names.length, BACKEND_SLOTS)}`)
  const pools = assign(poolNames(state), slots.pools, 0, POOL_SLOTS)
  if (pools === undefined)
    throw fail('E047', `the source pools have ${most('addresses', poolNames(state).length, POOL_SLOTS)}`)
  const limits = [...(state.rateLimits?.keys() ?? [])]
  const rates = assign(limits, slots.rates ?? new Map(), 0, RATE_LIMITS)
  if (rates === undefined) throw fail('E134', `the config has ${most('rate limits', limits.length, RATE_LIMITS)}`)
  return { interfaces, lists, services, backends, pools, rates }
}

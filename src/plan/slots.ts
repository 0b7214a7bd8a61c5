// Slots. A slot is the index under which an interface, list, service or backend counts and the balancer knows a backend
// or pool address; it belongs to the name for as long as the name is configured (or a backend leaving), so that counters
// and flows outlive edits, generations and program updates.

import { fail } from '../diagnostics.ts'
import {
  BACKEND_SLOTS,
  FIRST_INTERFACE_SLOT,
  INTERFACE_SLOTS,
  LIST_SLOTS,
  POOL_SLOTS,
  SERVICE_SLOTS,
} from '../model/limits.ts'
import type { Live, Slots } from '../model/live.ts'
import { formatCount } from '../model/numbers.ts'
import { backendSlotKey, type LeavingBackend, slotKeysOf } from '../model/service.ts'
import type { State } from '../model/state.ts'
import { formatAddress } from '../model/text.ts'

/**
 * Names that have a slot keep it; the others, in sorted order, get the lowest free one. A slot that this very plan
 * frees is given away only when no other is left: until the switch the old generation still counts in it.
 * undefined = there are more names than slots.
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

/** Names of backends as slots know them: those of services, in reserve, and leaving. */
function backendNames({ services }: State, leaving: readonly LeavingBackend[]): string[] {
  const used = [...services.values()].flatMap(slotKeysOf)
  return [...used, ...leaving.map(({ service, backend }) => backendSlotKey(service, backend))]
}

/** Addresses of all source pools, each once. */
function poolNames({ services }: State): string[] {
  const pools = [...services.values()].flatMap(({ snatPool }) => snatPool)
  return [...new Set(pools.map(({ family, words }) => formatAddress(family, words)))]
}

const most = (what: string, wanted: number, possible: number): string =>
  `${formatCount(wanted)} ${what}; one instance can have ${formatCount(possible)}`

/**
 * The slots of everything in a state that has one. Throws XdpError E047, E203, E205, E209 or E210 when there are not
 * enough.
 */
export function assignSlots(state: State, live: Live, leaving: readonly LeavingBackend[] = []): Slots {
  const { slots } = live
  const interfaces = assign([...state.interfaces.keys()], slots.interfaces, FIRST_INTERFACE_SLOT, INTERFACE_SLOTS)
  if (interfaces === undefined) {
    const possible = INTERFACE_SLOTS - FIRST_INTERFACE_SLOT
    throw fail('E205', `${state.interfaces.size} interfaces are configured; one instance can filter ${possible}`)
  }
  const lists = assign([...state.lists.keys()], slots.lists, 0, LIST_SLOTS)
  if (lists === undefined)
    throw fail('E203', `${state.lists.size} lists are configured; one instance can count ${LIST_SLOTS}`)
  const services = assign([...state.services.keys()], slots.services, 0, SERVICE_SLOTS)
  if (services === undefined) throw fail('E209', `there are ${most('services', state.services.size, SERVICE_SLOTS)}`)
  const names = backendNames(state, leaving)
  const backends = assign(names, slots.backends, 0, BACKEND_SLOTS)
  if (backends === undefined)
    throw fail('E210', `there are ${most('backends, leaving ones included', names.length, BACKEND_SLOTS)}`)
  const pools = assign(poolNames(state), slots.pools, 0, POOL_SLOTS)
  if (pools === undefined)
    throw fail('E047', `source pools have ${most('addresses', poolNames(state).length, POOL_SLOTS)}`)
  return { interfaces, lists, services, backends, pools }
}

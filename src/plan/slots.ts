// Counter slots. A slot is the index under which an interface or a list counts; it belongs to the name for as long
// as the name is configured, so that counters outlive edits, generations and program updates.

import { fail } from '../diagnostics.ts'
import { FIRST_INTERFACE_SLOT, INTERFACE_SLOTS, LIST_SLOTS } from '../model/limits.ts'
import type { Live, Slots } from '../model/live.ts'
import type { State } from '../model/state.ts'

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
  const sorted = names.toSorted()
  const slots = new Map<string, number>()
  for (const name of sorted) {
    const slot = taken.get(name)
    if (slot !== undefined) slots.set(name, slot)
  }
  const kept = new Set(slots.values())
  const going = new Set([...taken.values()].filter((slot) => !kept.has(slot)))
  const every = Array.from({ length: end - first }, (_, index) => first + index)
  const free = every.filter((slot) => !kept.has(slot) && !going.has(slot))
  const reusable = every.filter((slot) => going.has(slot))
  const available = [...free, ...reusable].values()
  for (const name of sorted) {
    if (slots.has(name)) continue
    const { value, done } = available.next()
    if (done) return undefined
    slots.set(name, value)
  }
  return slots
}

/** The slots of a state's interfaces and lists. Throws XdpError E203 or E205 when there are not enough. */
export function assignSlots(state: State, live: Live): Slots {
  const interfaces = assign([...state.interfaces.keys()], live.slots.interfaces, FIRST_INTERFACE_SLOT, INTERFACE_SLOTS)
  if (interfaces === undefined) {
    const most = INTERFACE_SLOTS - FIRST_INTERFACE_SLOT
    throw fail('E205', `${state.interfaces.size} interfaces are configured; one instance can filter ${most}`)
  }
  const lists = assign([...state.lists.keys()], live.slots.lists, 0, LIST_SLOTS)
  if (lists === undefined)
    throw fail('E203', `${state.lists.size} lists are configured; one instance can count ${LIST_SLOTS}`)
  return { interfaces, lists, services: new Map(), backends: new Map(), pools: new Map() }
}

// The backends of services as lines of an image, each at the position of its slot. An edit changes few of thousands, so
// the lines of unchanged services are taken over from the previous image.

import { backendCodec, LINE_SIZE, NO_SLOT } from '../../abi/generated.ts'
import type { Slots } from '../../model/live.ts'
import { type Backend, backendSlotKey, type LeavingBackend, type Service, slotKeysOf } from '../../model/service.ts'
import { LINE_WORDS, makeLines } from '../lines/lines.ts'
import { type BackendRole, backendLine } from './service-lines.ts'

/** Facts about services besides the state. */
export interface ServiceFacts {
  readonly slots: Pick<Slots, 'services' | 'backends' | 'pools'>
  readonly leaving: readonly LeavingBackend[]
  /** Deadlines of drained backends, by backendSlotKey. */
  readonly deadlines: ReadonlyMap<string, number>
}

/** Previously compiled services, and their lines. */
export interface CompiledBefore extends ServiceFacts {
  readonly services: ReadonlyMap<string, Service>
  readonly lines: { readonly services: Uint32Array; readonly records: Uint32Array; readonly backends: Uint32Array }
}

/** A backend with its slot and role. */
export interface Placed {
  readonly slot: number
  readonly service: Service
  readonly backend: Backend
  readonly role: BackendRole
}

/** Throws RangeError if the key has no slot: a bug of the planner. */
export function slotOf(slots: ReadonlyMap<string, number>, key: string): number {
  const slot = slots.get(key)
  if (slot === undefined) throw new RangeError(`${key} has no slot`)
  return slot
}

/** Highest slot + 1; a loop, because there may be more slots than arguments of a call. */
function endOf(slots: Iterable<number>): number {
  let end = 0
  for (const slot of slots) if (slot >= end) end = slot + 1
  return end
}

/**
 * All backends of the services (active, sorry and leaving), and the slots of the active ones, in order, by service
 * slot.
 */
export function placeBackends(
  services: readonly (readonly [number, Service])[],
  { slots, leaving, deadlines }: ServiceFacts,
): { readonly placed: readonly Placed[]; readonly inUse: ReadonlyMap<number, Uint16Array> } {
  const placed: Placed[] = []
  const add = (at: number, service: Service, backend: Backend, role: Omit<BackendRole, 'service'>): number => {
    const key = backendSlotKey(service.name, backend)
    const slot = slotOf(slots.backends, key)
    if (slot >= NO_SLOT) throw new RangeError(`backend slot ${slot}`)
    const deadline = role.leaving || role.sorry ? role.deadline : (deadlines.get(key) ?? 0)
    placed.push({ slot, service, backend, role: { service: at, leaving: role.leaving, sorry: role.sorry, deadline } })
    return slot
  }
  const used = { leaving: false, sorry: false, deadline: 0 }
  const inUse = new Map<number, Uint16Array>()
  for (const [at, service] of services) {
    const own = service.backends.map((backend) => add(at, service, backend, used))
    inUse.set(at, Uint16Array.from(own))
    if (service.sorry) add(at, service, service.sorry, { ...used, sorry: true })
  }
  const byName = new Map(services.map(([at, service]) => [service.name, [at, service] as const]))
  for (const { service: name, backend, deadline } of leaving) {
    const [at, service] = byName.get(name) ?? []
    if (at !== undefined && service) add(at, service, backend, { leaving: true, sorry: false, deadline })
  }
  return { placed, inUse }
}

/** By service slot: the slots of its backends and its sorry backend, in order. */
export type KeptBackends = ReadonlyMap<number, Uint16Array>

/** Names of services with a leaving backend, or with one that has a deadline. */
const timedServices = ({ leaving, deadlines }: ServiceFacts): string[] => [
  ...leaving.map(({ service }) => service),
  // Service names contain no slash.
  ...[...deadlines.keys()].map((key) => key.slice(0, key.indexOf('/'))),
]

/** Services whose backends keep their previous lines. */
export function keptBackends(
  services: readonly (readonly [number, Service])[],
  facts: ServiceFacts,
  before: CompiledBefore | undefined,
): KeptBackends {
  const kept = new Map<number, Uint16Array>()
  if (before === undefined) return kept
  const timed = new Set([...timedServices(facts), ...timedServices(before)])
  const [now, was] = [facts.slots.backends, before.slots.backends]
  for (const [slot, service] of services) {
    const { name } = service
    if (before.services.get(name) !== service || before.slots.services.get(name) !== slot || timed.has(name)) continue
    const keys = slotKeysOf(service)
    const slots = new Uint16Array(keys.length)
    const isSame = keys.every((key, i) => {
      slots[i] = slotOf(now, key)
      return slots[i] === was.get(key)
    })
    if (isSame) kept.set(slot, slots)
  }
  return kept
}

/** The previous lines of backends, without those of services that are not kept. */
function takeOver(words: Uint32Array, kept: KeptBackends, { lines, slots, services, leaving }: CompiledBefore): void {
  words.set(lines.backends.subarray(0, words.length))
  const clear = (key: string): void => {
    const at = slotOf(slots.backends, key) * LINE_WORDS
    words.fill(0, at, at + LINE_WORDS)
  }
  for (const service of services.values()) {
    if (!kept.has(slotOf(slots.services, service.name))) slotKeysOf(service).forEach(clear)
  }
  for (const { service, backend } of leaving) clear(backendSlotKey(service, backend))
}

export function encodeBackends(
  placed: readonly Placed[],
  kept: KeptBackends,
  before: CompiledBefore | undefined,
): Uint32Array {
  const end = endOf(placed.map(({ slot }) => slot))
  const words = makeLines([...kept.values()].reduce((most, slots) => Math.max(most, endOf(slots)), end))
  if (before !== undefined && kept.size > 0) takeOver(words, kept, before)
  const view = new DataView(words.buffer)
  for (const { slot, backend, role } of placed) backendCodec.encode(backendLine(backend, role), view, slot * LINE_SIZE)
  return words
}

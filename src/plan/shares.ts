// The share of new flows that a change of backends moves: the part in which two tables of a service differ.

import { type Backend, backendKey, isInRing, type Service } from '../model/service.ts'
import { type Ring, ringOf } from '../semantics/maglev.ts'

type Numbers = Map<string, number>

/** A number for each backend, equal for equal keys. */
function numberOf(numbers: Numbers, backend: Backend): number {
  const key = backendKey(backend)
  const known = numbers.get(key)
  if (known !== undefined) return known
  numbers.set(key, numbers.size + 1)
  return numbers.size
}

/** The number of the backend in each slot of the table. */
function numbered(ring: Ring, backends: readonly Backend[], numbers: Numbers): Uint32Array {
  const byIndex = backends.map((backend) => numberOf(numbers, backend))
  const owners = new Uint32Array(ring.length)
  for (let slot = 0; slot < ring.length; slot++) owners[slot] = byIndex[ring[slot] as number] as number
  return owners
}

/**
 * The share (0 to 1) of all hashes that two tables give to different backends. Slot s of n slots has the hashes from
 * s/n up to (s+1)/n, so tables of different sizes are compared interval by interval.
 */
function differing(left: Uint32Array, right: Uint32Array): number {
  let differs = 0
  if (left.length === right.length) {
    for (let slot = 0; slot < left.length; slot++) if (left[slot] !== right[slot]) differs++
    return differs / left.length
  }
  let [i, j, from] = [0, 0, 0]
  while (i < left.length && j < right.length) {
    const [endLeft, endRight] = [(i + 1) / left.length, (j + 1) / right.length]
    const to = Math.min(endLeft, endRight)
    if (left[i] !== right[j]) differs += to - from
    from = to
    if (endLeft <= to) i++
    if (endRight <= to) j++
  }
  return differs
}

/** Share of each backend by weight, for those in the ring, by backendKey. */
function weightShares({ backends }: Service): ReadonlyMap<string, number> {
  const takers = backends.filter(isInRing)
  const total = takers.reduce((sum, { weight }) => sum + weight, 0)
  return new Map(takers.map((backend) => [backendKey(backend), backend.weight / total]))
}

/** Flows redistributed at random by weight: some return to their old backend by chance. */
function reshuffled(before: Service, after: Service): number {
  const own = weightShares(after)
  const kept = [...weightShares(before)].reduce((sum, [key, share]) => sum + share * (own.get(key) ?? 0), 0)
  return 1 - kept
}

/**
 * The share (0 to 1) of new flows that go to a different backend than before. undefined where that means nothing: with
 * `scheduler: random` a flow has no fixed backend. Ignores health and next hops.
 *
 * @param isSameSet whether both have equal backends, weights and states, so that no table needs to be built
 */
export function movedShare(before: Service, after: Service, isSameSet = false): number | undefined {
  if (after.scheduler === 'random') return undefined
  if (before.scheduler === 'random' || before.hash !== after.hash) return reshuffled(before, after)
  if (isSameSet) return 0
  const [left, right] = [ringOf(before.backends), ringOf(after.backends)]
  if (left === right) return 0
  if (left.length === 0 || right.length === 0) return 1
  const numbers: Numbers = new Map()
  return differing(numbered(left, before.backends, numbers), numbered(right, after.backends, numbers))
}

/** The share (0 to 1) of new flows of each backend by its weight, in the order of `backends`; 0 for backups. */
export function flowShares({ backends }: Service): readonly number[] {
  const total = backends.reduce((sum, backend) => sum + (isInRing(backend) ? backend.weight : 0), 0)
  return backends.map((backend) => (isInRing(backend) ? backend.weight / total : 0))
}

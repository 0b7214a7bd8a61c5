// Rings in an image: by slot of the service's table the slot of a backend, and behind them every backend once.

import { RING_SIZE, ringOf } from '../model/maglev.ts'
import { type Backend, takesFlows } from '../model/service.ts'
import { halves, LINE_WORDS } from './lines.ts'

/** Slots a line. */
const SLOTS = LINE_WORDS * 2
/** Lines that every service has at least: with a table of the usual size and as many backends as that may have. */
const LINES = Math.ceil((RING_SIZE + RING_SIZE / 100) / SLOTS)

/** The ring of one service. */
export interface ServiceRing {
  /** Backends by index, and slots by index. */
  readonly backends: readonly Backend[]
  readonly slots: Uint16Array
  /** How many of them are in the ring. */
  readonly takers: number
  readonly size: number
  /** Lines that it takes. */
  readonly lines: number
}

export function measureRing(backends: readonly Backend[], slots: Uint16Array): ServiceRing {
  const takers = backends.filter(takesFlows).length
  const size = ringOf(backends).length
  return { backends, slots, takers, size, lines: Math.max(LINES, Math.ceil((size + takers) / SLOTS)) }
}

/**
 * First lines of rings by service slot, and how many lines there are. Free slots keep their lines, so that no ring moves
 * because another one came or went, unless there are more of them than of those in use.
 */
export function placeRings(rings: ReadonlyMap<number, ServiceRing>): {
  readonly first: ReadonlyMap<number, number>
  readonly lines: number
} {
  const slots = Math.max(-1, ...rings.keys()) + 1
  const gap = slots - rings.size > rings.size ? 0 : LINES
  const first = new Map<number, number>()
  let lines = 0
  for (let slot = 0; slot < slots; slot++) {
    const ring = rings.get(slot)
    if (ring) first.set(slot, lines)
    lines += ring?.lines ?? gap
  }
  return { first, lines }
}

/** Writes a ring to its lines. */
export function writeRing(words: Uint32Array, { backends, slots, size }: ServiceRing): void {
  const target = halves(words)
  const ring = ringOf(backends)
  for (let slot = 0; slot < size; slot++) target[slot] = slots[ring[slot] as number] as number
  let at = size
  for (const [index, backend] of backends.entries()) {
    if (takesFlows(backend)) target[at++] = slots[index] as number
  }
}

/** The same lines as a ring of their own, to compare with. */
export function ringWords(ring: ServiceRing): Uint32Array {
  const words = new Uint32Array(ring.lines * LINE_WORDS)
  writeRing(words, ring)
  return words
}

// Rings in an image: by slot of the service's table the slot of a backend, and behind them every backend once.

import { type Backend, takesFlows } from '../../model/service.ts'
import { RING_SIZE, ringOf, ringSize } from '../../semantics/maglev.ts'
import { type LineDigest, LineDigester } from '../lines/line-digest.ts'
import { type Extent, halves, LINE_WORDS, makeLines } from '../lines/lines.ts'

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
  const size = takers === 0 ? 0 : ringSize(takers)
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
function writeRing(words: Uint32Array, { backends, slots, size }: ServiceRing): void {
  const target = halves(words)
  const ring = ringOf(backends)
  for (let slot = 0; slot < size; slot++) target[slot] = slots[ring[slot] as number] as number
  let at = size
  for (const [index, backend] of backends.entries()) {
    if (takesFlows(backend)) target[at++] = slots[index] as number
  }
}

/** The lines of a ring that hold anything. */
export const usedLines = ({ size, takers }: Pick<ServiceRing, 'size' | 'takers'>): number =>
  Math.ceil((size + takers) / SLOTS)

/** Those lines, made anew. */
export function ringWords(ring: ServiceRing): Uint32Array {
  const words = makeLines(usedLines(ring))
  writeRing(words, ring)
  return words
}

/** All rings. By far the largest section: made piece by piece, where somebody needs it, and never kept. */
export class RingSection {
  readonly lines: number
  /** Of each ring the lines that hold anything, ascending. */
  readonly extents: readonly Extent[]
  readonly #rings: ReadonlyMap<number, ServiceRing>
  /** As `extents`. */
  readonly #inOrder: readonly ServiceRing[]
  /** The ring that was made last: whoever asks for a piece of one asks for the next piece then. */
  #last: { readonly ring: ServiceRing; readonly words: Uint32Array } | undefined

  /** `rings` and their first lines, by the slot of the service. */
  constructor(rings: ReadonlyMap<number, ServiceRing>, first: ReadonlyMap<number, number>, lines: number) {
    const placed = [...rings]
      .filter(([, { size }]) => size > 0)
      .map(([slot, ring]) => ({ ring, first: first.get(slot) as number, lines: usedLines(ring) }))
      .sort((a, b) => a.first - b.first)
    this.lines = lines
    this.extents = placed
    this.#rings = rings
    this.#inOrder = placed.map(({ ring }) => ring)
  }

  #make(ring: ServiceRing): Uint32Array {
    if (this.#last?.ring !== ring) this.#last = { ring, words: ringWords(ring) }
    return this.#last.words
  }

  /** The lines of the ring of a service, by its slot. */
  linesOf(slot: number): Uint32Array {
    return this.#make(this.#rings.get(slot) as ServiceRing)
  }

  /** So many lines from one on. */
  words(first: number, lines: number): Uint32Array {
    const words = makeLines(lines)
    for (const [i, extent] of this.extents.entries()) {
      const from = Math.max(first, extent.first)
      const end = Math.min(first + lines, extent.first + extent.lines)
      if (from >= end) continue
      const ring = this.#make(this.#inOrder[i] as ServiceRing)
      const piece = ring.subarray((from - extent.first) * LINE_WORDS, (end - extent.first) * LINE_WORDS)
      words.set(piece, (from - first) * LINE_WORDS)
    }
    return words
  }

  digest(): LineDigest {
    const digester = new LineDigester()
    for (const [i, { first, lines }] of this.extents.entries())
      digester.add(this.#make(this.#inOrder[i] as ServiceRing), 0, lines, first)
    return digester.digest
  }
}

// Rings in an image: a backend slot for each slot of the service's table, followed by every backend once. A service with
// backups has a second table of the same form for them, from the next line on.

import { BACKUP_RING_SIZE } from '../../abi/generated.ts'
import { type Backend, isInRing, isStandby } from '../../model/service.ts'
import { backupRingOf, RING_SIZE, type Ring, ringOf, ringSize } from '../../semantics/maglev.ts'
import { type LineDigest, LineDigester } from '../lines/line-digest.ts'
import { type Extent, halves, LINE_WORDS, makeLines } from '../lines/lines.ts'

/** Number of slots per line. */
const SLOTS = LINE_WORDS * 2
/** Minimum of lines per service: a table of the usual size, with as many backends as it may have. */
const LINES = Math.ceil((RING_SIZE + RING_SIZE / 100) / SLOTS)

/** The ring of one service. */
export interface ServiceRing {
  /** Backends by index, and slots by index. */
  readonly backends: readonly Backend[]
  readonly slots: Uint16Array
  /** Number of backends in the ring. */
  readonly takers: number
  readonly size: number
  /** Number of backends in the table of backups. */
  readonly backups: number
  /** Number of its lines. */
  readonly lines: number
}

/** The facts that determine the number of its lines. */
type Sizes = Pick<ServiceRing, 'size' | 'takers' | 'backups'>

export function measureRing(backends: readonly Backend[], slots: Uint16Array): ServiceRing {
  const takers = backends.filter(isInRing).length
  const sizes = { takers, size: takers === 0 ? 0 : ringSize(takers), backups: backends.filter(isStandby).length }
  return { backends, slots, ...sizes, lines: Math.max(LINES, usedLines(sizes)) }
}

/**
 * Places rings: their first lines by service slot, and the total. Unused service slots keep their lines, so that no
 * ring moves when another one comes or goes, unless they are more than the slots in use.
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

/** Writes a table and the list of its backends to `target` from a slot on. */
function writeTable(
  target: Uint16Array,
  from: number,
  { backends, slots }: ServiceRing,
  table: Ring,
  isIn: (backend: Backend) => boolean,
): void {
  for (let slot = 0; slot < table.length; slot++) target[from + slot] = slots[table[slot] as number] as number
  let at = from + table.length
  for (const [index, backend] of backends.entries()) {
    if (isIn(backend)) target[at++] = slots[index] as number
  }
}

/** Writes a ring to its lines. */
function writeRing(words: Uint32Array, ring: ServiceRing): void {
  const target = halves(words)
  writeTable(target, 0, ring, ringOf(ring.backends), isInRing)
  if (ring.backups > 0) writeTable(target, ringLines(ring) * SLOTS, ring, backupRingOf(ring.backends), isStandby)
}

const ringLines = ({ size, takers }: Sizes): number => Math.ceil((size + takers) / SLOTS)

/** Number of lines of a ring that are not zero. */
export const usedLines = (sizes: Sizes): number =>
  ringLines(sizes) + (sizes.backups === 0 ? 0 : Math.ceil((BACKUP_RING_SIZE + sizes.backups) / SLOTS))

/** Builds those lines. */
export function ringWords(ring: ServiceRing): Uint32Array {
  const words = makeLines(usedLines(ring))
  writeRing(words, ring)
  return words
}

/** All rings. By far the largest section: built piece by piece on demand, and never kept. */
export class RingSection {
  readonly lines: number
  /** Extents of each ring that are not zero, ascending. */
  readonly extents: readonly Extent[]
  readonly #rings: ReadonlyMap<number, ServiceRing>
  /** In the order of `extents`. */
  readonly #inOrder: readonly ServiceRing[]
  /** The latest ring: a caller that reads a piece of one reads the next piece afterwards. */
  #last: { readonly ring: ServiceRing; readonly words: Uint32Array } | undefined

  /** `rings` and their first lines, by service slot. */
  constructor(rings: ReadonlyMap<number, ServiceRing>, first: ReadonlyMap<number, number>, lines: number) {
    const placed = [...rings]
      .filter(([, ring]) => usedLines(ring) > 0)
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

  /** The lines of a service's ring, by service slot. */
  linesOf(slot: number): Uint32Array {
    return this.#make(this.#rings.get(slot) as ServiceRing)
  }

  /** `lines` lines from `first` on. */
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

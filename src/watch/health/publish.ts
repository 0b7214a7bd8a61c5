// From overlays to the kernel's map: keeps what is to be written by byte, writes what differs from what is there, one
// write at a time and always the newest. Slots are those of one generation; when another takes over, the publisher
// stops and says so, until it is told the new slots.

import { encodeOverlay, type HealthBytes } from '../../abi/health.ts'
import type { Slots } from '../../model/live.ts'
import type { Overlay } from '../../model/overlay.ts'
import type { Scheduler } from '../time/scheduler.ts'

/** Where to write: a generation of an instance. */
export interface Destination {
  readonly slots: Pick<Slots, 'services' | 'backends'>
  /** What the bytes of these slots are now; what is not in it is zero. */
  readonly bytes: HealthBytes
  /** kernel/health.ts writeHealth of the generation. */
  readonly write: (bytes: HealthBytes) => Promise<'written' | 'superseded'>
}

export interface PublisherOptions {
  readonly scheduler: Scheduler
  /** Another generation owns the slots: look anew and call `retarget`. Called once for each destination. */
  readonly onSuperseded: () => void
  /** A write failed and will be tried again; called when the failure is another than the last. */
  readonly onError: (error: unknown) => void
}

/** Milliseconds before a write that failed is tried again: doubled each time. */
const FIRST_RETRY = 100
const LONGEST_RETRY = 5000

export class HealthPublisher {
  readonly #options: PublisherOptions
  #destination: Destination | undefined
  /** What is to be in the map, what is (writes on their way included), and the bytes in which the two differ. */
  #wanted = new Map<number, number>()
  #written = new Map<number, number>()
  readonly #pending = new Set<number>()
  #isWriting = false
  #writes = 0
  #cancelRetry: (() => void) | undefined
  #retryMs = FIRST_RETRY
  #failure: string | undefined
  /** Waiting for everything to be written. */
  #waiting: (() => void)[] = []

  constructor(options: PublisherOptions) {
    this.#options = options
  }

  /** Writes to there from now on (undefined: nowhere), beginning with the whole `overlay`. */
  retarget(destination: Destination | undefined, overlay: Overlay): void {
    this.#destination = destination
    this.#written = new Map(destination?.bytes)
    this.#wanted = new Map()
    this.#pending.clear()
    this.#cancelRetry?.()
    this.#cancelRetry = undefined
    this.publish(overlay)
  }

  /** Has the overlays of some services written. Without a destination nothing happens: `retarget` brings all. */
  publish(changed: Overlay): void {
    if (this.#destination) {
      for (const [byte, value] of encodeOverlay(changed, this.#destination.slots)) {
        this.#wanted.set(byte, value)
        if ((this.#written.get(byte) ?? 0) === value) this.#pending.delete(byte)
        else this.#pending.add(byte)
      }
    }
    if (!this.#cancelRetry) this.#next()
  }

  /** How many bytes were handed to the kernel. */
  get writes(): number {
    return this.#writes
  }

  /** Resolves when nothing is left to write, or there is nowhere to write to. */
  async settled(): Promise<void> {
    if (!this.#isWriting && this.#pending.size === 0) return
    await new Promise<void>((resolve) => this.#waiting.push(resolve))
  }

  #next(): void {
    const destination = this.#destination
    if (this.#isWriting) return
    if (!destination || this.#pending.size === 0) {
      for (const resolve of this.#waiting.splice(0)) resolve()
      return
    }
    const bytes = new Map([...this.#pending].map((byte) => [byte, this.#wanted.get(byte) as number]))
    this.#pending.clear()
    for (const [byte, value] of bytes) this.#written.set(byte, value)
    this.#isWriting = true
    this.#writes += bytes.size
    destination.write(bytes).then(
      (outcome) => this.#wrote(destination, bytes, outcome),
      (error: unknown) => this.#failed(destination, bytes, error),
    )
  }

  #wrote(destination: Destination, bytes: HealthBytes, outcome: 'written' | 'superseded'): void {
    this.#isWriting = false
    if (destination !== this.#destination) this.#doubt(bytes)
    else if (outcome === 'superseded') {
      this.#destination = undefined
      this.#pending.clear()
      this.#options.onSuperseded()
    } else {
      this.#retryMs = FIRST_RETRY
      this.#failure = undefined
    }
    this.#next()
  }

  #failed(destination: Destination, bytes: HealthBytes, error: unknown): void {
    this.#isWriting = false
    this.#doubt(bytes)
    if (destination !== this.#destination) {
      this.#next()
      return
    }
    const failure = error instanceof Error ? error.message : String(error)
    if (failure !== this.#failure) this.#options.onError(error)
    this.#failure = failure
    this.#cancelRetry = this.#options.scheduler.after(this.#retryMs, () => {
      this.#cancelRetry = undefined
      this.#next()
    })
    this.#retryMs = Math.min(2 * this.#retryMs, LONGEST_RETRY)
  }

  /** Nothing is known of these bytes: a part may have been written, or all after they were read anew. */
  #doubt(bytes: HealthBytes): void {
    for (const byte of bytes.keys()) {
      if (!this.#wanted.has(byte)) continue
      this.#written.set(byte, Number.NaN)
      this.#pending.add(byte)
    }
  }
}

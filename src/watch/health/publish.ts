// Writes overlays into the kernel's health map: keeps the wanted value of every byte and writes those that differ, one
// write at a time and always the newest values. Slots belong to one generation; when another takes over, the publisher
// reports that and stops until `retarget` brings the new slots.

import { encodeOverlay, type HealthBytes } from '../../abi/health.ts'
import type { Slots } from '../../model/live.ts'
import type { Overlay } from '../../model/overlay.ts'
import type { Scheduler } from '../time/scheduler.ts'

/** The generation to write for. */
export interface Destination {
  readonly slots: Pick<Slots, 'services' | 'backends'>
  /** The current bytes of these slots; missing ones are zero. */
  readonly bytes: HealthBytes
  /** Writes bytes into the map. `superseded`: another generation is live; some bytes may not have been written. */
  readonly write: (bytes: HealthBytes) => Promise<'written' | 'superseded'>
}

export interface PublisherOptions {
  readonly scheduler: Scheduler
  /** Another generation owns the slots: observe, then call `retarget`. Called once per destination. */
  readonly onSuperseded: () => void
  /** A write failed and will be retried. Called once for equal failures in a row. */
  readonly onError: (error: unknown) => void
}

/** Milliseconds before a failed write is retried; doubles each time. */
const FIRST_RETRY = 100
const LONGEST_RETRY = 5000

export class HealthPublisher {
  readonly #options: PublisherOptions
  #destination: Destination | undefined
  /** The wanted values, the values in the map (pending writes included), and the bytes that differ. */
  #wanted = new Map<number, number>()
  #written = new Map<number, number>()
  readonly #pending = new Set<number>()
  #isWriting = false
  #writes = 0
  #cancelRetry: (() => void) | undefined
  #retryMs = FIRST_RETRY
  #failure: string | undefined
  /** Callers of `settled`. */
  #waiting: (() => void)[] = []

  constructor(options: PublisherOptions) {
    this.#options = options
  }

  /** Writes to `destination` from now on (undefined: nowhere), starting with the whole `overlay`. */
  retarget(destination: Destination | undefined, overlay: Overlay): void {
    this.#destination = destination
    this.#written = new Map(destination?.bytes)
    this.#wanted = new Map()
    this.#pending.clear()
    this.#cancelRetry?.()
    this.#cancelRetry = undefined
    this.publish(overlay)
  }

  /** Writes the overlays of some services. Does nothing without a destination: `retarget` brings all of them. */
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

  /** Number of bytes that were written to the kernel. */
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

  /** Marks bytes as unknown: some may have been written, or all of them after `retarget` read the map. */
  #doubt(bytes: HealthBytes): void {
    for (const byte of bytes.keys()) {
      if (!this.#wanted.has(byte)) continue
      this.#written.set(byte, Number.NaN)
      this.#pending.add(byte)
    }
  }
}

// Waits that double with each attempt.

export interface Backoff {
  /** The next wait, in milliseconds. */
  readonly next: () => number
  readonly reset: () => void
}

export function createBackoff(first: number, most: number): Backoff {
  let wait = first
  return {
    next() {
      const now = wait
      wait = Math.min(wait * 2, most)
      return now
    },
    reset() {
      wait = first
    },
  }
}

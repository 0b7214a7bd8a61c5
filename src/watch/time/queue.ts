// Runs asynchronous functions one after the other.

export interface Queue {
  readonly add: (body: () => Promise<void>) => void
  /** Accepts no more, and resolves when the last one is done. */
  readonly close: () => Promise<void>
}

export function createQueue(): Queue {
  let last = Promise.resolve()
  let isClosed = false
  return {
    add(body) {
      if (!isClosed) last = last.then(body)
    },
    close() {
      isClosed = true
      return last
    },
  }
}

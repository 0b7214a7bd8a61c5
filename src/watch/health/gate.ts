// Limits how many checks run at a time, because each holds a socket or a process. Further ones wait in line.

export class Gate {
  #free: number
  /** In order of arrival; a Set, because a stopped check leaves the line. */
  readonly #line = new Set<() => void>()

  constructor(most: number) {
    this.#free = most
  }

  /**
   * Calls `go` when there is room, which may be at once; the caller must then `leave`. Returns a function that leaves
   * the line.
   */
  enter(go: () => void): () => void {
    if (this.#free > 0) {
      this.#free--
      go()
      return () => undefined
    }
    this.#line.add(go)
    return () => void this.#line.delete(go)
  }

  /** Makes room for the next in line. */
  leave(): void {
    const [next] = this.#line
    if (!next) {
      this.#free++
      return
    }
    this.#line.delete(next)
    next()
  }
}

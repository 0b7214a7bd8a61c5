// At most so many checks at a time, the others in line: each holds a socket or a process.

export class Gate {
  #free: number
  /** In the order in which they came; a Set because one that is stopped leaves the line. */
  readonly #line = new Set<() => void>()

  constructor(most: number) {
    this.#free = most
  }

  /** Calls when there is room, which may be at once. Returns what leaves the line; who was let in must `leave`. */
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

// The cache as its users see it, and one that stores nothing, for commands that must start fast.

export interface Cache {
  /** Reads the content stored under a name, aligned to 8 bytes; undefined = no usable content. Never throws. */
  read(name: string): Buffer | undefined
  /** Stores content, given in pieces, and replaces the previous content. Never throws. */
  write(name: string, pieces: readonly Uint8Array[]): void
  /** The first fault found in the directory or its files. */
  readonly problem: string | undefined
}

/** A cache that stores nothing. */
export const NO_CACHE: Cache = { read: () => undefined, write: () => undefined, problem: undefined }

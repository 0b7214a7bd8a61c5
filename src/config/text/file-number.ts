// Numbers of files. A config may name tens of thousands of files, and searching the list for each would take minutes.

interface Numbers {
  readonly byPath: Map<string, number>
  /** How many files of the list are in `byPath`. */
  upTo: number
}

const known = new WeakMap<readonly string[], Numbers>()

/** Index of the first `path` in a list of files that only grows, or -1. */
export function fileNumber(files: readonly string[], path: string): number {
  const numbers = known.get(files) ?? { byPath: new Map(), upTo: 0 }
  known.set(files, numbers)
  for (; numbers.upTo < files.length; numbers.upTo++) {
    const file = files[numbers.upTo] as string
    if (!numbers.byPath.has(file)) numbers.byPath.set(file, numbers.upTo)
  }
  return numbers.byPath.get(path) ?? -1
}

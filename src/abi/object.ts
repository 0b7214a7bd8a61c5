// BPF objects and their optional parts.

/** An object as this build ships it, with all its parts. */
export interface ObjectFile {
  readonly path: string
  readonly content: Uint8Array
}

/** Every optional part of the programs (bpf/include/parts.h) by its name, and whether the programs have it. */
export type ProgramParts = ReadonlyMap<string, boolean>

export const sameParts = (a: ProgramParts, b: ProgramParts): boolean =>
  [...a].every(([name, has]) => b.get(name) === has)

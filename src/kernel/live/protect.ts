// Reads the elements of `protect` that the kernel has on record, without the rest of the tables: a ban must be fast.

import { valueView } from '../../abi/answer.ts'
import { bpftool, keyBytes } from '../../abi/command.ts'
import { directoryCodec, LINE_SIZE, SECTION } from '../../abi/generated.ts'
import type { Paths } from '../../abi/paths.ts'
import { decodeProtected } from '../../abi/protect.ts'
import type { ProtectedPrefix } from '../../model/protect.ts'
import { DIRECTORY_LINE } from '../../tables/layout/layout.ts'
import type { Delicate } from '../host/protect.ts'
import { askBatch } from '../tools/bpftool.ts'

/** Facts about the host and the live policy that decide whether a ban needs a closer look. */
export interface Caution extends Delicate {
  readonly protect: readonly ProtectedPrefix[]
}

const DIRECTORY_LINES = directoryCodec.size / LINE_SIZE

const linesFrom = (first: number, count: number): number[] => Array.from({ length: count }, (_, i) => first + i)

/** Looks lines of a policy up, which takes no program and no file. */
const look = (policy: string, lines: readonly number[]): Promise<DataView[]> =>
  askBatch(
    valueView(LINE_SIZE),
    lines.map((line) => bpftool('map', 'lookup', 'pinned', policy, 'key', ...keyBytes(line))),
  )

/** The elements of one generation. */
async function readOf(policy: string): Promise<ProtectedPrefix[]> {
  const directory = new Uint8Array(directoryCodec.size)
  for (const [i, { buffer, byteOffset }] of (
    await look(policy, linesFrom(DIRECTORY_LINE, DIRECTORY_LINES))
  ).entries()) {
    directory.set(new Uint8Array(buffer, byteOffset, LINE_SIZE), i * LINE_SIZE)
  }
  const { sections } = directoryCodec.decode(new DataView(directory.buffer))
  const { first, lines } = sections[SECTION.SETTINGS]?.extent ?? { first: 0, lines: 0 }
  if (lines === 0) return []
  return (await look(policy, linesFrom(first, lines))).flatMap((line) => decodeProtected(line) ?? [])
}

/**
 * The elements of several generations of this ABI: while a confirmation is pending, two are loaded. Throws CommandError if
 * one is gone.
 */
export async function readProtect(paths: Paths, generations: readonly number[]): Promise<ProtectedPrefix[]> {
  const found = await Promise.all(generations.map((number) => readOf(paths.policy(number))))
  return found.flat()
}

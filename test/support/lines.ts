// Reads and writes policy maps as blocks of bytes.

import { LINE_SIZE } from '../../src/abi/generated.ts'
import { runParts } from '../../src/kernel/tools/bpftool.ts'
import { withExchange } from '../../src/kernel/tools/exchange.ts'
import { readPart, writePart } from '../../src/kernel/tools/transfer.ts'

/** Writes bytes from line 0 on into the policy map behind `program`, a pinned table_write. */
export async function writeLines(program: string, bytes: Uint8Array): Promise<void> {
  const extents = [{ first: 0, lines: bytes.length / LINE_SIZE }]
  await withExchange((files) =>
    runParts(
      writePart(`${files}/write`, program, extents, ({ first, lines }) => [
        bytes.subarray(first * LINE_SIZE, (first + lines) * LINE_SIZE),
      ]),
    ),
  )
}

/** Reads the first `lines` lines of the policy map behind `program`, a pinned table_read. */
export async function readLines(program: string, lines: number): Promise<Uint8Array> {
  const [bytes] = await withExchange((files) => runParts(readPart(`${files}/read`, program, [{ first: 0, lines }])))
  return bytes
}

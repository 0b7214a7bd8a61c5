// Bulk copies between user space and a policy map: 64 KiB of lines for each run of table_write or table_read, all runs
// in one bpftool batch. About ten times faster than one `map update` an entry, and short enough (well below 0.5 ms a
// run) not to stall the network stack of the CPU, for which a test run disables softirqs.

import { readFile, writeFile } from 'node:fs/promises'
import { LINE_SIZE, transferCodec } from '../abi/generated.ts'
import { fail } from '../diagnostics.ts'
import { bpftool, type Command, runBatch } from './bpftool.ts'
import { withExchange } from './exchange.ts'

/** Lines of content in one run: 64 KiB less the header line, and one line spare for the frame's own rounding. */
const CHUNK_LINES = 1022
const EXTENTS = 7
/** XDP_PASS: the bulk programs return it when every line was copied. */
const COPIED = 2

interface Extent {
  readonly first: number
  readonly lines: number
}

/** Extents of the lines that are not all zero: a new map holds zeros already. Gaps of a line or two are bridged. */
export function usedExtents(image: Uint8Array): Extent[] {
  const words = new Uint32Array(image.buffer, image.byteOffset, image.byteLength >>> 2)
  const extents: { first: number; lines: number }[] = []
  const total = image.byteLength / LINE_SIZE
  for (let line = 0; line < total; line++) {
    let any = 0
    for (let word = line * 16; word < line * 16 + 16; word++) any |= words[word] as number
    if (any === 0) continue
    const last = extents.at(-1)
    if (last && line - (last.first + last.lines) <= 2) last.lines = line + 1 - last.first
    else extents.push({ first: line, lines: 1 })
  }
  return extents
}

/** Packs extents into runs of at most CHUNK_LINES lines and EXTENTS extents. */
export function packChunks(extents: readonly Extent[]): Extent[][] {
  const chunks: Extent[][] = []
  let room = 0
  for (const extent of extents) {
    let { first, lines } = extent
    while (lines > 0) {
      let chunk = chunks.at(-1)
      if (!chunk || room === 0 || chunk.length === EXTENTS) {
        chunk = []
        chunks.push(chunk)
        room = CHUNK_LINES
      }
      const taken = Math.min(lines, room)
      chunk.push({ first, lines: taken })
      first += taken
      lines -= taken
      room -= taken
    }
  }
  return chunks
}

function requestFor(chunk: readonly Extent[]): Uint8Array {
  const lines = chunk.reduce((sum, extent) => sum + extent.lines, 0)
  const bytes = new Uint8Array((1 + lines) * LINE_SIZE)
  const extents = Array.from({ length: EXTENTS }, (_, i) => chunk[i] ?? { first: 0, lines: 0 })
  transferCodec.encode({ count: chunk.length, result: 0, extents }, new DataView(bytes.buffer))
  return bytes
}

/** One `prog run` of a bulk program. The output must be asked for in full, or the kernel ends the run in ENOSPC. */
const runLine = (program: string, input: string, output: string): Command =>
  bpftool(
    'prog',
    'run',
    'pinned',
    program,
    'data_in',
    input,
    'data_out',
    output,
    'data_size_out',
    '65536',
    'repeat',
    '1',
  )

function checkRuns(outputs: readonly unknown[], what: string): void {
  for (const output of outputs) {
    const { retval } = output as { retval: number }
    if (retval !== COPIED) throw fail('E108', `${what} was refused by the data plane (return value ${retval})`)
  }
}

/** Writes an image into the (new, zeroed) policy map behind `program`, a pinned table_write. */
export async function writeImage(program: string, image: Uint8Array): Promise<void> {
  await withExchange(async (directory) => {
    const commands = await Promise.all(
      packChunks(usedExtents(image)).map(async (chunk, number) => {
        const bytes = requestFor(chunk)
        let at = LINE_SIZE
        for (const { first, lines } of chunk) {
          bytes.set(image.subarray(first * LINE_SIZE, (first + lines) * LINE_SIZE), at)
          at += lines * LINE_SIZE
        }
        const file = `${directory}/${number}`
        await writeFile(file, bytes)
        return runLine(program, file, '/dev/null')
      }),
    )
    checkRuns(await runBatch(commands), 'writing the policy')
  })
}

/** Reads the first `lines` lines of the policy map behind `program`, a pinned table_read. */
export async function readImage(program: string, lines: number): Promise<Uint8Array> {
  return withExchange(async (directory) => {
    const chunks = packChunks([{ first: 0, lines }])
    const commands = await Promise.all(
      chunks.map(async (chunk, number) => {
        await writeFile(`${directory}/${number}`, requestFor(chunk))
        return runLine(program, `${directory}/${number}`, `${directory}/${number}.out`)
      }),
    )
    checkRuns(await runBatch(commands), 'reading the policy')
    const image = new Uint8Array(lines * LINE_SIZE)
    for (const [number, chunk] of chunks.entries()) {
      const answer = await readFile(`${directory}/${number}.out`)
      let at = LINE_SIZE
      for (const extent of chunk) {
        image.set(answer.subarray(at, at + extent.lines * LINE_SIZE), extent.first * LINE_SIZE)
        at += extent.lines * LINE_SIZE
      }
    }
    return image
  })
}

/** How many runs of table_write an image takes; for `plan --commands`. */
export const writeRuns = (image: Uint8Array): number => packChunks(usedExtents(image)).length

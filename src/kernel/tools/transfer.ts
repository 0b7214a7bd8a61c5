// Bulk access to a policy map, as parts of a bpftool batch: table_write and table_read transfer lines, 64 KiB per run;
// copies and digests stay in the kernel. This is about ten times faster than one `map update` per entry. A test run
// disables softirqs of its CPU, so each run is short, well below 0.5 ms.

import { closeSync, openSync, writeFileSync, writevSync } from 'node:fs'
import { ran } from '../../abi/answer.ts'
import { bpftool, type Command, type Part } from '../../abi/command.ts'
import {
  LINE_SIZE,
  progressCodec,
  spanCodec,
  TRANSFER_EXTENTS,
  TRANSFER_LINES,
  transferCodec,
  WALK_SPANS,
  WALK_TURNS,
} from '../../abi/generated.ts'
import { fail } from '../../diagnostics.ts'
import { type Copy, type Extent, lineCount } from '../../tables/layout/difference.ts'
import type { LineDigest } from '../../tables/lines/line-digest.ts'
import { readOutput } from './answer.ts'

/** Lines of content in one run: one line is spare for the rounding of the frame. */
const CHUNK_LINES = TRANSFER_LINES - 1
/** XDP_PASS: the bulk programs return it on success. */
const DONE = 2

/** Packs extents into runs of at most CHUNK_LINES lines and TRANSFER_EXTENTS extents. */
export function packChunks(extents: readonly Extent[]): Extent[][] {
  const chunks: Extent[][] = []
  let room = 0
  for (const extent of extents) {
    let { first, lines } = extent
    while (lines > 0) {
      let chunk = chunks.at(-1)
      if (!chunk || room === 0 || chunk.length === TRANSFER_EXTENTS) {
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

/** The line that precedes the lines of a chunk. */
export function transferLine(chunk: readonly Extent[]): Uint8Array {
  const bytes = new Uint8Array(LINE_SIZE)
  const extents = Array.from({ length: TRANSFER_EXTENTS }, (_, i) => chunk[i] ?? { first: 0, lines: 0 })
  transferCodec.encode({ count: chunk.length, result: 0, extents }, new DataView(bytes.buffer))
  return bytes
}

/** One `prog run` of a bulk program. The output must have its full size, or the kernel ends the run with ENOSPC. */
export const runLine = (program: string, input: string, output: string): Command =>
  bpftool(
    ...['prog', 'run', 'pinned', program, 'data_in', input],
    ...['data_out', output, 'data_size_out', '65536', 'repeat', '1'],
  )

/** Throws E108 if a run failed. */
export function checkRuns(outputs: readonly unknown[], what: string): void {
  for (const output of outputs) {
    const { retval } = ran(output)
    if (retval !== DONE) throw fail('E108', `${what} was refused by the data plane (return value ${retval})`)
  }
}

function writeFileOf(path: string, pieces: readonly Uint8Array[]): void {
  const descriptor = openSync(path, 'wx', 0o600)
  try {
    let left = pieces
    while (left.length > 0) {
      let written = writevSync(descriptor, left)
      left = left.flatMap((piece) => {
        const skipped = Math.min(written, piece.length)
        written -= skipped
        return skipped < piece.length ? [piece.subarray(skipped)] : []
      })
    }
  } finally {
    closeSync(descriptor)
  }
}

/**
 * Writes lines into a policy map.
 *
 * @param files prefix of the exchange files
 * @param program pin of a table_write
 * @param bytesOf the bytes of lines, in pieces
 */
export function writePart(
  files: string,
  program: string,
  extents: readonly Extent[],
  bytesOf: (extent: Extent) => readonly Uint8Array[],
): Part<void> {
  const commands = packChunks(extents).map((chunk, number) => {
    const file = `${files}-${number}`
    writeFileOf(file, [transferLine(chunk), ...chunk.flatMap(bytesOf)])
    return runLine(program, file, '/dev/null')
  })
  return { commands, finish: (outputs) => checkRuns(outputs, 'writing the policy') }
}

const EMPTY_CHUNK = new Uint8Array(CHUNK_LINES * LINE_SIZE)

/** Reads extents of the policy map of `program`, a pinned table_read, one after the other. */
export function readPart(files: string, program: string, extents: readonly Extent[]): Part<Uint8Array> {
  const chunks = packChunks(extents)
  const commands = chunks.map((chunk, number) => {
    const file = `${files}-${number}`
    writeFileOf(file, [transferLine(chunk), EMPTY_CHUNK.subarray(0, lineCount(chunk) * LINE_SIZE)])
    return runLine(program, file, `${file}.out`)
  })
  const finish = (outputs: readonly unknown[]): Uint8Array => {
    checkRuns(outputs, 'reading the policy')
    const bytes = new Uint8Array(lineCount(extents) * LINE_SIZE)
    let at = 0
    for (const [number, chunk] of chunks.entries()) {
      const size = lineCount(chunk) * LINE_SIZE
      const answer = readOutput(`${files}-${number}.out`, LINE_SIZE + size)
      bytes.set(answer.subarray(LINE_SIZE, LINE_SIZE + size), at)
      at += size
    }
    return bytes
  }
  return { commands, finish }
}

/** Like readPart, but returns undefined if lines are missing. */
export function tryReadPart(files: string, program: string, extents: readonly Extent[]): Part<Uint8Array | undefined> {
  const { commands, finish } = readPart(files, program, extents)
  const isDone = (output: unknown): boolean => ran(output).retval === DONE
  return { commands, finish: (outputs) => (outputs.every(isDone) ? finish(outputs) : undefined) }
}

/** Lines to walk; `origin` as in struct span. */
interface Walk extends Extent {
  readonly origin: number
}

/** Spans to walk, in a file that the programs update, and the number of runs that they take. */
interface WalkRequest {
  readonly file: string
  readonly bytes: Uint8Array
  readonly runs: number
  readonly spans: number
}

function walkRequests(files: string, walks: readonly Walk[]): WalkRequest[] {
  const requests: WalkRequest[] = []
  for (let from = 0; from < walks.length; from += WALK_SPANS) {
    const spans = walks.slice(from, from + WALK_SPANS)
    // A frame has at least 128 bytes here: shorter ones than an Ethernet header are refused.
    const bytes = new Uint8Array(progressCodec.size + Math.max(2, spans.length) * spanCodec.size)
    const view = new DataView(bytes.buffer)
    progressCodec.encode({ count: spans.length, span: 0, line: 0, failed: 0, digest: [0, 0] }, view)
    for (const [i, { first, lines, origin }] of spans.entries()) {
      const span = { extent: { first, lines }, origin, digest: [0, 0] }
      spanCodec.encode(span, view, progressCodec.size + i * spanCodec.size)
    }
    const runs = Math.ceil((lineCount(spans) + spans.length) / WALK_TURNS)
    requests.push({ file: `${files}-${requests.length}`, bytes, runs, spans: spans.length })
  }
  return requests
}

/**
 * Walks spans, in runs that each continue where the previous one ended. A single run with `repeat` would be slower: for
 * that the kernel rebuilds its XDP dispatcher, before and after, and waits for RCU each time (bpf_prog_change_xdp in
 * net/bpf/test_run.c), as long as some 700 runs take.
 *
 * @param finish is called after all walks; if one failed, E108 is thrown instead
 */
function walkPart<T>(program: string, requests: readonly WalkRequest[], what: string, finish: () => T): Part<T> {
  const commands = requests.map(({ file, bytes, runs }) => {
    writeFileSync(file, bytes)
    return Array.from({ length: runs }, () => runLine(program, file, file))
  })
  let next = 0
  const ends = commands.map(({ length }) => {
    next += length
    return next - 1
  })
  return {
    commands: commands.flat(),
    finish(outputs) {
      const last = ends.map((end) => outputs[end])
      checkRuns(last, what)
      return finish()
    },
  }
}

/** Copies lines of the previous generation. `program`: pin of a table_copy. */
export function copyPart(files: string, program: string, copies: readonly Copy[]): Part<void> {
  const walks = copies.map(({ first, lines, from }) => ({ first, lines, origin: from }))
  return walkPart(program, walkRequests(files, walks), 'copying the policy', () => undefined)
}

/** Digests of sections, in order. `program`: pin of a table_digest. */
export function digestPart(files: string, program: string, sections: readonly Extent[]): Part<LineDigest[]> {
  const walks = sections.map(({ first, lines }) => ({ first, lines, origin: 0 }))
  const requests = walkRequests(files, walks)
  return walkPart(program, requests, 'verifying the policy', () =>
    requests.flatMap(({ file, bytes, spans }) => {
      const answer = readOutput(file, bytes.length)
      const view = new DataView(answer.buffer, answer.byteOffset, answer.byteLength)
      return Array.from({ length: spans }, (_, i): LineDigest => {
        const { digest } = spanCodec.decode(view, progressCodec.size + i * spanCodec.size)
        return [digest[0] ?? 0, digest[1] ?? 0]
      })
    }),
  )
}

// Compares the kernel programs that copy and digest lines with user space.

import { randomBytes } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { LINE_SIZE, progressCodec, spanCodec, WALK_SPANS, WALK_TURNS } from '../../src/abi/generated.ts'
import { runBatch, runParts } from '../../src/kernel/tools/bpftool.ts'
import { withExchange } from '../../src/kernel/tools/exchange.ts'
import { copyPart, digestPart, runLine } from '../../src/kernel/tools/transfer.ts'
import { digestLines, type LineDigest, LineDigester } from '../../src/tables/lines/line-digest.ts'
import { readLines, writeLines } from '../support/lines.ts'
import { type LoadedPolicy, loadPolicy, SHIPPED_OBJECT } from '../support/policy.ts'

const LINES = WALK_TURNS * 2 + 77
const [ABORTED, PASS, MORE] = [0, 2, 3]

/** Random lines, some of them empty. */
const content = new Uint8Array(randomBytes(LINES * LINE_SIZE))
for (let line = 0; line < LINES; line += 5) content.fill(0, line * LINE_SIZE, (line + 1) * LINE_SIZE)

let old: LoadedPolicy
let fresh: LoadedPolicy

beforeAll(async () => {
  old = await loadPolicy(content, SHIPPED_OBJECT)
  fresh = await loadPolicy(new Uint8Array(LINES * LINE_SIZE), SHIPPED_OBJECT, old)
})
afterAll(() => {
  fresh?.close()
  old?.close()
})

const wordsOf = (bytes: Uint8Array): Uint32Array => new Uint32Array(bytes.slice().buffer)

const digests = async (policy: LoadedPolicy, extents: readonly { first: number; lines: number }[]) =>
  (await withExchange((files) => runParts(digestPart(`${files}/d`, policy.program('table_digest'), extents))))[0]

test('digests equal those of user space, for extents of any length', async () => {
  const extents = [
    { first: 0, lines: LINES },
    { first: 3, lines: 0 },
    { first: 5, lines: 1 },
    { first: 17, lines: WALK_TURNS },
    ...Array.from({ length: WALK_SPANS + 10 }, (_, i) => ({ first: i, lines: i % 3 })),
  ]
  const expected = extents.map(({ first, lines }): LineDigest => {
    return digestLines(wordsOf(content.subarray(first * LINE_SIZE, (first + lines) * LINE_SIZE)))
  })
  expect(await digests(old, extents)).toEqual(expected)
})

test('changing one bit of a line, or exchanging two lines, changes the digest', async () => {
  const lines = wordsOf(content.subarray(LINE_SIZE, 3 * LINE_SIZE))
  const digest = digestLines(lines)
  const seen = new Set([digest.join()])
  for (let bit = 0; bit < 1024; bit++) {
    const changed = lines.slice()
    changed[bit >>> 5] = (changed[bit >>> 5] as number) ^ (1 << (bit & 31))
    seen.add(digestLines(changed).join())
  }
  seen.add(digestLines(Uint32Array.from([...lines.subarray(16), ...lines.subarray(0, 16)])).join())
  expect(seen.size).toBe(1026)
  const part = wordsOf(content.subarray(LINE_SIZE, 2 * LINE_SIZE))
  await writeLines(fresh.program('table_write'), content.subarray(LINE_SIZE, 2 * LINE_SIZE))
  expect(await digests(fresh, [{ first: 0, lines: 1 }])).toEqual([digestLines(part)])
})

test('subtracts lines from a digest, and adds them', () => {
  const words = wordsOf(content.subarray(0, 64 * LINE_SIZE))
  const digester = new LineDigester(digestLines(words))
  digester.add(words, 7 * 16, 3, 7, -1)
  digester.add(words, 20 * 16, 3, 7)
  const changed = words.slice()
  changed.copyWithin(7 * 16, 20 * 16, 23 * 16)
  expect(digester.digest).toEqual(digestLines(changed))
})

test('copies lines to their destinations, in as many runs as needed', async () => {
  const copies = [
    { first: 0, lines: 3, from: 100 },
    { first: 3, lines: WALK_TURNS + 9, from: 1000 },
    { first: WALK_TURNS + 12, lines: 1, from: LINES - 1 },
  ]
  await withExchange((files) => runParts(copyPart(`${files}/c`, fresh.program('table_copy'), copies)))
  const read = await readLines(fresh.program('table_read'), WALK_TURNS + 14)
  const expected = Buffer.concat([
    ...copies.map(({ from, lines }) => content.subarray(from * LINE_SIZE, (from + lines) * LINE_SIZE)),
    Buffer.alloc(LINE_SIZE),
  ])
  expect(Buffer.compare(read, expected)).toBe(0)
})

/** Runs a program with `spans`, each `[first, lines, origin]`; returns the result of the last run, and its position. */
async function walk(program: string, spans: readonly (readonly [number, number, number])[], runs: number) {
  return withExchange(async (files) => {
    const view = new DataView(new ArrayBuffer(progressCodec.size + Math.max(2, spans.length) * spanCodec.size))
    progressCodec.encode({ count: spans.length, span: 0, line: 0, failed: 0, digest: [0, 0] }, view)
    for (const [i, [first, lines, origin]] of spans.entries()) {
      const span = { extent: { first, lines }, origin, digest: [0, 0] }
      spanCodec.encode(span, view, progressCodec.size + i * spanCodec.size)
    }
    writeFileSync(`${files}/in`, new Uint8Array(view.buffer))
    const commands = Array.from({ length: runs }, () => runLine(program, `${files}/in`, `${files}/in`))
    const outputs = (await runBatch(commands)) as { retval: number }[]
    const retval = outputs.at(-1)?.retval
    const answer = readFileSync(`${files}/in`)
    const { span, line, failed } = progressCodec.decode(new DataView(answer.buffer, answer.byteOffset, answer.length))
    return { retval, span, line, failed }
  })
}

test.each(['table_copy', 'table_digest'])(
  '%s processes a bounded number of lines per run, and the next run continues there',
  async (name) => {
    const program = fresh.program(name)
    const spans = [
      [0, WALK_TURNS + 5, 0],
      [1, 3, 1],
    ] as const
    expect(await walk(program, spans, 1)).toEqual({ retval: MORE, span: 0, line: WALK_TURNS, failed: 0 })
    expect(await walk(program, spans, 2)).toEqual({ retval: PASS, span: 2, line: 0, failed: 0 })
    expect(await walk(program, spans, 9)).toEqual({ retval: PASS, span: 2, line: 0, failed: 0 })
    expect(await walk(program, [], 1)).toMatchObject({ retval: PASS })
  },
)

test('fails on lines outside the map, whatever follows', async () => {
  const [copy, digest] = [fresh.program('table_copy'), fresh.program('table_digest')]
  expect(await walk(digest, [[LINES - 1, 2, 0]], 3)).toMatchObject({ retval: ABORTED, failed: 1, line: 1 })
  expect(await walk(copy, [[LINES, 1, 0]], 3)).toMatchObject({ retval: ABORTED, failed: 1, line: 0 })
  expect(await walk(copy, [[0, 1, LINES]], 3)).toMatchObject({ retval: ABORTED, failed: 1, line: 0 })
  expect(await walk(copy, [[0, 0xffffffff, 0xffffffff]], 1)).toMatchObject({ retval: ABORTED, failed: 1 })
})

import { expect, test } from 'vitest'
import type { State } from '../../../src/model/state.ts'
import { compileImage } from '../../../src/tables/image/image.ts'
import { lineCount, linesOf, transferOf } from '../../../src/tables/layout/difference.ts'
import { type Image, imageBytes } from '../../../src/tables/layout/layout.ts'
import { LINE_WORDS } from '../../../src/tables/lines/lines.ts'
import { ANY, addresses, type BigRange, listOf, prefix, slotsOf, stateOf } from '../../support/tables.ts'

const compile = (state: State, generation = 1): Image =>
  compileImage({ state, slots: slotsOf(state), meta: { generation, netns: 1n, objectDigest: new Uint8Array(16) } })

const hosts = (count: number, step = 7919n): BigRange[] =>
  Array.from({ length: count }, (_, i): BigRange => {
    const address = (0x0b000000n + BigInt(i) * step) & 0xffffffffn
    return [address, address]
  })

const blocked = (...v4: readonly BigRange[]): State =>
  stateOf([
    listOf('blocklist', 'some', [[ANY, addresses(v4, [prefix(6, 0x20010db8n << 96n, 32)])]]),
    listOf('allowlist', 'zone', [[ANY, addresses([prefix(4, 0xc0000200n, 24)])]]),
  ])

/** Number of header lines that are not zero. */
const headerLines = ({ header }: Image): number =>
  Array.from({ length: header.length / LINE_WORDS }, (_, i) =>
    header.subarray(i * LINE_WORDS, (i + 1) * LINE_WORDS).some((word) => word !== 0),
  ).filter(Boolean).length

/** The content of a zeroed map after the transfer. */
function carryOut(image: Image, previous?: Image, known = previous): Uint8Array {
  const { copies, writes } = transferOf(image, known)
  const words = new Uint32Array(image.lines * LINE_WORDS)
  const old = previous ? new Uint32Array(imageBytes(previous).buffer) : new Uint32Array(0)
  for (const { first, lines, from } of copies) {
    words.set(old.subarray(from * LINE_WORDS, (from + lines) * LINE_WORDS), first * LINE_WORDS)
  }
  for (const extent of writes) {
    let at = extent.first * LINE_WORDS
    for (const piece of linesOf(image, extent)) {
      words.set(piece, at)
      at += piece.length
    }
  }
  return new Uint8Array(words.buffer)
}

test('writes a first image, except for empty lines', () => {
  const image = compile(blocked(...hosts(3000)))
  const { copies, writes } = transferOf(image)
  expect(copies).toEqual([])
  expect(Buffer.compare(carryOut(image), imageBytes(image))).toBe(0)
  expect(lineCount(writes)).toBeLessThan(image.lines / 2)
})

test('writes only changed lines after an edit, even if sections moved', () => {
  const before = compile(blocked(...hosts(3000)))
  // A further range line and a further list move everything behind them.
  const after = compile(blocked(...hosts(3000), [0xd0000000n, 0xd0000004n]), 2)
  expect(Buffer.compare(carryOut(after, before), imageBytes(after))).toBe(0)
  const { copies, writes } = transferOf(after, before)
  // Besides the header: the record of the list, a word of the root, a range line, a line of the filter.
  expect(lineCount(writes)).toBe(headerLines(after) + 4)
  expect(lineCount(copies)).toBeGreaterThan(after.lines - 20)
})

test('copies an image of equal content, except for its header', () => {
  const [before, after] = [compile(blocked(...hosts(100))), compile(blocked(...hosts(100)), 2)]
  expect(Buffer.compare(carryOut(after, before), imageBytes(after))).toBe(0)
  expect(lineCount(transferOf(after, before).writes)).toBe(headerLines(after))
})

test('copies sections of equal digest without reading them', () => {
  const [before, after] = [compile(blocked(...hosts(500))), compile(blocked(...hosts(500), [5n, 5n]), 2)]
  const unread = { directory: before.directory, sections: {} }
  expect(Buffer.compare(carryOut(after, before, unread as unknown as Image), imageBytes(after))).toBe(0)
  const copied = lineCount(transferOf(after, unread).copies)
  const { ROOT4, BLOCKS6, FILTER6 } = after.directory
  expect(copied).toBeGreaterThanOrEqual(ROOT4.lines + BLOCKS6.lines + FILTER6.lines)
})

test('neither writes nor copies lines that became empty', () => {
  const [before, after] = [compile(blocked(...hosts(5000))), compile(blocked([9n, 9n]), 2)]
  expect(Buffer.compare(carryOut(after, before), imageBytes(after))).toBe(0)
  expect(Buffer.compare(carryOut(before, after), imageBytes(before))).toBe(0)
})

// Hints about addresses never propose more than was written: every entry that a hint says to write covers only addresses
// that the written text may mean, or says how many more it covers.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { explainRange, rangeBuffer, readRangeText } from '../../src/config/entries/range.ts'
import { explainLine } from '../../src/config/feed/plain.ts'
import type { Family } from '../../src/model/address.ts'
import { formatAddress, parseRange, prefixOf } from '../../src/model/text.ts'

/** Inclusive bounds. */
interface Span {
  readonly family: Family
  readonly first: bigint
  readonly last: bigint
}

const numberOf = (words: Uint32Array): bigint => words.reduce((sum, word) => (sum << 32n) | BigInt(word), 0n)
const BITS = { 4: 32, 6: 128 } as const

/** Runs of characters that may be entries, with a length, a range or neither. */
const WORD = /[0-9a-fA-F:.]+(?:[/-][0-9a-fA-F:.]+)?/g

/** The entries that a hint names after "write", apart from examples. */
function proposals(hint: string): Span[] {
  const [advice = ''] = hint.split(/for example|write it like|: 192\.0\.2\.\*/)
  return [...advice.matchAll(WORD)].flatMap(([word]) => {
    const range = parseRange(word) ?? parseRange(word.replace(/[.:]$/, ''))
    return range ? [{ family: range.family, first: numberOf(range.start), last: numberOf(range.end) }] : []
  })
}

const covers = (all: readonly Span[], { family, first, last }: Span): boolean =>
  all.some((one) => one.family === family && one.first <= first && last <= one.last)

/** Asserts that a text is refused and that its hint stays within `written`. */
function expectNarrow(text: string, written: readonly Span[], explain = explainRange): void {
  const { hint = '' } = explain(text)
  for (const proposal of proposals(hint)) {
    expect([text, hint, covers(written, proposal)]).toEqual([text, hint, true])
  }
}

const span = (text: string): Span => {
  const range = parseRange(text)
  if (range === undefined) throw new Error(`${text} is no range`)
  return { family: range.family, first: numberOf(range.start), last: numberOf(range.end) }
}

const address4 = fc.nat({ max: 0xffff_ffff }).map((word) => Uint32Array.of(word))
const address6 = fc
  .tuple(...Array.from({ length: 4 }, () => fc.nat({ max: 0xffff_ffff })))
  .map((words) => Uint32Array.from(words))
const address = fc.oneof(
  address4.map((words) => ({ family: 4 as Family, words })),
  address6.map((words) => ({ family: 6 as Family, words })),
)
const range = rangeBuffer()

describe('a hint stays within what was written', () => {
  test('for a prefix with host bits, and names the single address first', () => {
    fc.assert(
      fc.property(address, fc.nat({ max: 128 }), ({ family, words }, any) => {
        const length = any % (BITS[family] + 1)
        const text = `${formatAddress(family, words)}/${length}`
        if (readRangeText(text, range) || words.slice(0, 3).join() === '0,0,65535') return
        const { start, end } = prefixOf({ family, words }, length)
        expectNarrow(text, [{ family, first: numberOf(start), last: numberOf(end) }])
        const [first] = proposals(explainRange(text).hint ?? '')
        expect(first).toEqual({ family, first: numberOf(words), last: numberOf(words) })
      }),
    )
  })

  test('for a netmask, and never makes one of IPv4 a length of IPv6', () => {
    fc.assert(
      fc.property(address, fc.nat({ max: 32 }), ({ family, words }, length) => {
        const mask = formatAddress(4, prefixOf({ family: 4, words: Uint32Array.of(0xffff_ffff) }, length).start)
        const { start, end } = prefixOf({ family, words }, length)
        const written = family === 4 ? [{ family, first: numberOf(start), last: numberOf(end) }] : []
        expectNarrow(`${formatAddress(family, words)}/${mask}`, written)
        if (family === 4 && length >= 8) expectNarrow(`${formatAddress(family, words)} ${mask}`, written, explainLine)
      }),
    )
  })

  test('for a reversed or mixed range, and for two addresses on a line', () => {
    fc.assert(
      fc.property(address, address, (left, right) => {
        const [a, b] = [formatAddress(left.family, left.words), formatAddress(right.family, right.words)]
        const [first = 0n, last = 0n] = [numberOf(left.words), numberOf(right.words)].sort((one, two) =>
          one < two ? -1 : 1,
        )
        const both = { family: left.family, first, last }
        const written = left.family === right.family ? [both] : []
        if (!readRangeText(`${a}-${b}`, range)) expectNarrow(`${a}-${b}`, written)
        // The second may be a netmask, which the test above covers.
        if (!b.startsWith('255.')) expectNarrow(`${a} ${b}`, [...written, span(a), span(b)], explainLine)
      }),
    )
  })

  test('for a short end of a range', () => {
    fc.assert(
      fc.property(address4, fc.nat({ max: 300 }), ([word = 0], end) => {
        const text = formatAddress(4, Uint32Array.of(word))
        const last = (word & 0xffff_ff00) >>> 0
        expectNarrow(`${text}-${end}`, [{ family: 4, first: BigInt(word), last: BigInt(last + Math.min(end, 255)) }])
      }),
    )
  })

  test('for IPv4 in IPv6 form, and never proposes much of IPv4 for a reserved block of IPv6', () => {
    fc.assert(
      fc.property(address4, fc.integer({ min: 96, max: 128 }), ([word = 0], length) => {
        const { start, end } = prefixOf({ family: 6, words: Uint32Array.of(0, 0, 0xffff, word) }, length)
        const text = `${formatAddress(6, start)}/${length}`
        const { hint = '' } = explainRange(text)
        const [first, last] = [BigInt(start[3] as number), BigInt(end[3] as number)]
        expect(proposals(hint)).toEqual(length < 104 ? [] : [{ family: 4, first, last }])
      }),
    )
    expect(explainRange('::ffff:0:0/96')).toMatchObject({ code: 'E025', hint: 'remove it: it matches no packet' })
    expect(proposals(explainRange('::ffff:0.0.0.0-::ffff:255.255.255.255').hint ?? '')).toEqual([])
  })

  /** Bad entries, and the entries that a hint about them may propose. */
  const TABLE: readonly (readonly [text: string, ...allowed: string[]])[] = [
    ['0.0.0.1/0', '0.0.0.0/0'],
    ['10', '10.0.0.0-10.255.255.255'],
    ['10.0', '10.0.0.0/16'],
    ['10.0.0', '10.0.0.0/24'],
    ['10.0.0/24', '10.0.0.0/24'],
    ['10.*', '10.0.0.0/8'],
    ['*'],
    ['any'],
    ['0/0'],
    ['0.0.0.0/33'],
    ['192.0.2.1/-1'],
    ['192.0.2.1/032'],
    ['[2001:db8::1]:443', '2001:db8::1'],
    ['192.0.2.1:53', '192.0.2.1'],
    ['fe80::1%eth0', 'fe80::1'],
    ['192.0.2.1, 192.0.2.9', '192.0.2.1', '192.0.2.9'],
    ['192.0.2.0/24-198.51.100.0/24'],
    ['192.0.2.0/0.0.0.255', '192.0.2.0/24'],
    ['192.0.2.1/0.0.0.0', '0.0.0.0/0'],
    ['https://example.com/list.txt'],
    ['example.com'],
    ['::ffff:192.0.2.0/120', '192.0.2.0/24'],
    ['::ffff:0.0.0.0/97'],
    ['::/0x'],
  ]

  test.each(TABLE)('%s', (text, ...allowed) => {
    expect(readRangeText(text, range)).toBe(false)
    const spans = allowed.map(span)
    expectNarrow(text, spans)
    expectNarrow(text, spans, explainLine)
  })

  test('a network says how many addresses it has more than the one that was written', () => {
    expect(explainRange('192.0.2.1/0').hint).toBe(
      'write 192.0.2.1 for the single address, or 0.0.0.0/0 for the network of all IPv4 addresses',
    )
    expect(explainRange('2001:db8::1/32').hint).toContain('2001:db8::/32 for the network of 2^96 addresses')
    expect(explainRange('192.0.2.1/255.255.255.0').hint).toContain('192.0.2.0/24 for the network of 256 addresses')
  })

  test('an address with its port keeps the port', () => {
    for (const text of ['192.0.2.1:53', '[2001:db8::1]:443']) {
      expect(explainRange(text).hint).toContain('ports go into source_port or destination_port')
    }
  })
})

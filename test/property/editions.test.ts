// Editions of a list file: each, parsed with the result of the previous one, gives the result of parsing it alone.

import fc from 'fast-check'
import { expect, test } from 'vitest'
import { openCache } from '../../src/cache/cache.ts'
import { type Parsed, parseText } from '../../src/config/feed/parsed.ts'
import type { FeedOptions } from '../../src/config/feed/read.ts'
import { keep, recall, shelfName } from '../../src/config/lists/shelf.ts'
import { createReport } from '../../src/config/text/report.ts'
import { markLength } from '../../src/config/text/source.ts'
import type { Entries } from '../../src/model/desired.ts'
import { writeFiles } from '../support/config.ts'

const OPTIONS: FeedOptions = {
  format: 'auto',
  column: undefined,
  columns: undefined,
  where: undefined,
  onBadLine: 'skip',
  excludePrivate: true,
  minPrefix: { v4: 8, v6: 19 },
}

/** Lines that repeat, overlap or touch others, are left out, or are invalid. */
const line = fc.oneof(
  { weight: 6, arbitrary: fc.nat(40).map((low) => `198.51.100.${low}`) },
  {
    weight: 2,
    arbitrary: fc.tuple(fc.nat(30), fc.nat(9)).map(([low, size]) => `198.51.100.${low}-198.51.100.${low + size}`),
  },
  { weight: 1, arbitrary: fc.constantFrom('198.51.100.0/28', '198.51.100.16/30', '203.0.113.0/24', '2001:db8::/32') },
  { weight: 2, arbitrary: fc.nat(9).map((low) => `2001:db8::${low}`) },
  {
    weight: 2,
    arbitrary: fc.constantFrom('', '# a comment', 'nonsense', '10.0.0.1', '1.0.0.0/4', '198.51.100.9 # x', ' '),
  },
)

interface Edit {
  readonly at: number
  readonly removed: number
  readonly added: readonly string[]
}

const edit: fc.Arbitrary<Edit> = fc.record({
  at: fc.nat(60),
  removed: fc.nat(6),
  added: fc.array(line, { maxLength: 6 }),
})

function read(text: string, before?: Parsed): Parsed {
  const bytes = Buffer.from(text)
  const report = createReport(['list.txt'])
  const source = { path: 'list.txt', bytes, from: markLength(bytes), firstLine: 1 }
  const parsed = parseText(source, text, OPTIONS, report, before, 40)
  report.finish()
  return parsed as Parsed
}

const columnsOf = ({ family, length, start, end, line }: Entries) => ({ family, length, start, end, line })

/** A parse result as plain data. */
const plain = (parsed: Parsed | undefined) =>
  parsed && { ...parsed, fresh: undefined, entries: [columnsOf(parsed.entries.v4), columnsOf(parsed.entries.v6)] }

/** The result for a text, without its division into chunks, an implementation detail. */
const factsOf = (parsed: Parsed) => ({ ...plain(parsed), chunks: undefined, fresh: undefined })

test('an edition parsed after the previous one gives the result of parsing it alone', () => {
  const marks = fc.constantFrom('', '\ufeff')
  const ends = fc.constantFrom('\n', '\r\n')
  fc.assert(
    fc.property(
      fc.array(line, { maxLength: 60 }),
      fc.array(fc.tuple(edit, ends, fc.boolean(), marks), { minLength: 1, maxLength: 6 }),
      (first, edits) => {
        let lines = first
        let known = read(lines.join('\n'))
        for (const [{ at, removed, added }, end, isClosed, mark] of edits) {
          lines = lines.toSpliced(Math.min(at, lines.length), removed, ...added)
          const text = mark + lines.join(end) + (isClosed ? end : '')
          const [helped, alone] = [read(text, known), read(text)]
          expect(factsOf(helped)).toEqual(factsOf(alone))
          known = helped
        }
      },
    ),
    { numRuns: 400 },
  )
})

test('likewise for ipset files, which name the set in every line', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(40), { minLength: 5 }), fc.array(fc.nat(40), { minLength: 5 }), (one, other) => {
      const save = (lows: readonly number[]): string =>
        `create a hash:ip family inet\n${lows.map((low) => `add a 198.51.100.${low}\n`).join('')}`
      const both = [save([...one, ...other]), save(other), save([...other, ...one])]
      let known: Parsed | undefined
      for (const text of both) {
        const helped = read(text, known)
        expect(factsOf(helped)).toEqual(factsOf(read(text)))
        known = helped
      }
    }),
    { numRuns: 100 },
  )
})

test('a parse result survives the cache unchanged', () => {
  const directory = writeFiles({})
  const addresses = Array.from({ length: 5000 }, (_, i) => `198.${18 + (i & 1)}.${(i * 7) & 255}.${(i * 13) & 255}`)
  const texts = [
    addresses.join('\n'),
    // Ranges, IPv6, skipped lines, and a gap of more lines than two bytes can count.
    `${addresses.join('\n')}\n${'#\n'.repeat(70_000)}203.0.113.0/24\n2001:db8::1\n2001:db9::/32\nnonsense\n10.0.0.1\n`,
  ]
  for (const [number, text] of texts.entries()) {
    const parsed = read(text)
    const cache = openCache(`${directory}/cache`, process.getuid?.() ?? 0)
    const name = shelfName(`list-${number}`, OPTIONS)
    keep({ cache }, name, parsed)
    expect(plain(recall({ cache }, name))).toEqual(plain(parsed))
    expect(recall({ cache }, shelfName('other', OPTIONS))).toBeUndefined()
    expect(recall({ cache }, shelfName(`list-${number}`, { ...OPTIONS, excludePrivate: false }))).toBeUndefined()
    expect(cache.problem).toBeUndefined()
  }
})

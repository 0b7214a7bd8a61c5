// Patterns for files match the names that a simple reference matcher accepts, at a cost that their length alone decides.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { expand, matcherOf } from '../../src/config/feed/glob.ts'
import { usually } from '../support/depth.ts'

type Part = string | '*' | '?' | ReadonlySet<string>

/** The set that begins at `[`, with the index behind its `]`; undefined where none closes it. */
function setAt(pattern: string, at: number): { readonly set: Set<string>; readonly end: number } | undefined {
  const isNegated = pattern[at + 1] === '!'
  const start = at + (isNegated ? 2 : 1)
  const end = pattern.indexOf(']', start + 1)
  if (end < 0) return undefined
  const set = new Set<string>()
  for (let index = start; index < end; index++) {
    const [from = '', dash, to = ''] = pattern.slice(index, end)
    if (dash === '-' && to !== '') {
      for (const letter of ALPHABET) if (letter >= from && letter <= to) set.add(letter)
      index += 2
    } else set.add(from)
  }
  // Ranges from high to low hold nothing, and a set of nothing else matches nothing, negated or not.
  return {
    set: isNegated && set.size > 0 ? new Set([...ALPHABET].filter((letter) => !set.has(letter))) : set,
    end: end + 1,
  }
}

function partsOf(pattern: string): Part[] {
  const parts: Part[] = []
  for (let at = 0; at < pattern.length; ) {
    const found = pattern[at] === '[' ? setAt(pattern, at) : undefined
    parts.push(found?.set ?? (pattern[at] === '[' ? new Set('[') : (pattern[at] as string)))
    at = found?.end ?? at + 1
  }
  return parts
}

/** By trying every length that a star may have: slow, but short enough to be right. */
function fits(parts: readonly Part[], name: string): boolean {
  const [part, ...rest] = parts
  if (part === undefined) return name === ''
  if (part === '*') return fits(rest, name) || (name !== '' && fits(parts, name.slice(1)))
  if (name === '') return false
  const isOne = typeof part === 'string' ? part === '?' || part === name[0] : part.has(name[0] as string)
  return isOne && fits(rest, name.slice(1))
}

const reference = (pattern: string, name: string): boolean =>
  (!name.startsWith('.') || pattern.startsWith('.')) && fits(partsOf(pattern), name)

/** Signs of braces, extended patterns and regular expressions among them: they stand for themselves. */
const ALPHABET = 'abc.-!{},()|+@\\$\n*?[]é'
const letter = fc.constantFrom(...ALPHABET)
const name = fc.string({ unit: letter, minLength: 1, maxLength: 7 }).filter((text) => text !== '.' && text !== '..')
const pieces = fc.constantFrom(
  '*',
  '?',
  '[',
  ']',
  '[!',
  '[a-b]',
  '[]a]',
  '[!]',
  '[]',
  '[b-]',
  '[-.]',
  'a',
  'b',
  '.',
  '\\',
  '(',
)
const pattern = fc
  .array(fc.oneof({ weight: 3, arbitrary: pieces }, letter), { maxLength: 8 })
  .map((all) => all.join(''))

describe('patterns', () => {
  test('match the names that the reference matches', () => {
    fc.assert(
      fc.property(pattern, name, (written, text) => {
        expect(matcherOf(written)(text)).toBe(reference(written, text))
      }),
      { numRuns: usually(5_000, { thoroughly: 200_000 }) },
    )
  })

  test('match a name that was made from them', () => {
    const part = fc.oneof(
      fc.string({ unit: fc.constantFrom('a', 'b'), maxLength: 2 }).map((text) => ['*', text] as const),
      fc.constantFrom('a', 'b').map((text) => ['?', text] as const),
      fc.constantFrom('a', 'b').map((text) => ['[!.]', text] as const),
      fc.constantFrom('a', 'b', '(', '{').map((text) => [text, text] as const),
    )
    fc.assert(
      fc.property(fc.array(part, { minLength: 1, maxLength: 12 }), (parts) => {
        const [written, text] = [parts.map(([one]) => one).join(''), parts.map(([, one]) => one).join('')]
        expect(matcherOf(written)(text)).toBe(true)
      }),
      { numRuns: usually(2_000, { thoroughly: 50_000 }) },
    )
  })

  test.each([
    ['+(a)', 'aa', false],
    ['!(a)', 'b', false],
    ['{a,b}*', 'a', false],
    ['{a,b}*', '{a,b}c', true],
    ['a\\*', 'a\\b', true],
    ['a\\*', 'a*', false],
    ['?', '\u{1f600}', true],
    ['[z-a]', 'z', false],
    ['*', '.hidden', false],
    ['.*', '.hidden', true],
  ])('%s matches %s: %s', (written, text, expected) => expect(matcherOf(written)(text)).toBe(expected))
})

describe('the cost of a pattern', () => {
  let folder = ''
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'xdp-glob-'))
    mkdirSync(join(folder, 'conf'))
    writeFileSync(join(folder, 'conf', 'a'.repeat(240)), '')
  })
  afterAll(() => rmSync(folder, { recursive: true }))

  // A matcher that backtracks at every star needs a minute for the first pattern, and does not finish the others.
  test.each([
    '*a*a*a*a*ab',
    `${'*a'.repeat(100)}*b`,
    `${'**a'.repeat(60)}b`,
    `${'*?'.repeat(100)}b`,
    `${'*[a-z]'.repeat(30)}b`,
    `${'*[!b]'.repeat(30)}b`,
    `${'+(*(a|aa)'.repeat(10)}b`,
  ])('%s finishes beside a long name that does not match', (written) => {
    const patterns = new Map<string, readonly string[]>()
    expect(expand(join(folder, 'conf', written), { patterns })).toEqual([])
  })
})

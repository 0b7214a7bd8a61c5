// Rise and fall.

import { expect, test } from 'vitest'
import {
  bad,
  FRESH,
  GOOD,
  type Result,
  type Standing,
  unknown,
  unproven,
  weigh,
} from '../../../../src/watch/health/standing.ts'

const RESULTS: Readonly<Record<string, Result>> = { '+': GOOD, '-': bad('refused'), '?': unknown('no ports') }
const BOUNDS = { rise: 2, fall: 3 }

/** The standings after each result of a text: `u` up, `d` down. */
function follow(results: string, from: Standing = FRESH): string {
  let standing = from
  return [...results]
    .map((one, i) => {
      standing = weigh(standing, RESULTS[one] as Result, BOUNDS, i)
      return standing.up ? 'u' : 'd'
    })
    .join('')
}

test.each([
  ['up until proven', '', ''],
  ['the first result decides alone: bad', '-', 'd'],
  ['the first result decides alone: good', '+--', 'uuu'],
  ['fall bad ones in a row', '+---', 'uuud'],
  ['a good one in between starts the count again', '+--+--+---', 'uuuuuuuuud'],
  ['rise good ones in a row', '-++', 'ddu'],
  ['a bad one in between starts the count again', '-+-++', 'ddddu'],
  ['an unknown result changes nothing', '+--??-', 'uuuuud'],
  ['an unknown result does not decide', '???-', 'uuud'],
])('%s', (_, results, expected) => {
  expect(follow(results)).toBe(expected)
})

test('a change has its time; a new check changes nothing until its first result, which decides', () => {
  const down = weigh(FRESH, bad('refused'), BOUNDS, 7)
  expect(down).toEqual({ up: false, proven: true, against: 0, since: 7 })
  expect(unproven(down)).toEqual({ up: false, proven: false, against: 0, since: 7 })
  expect(follow('+', unproven(down))).toBe('u')
  expect(follow('-', unproven(weigh(FRESH, GOOD, BOUNDS, 1)))).toBe('d')
})

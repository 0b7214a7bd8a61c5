import { expect, test } from 'vitest'
import { nearest } from '../../../src/model/nearest.ts'

test.each([
  ['plann', 'plan'],
  ['paln', 'plan'],
  ['PLAN', 'plan'],
  ['stauts', 'status'],
  ['aply', 'apply'],
  ['x', undefined],
  ['', undefined],
  ['completely-else', undefined],
])('suggests for %s: %s', (word, meant) => {
  expect(nearest(word, ['validate', 'plan', 'apply', 'status', 'why'])).toBe(meant)
})

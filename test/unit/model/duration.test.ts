import { describe, expect, test } from 'vitest'
import { parseMilliseconds } from '../../../src/model/duration.ts'
import { formatSeconds } from '../../../src/render/duration.ts'

describe('a duration', () => {
  test.each([
    ['0ms', 0],
    ['250ms', 250],
    ['90s', 90_000],
    ['2m', 120_000],
    ['24h', 86_400_000],
    ['1d', 86_400_000],
    ['2w', 1_209_600_000],
  ])('%s is %i milliseconds', (text, value) => expect(parseMilliseconds(text)).toBe(value))

  test.each(['', '5', 's', '-1s', '1.5s', ' 1s', '1 s', '1s\n', '1S', '1y', '1sm', '1of', '9999999999999999ms'])(
    '%j is none',
    (text) => expect(parseMilliseconds(text)).toBeUndefined(),
  )

  test('has only the units that are asked for', () => {
    expect(parseMilliseconds('1d', ['s', 'm'])).toBeUndefined()
    expect(parseMilliseconds('1m', ['s', 'm'])).toBe(60_000)
  })
})

test.each([
  [0, '0s'],
  [90, '90s'],
  [300, '5m'],
  [7200, '2h'],
  [604_800, '7d'],
])('%i seconds are written %s', (seconds, text) => {
  expect(formatSeconds(seconds)).toBe(text)
  expect(parseMilliseconds(text)).toBe(seconds * 1000)
})

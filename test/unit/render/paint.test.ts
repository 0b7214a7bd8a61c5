import { describe, expect, test, vi } from 'vitest'
import { paint } from '../../../src/render/paint.ts'

describe('colour', () => {
  test.each([
    ['bold', 1, 22],
    ['dim', 2, 22],
    ['red', 31, 39],
    ['green', 32, 39],
    ['yellow', 33, 39],
    ['cyan', 36, 39],
  ] as const)('%s is SGR %i to %i', (style, on, off) =>
    expect(paint(true)[style]('text')).toBe(`\u001b[${on}mtext\u001b[${off}m`),
  )

  test('is left out where it is not wanted', () => expect(paint(false).red('text')).toBe('text'))

  test('follows the caller, not the environment of the process', () => {
    vi.stubEnv('NO_COLOR', '1')
    vi.stubEnv('FORCE_COLOR', '0')
    expect(paint(true).red('text')).toBe('\u001b[31mtext\u001b[39m')
    vi.unstubAllEnvs()
  })
})

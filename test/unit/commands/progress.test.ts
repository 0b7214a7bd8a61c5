import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { createProgress } from '../../../src/commands/cli/progress.ts'

let written: string[] = []
const write = (text: string): void => void written.push(text)

beforeEach(() => {
  written = []
  vi.useFakeTimers()
})
afterEach(() => void vi.useRealTimers())

test('what is done within half a second shows nothing', () => {
  const progress = createProgress(write, true)
  progress.report('reading')
  vi.advanceTimersByTime(499)
  progress.clear()
  vi.advanceTimersByTime(10_000)
  expect(written).toEqual([])
})

test('what takes longer shows its stage, then each next one, and leaves no trace', () => {
  const progress = createProgress(write, true)
  progress.report('reading')
  progress.report('comparing')
  vi.advanceTimersByTime(500)
  progress.report('loading')
  progress.clear()
  expect(written).toEqual(['\r\u001b[Kcomparing ...', '\r\u001b[Kloading ...', '\r\u001b[K'])
})

test('where there is no terminal nothing is ever written', () => {
  const progress = createProgress(write, false)
  progress.report('reading')
  vi.advanceTimersByTime(10_000)
  progress.clear()
  expect(written).toEqual([])
})

import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { createProgress } from '../../../src/commands/cli/progress.ts'

let written: string[] = []
const write = (text: string): void => void written.push(text)

beforeEach(() => {
  written = []
  vi.useFakeTimers()
})
afterEach(() => void vi.useRealTimers())

test('shows nothing for stages shorter than half a second', () => {
  const progress = createProgress(write, true)
  progress.report('reading')
  vi.advanceTimersByTime(499)
  progress.clear()
  vi.advanceTimersByTime(10_000)
  expect(written).toEqual([])
})

test('shows a longer stage, then each further one, and erases its line', () => {
  const progress = createProgress(write, true)
  progress.report('reading')
  progress.report('comparing')
  vi.advanceTimersByTime(500)
  progress.report('loading')
  progress.clear()
  expect(written).toEqual(['\r\u001b[Kcomparing ...', '\r\u001b[Kloading ...', '\r\u001b[K'])
})

test('writes nothing without a terminal', () => {
  const progress = createProgress(write, false)
  progress.report('reading')
  vi.advanceTimersByTime(10_000)
  progress.clear()
  expect(written).toEqual([])
})

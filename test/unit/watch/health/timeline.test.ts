// Calls run at their time, in order, and not after a cancel.

import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Timeline } from '../../../../src/watch/health/timeline.ts'
import { FakeTimer } from '../../../support/timer.ts'

test('calls run in the order of their times, those of one time in order of scheduling, cancelled ones never', () => {
  const call = fc.record({ delay: fc.integer({ min: 0, max: 50 }), isCancelled: fc.boolean() })
  fc.assert(
    fc.property(fc.array(call, { maxLength: 300 }), (calls) => {
      const timer = new FakeTimer()
      const timeline = new Timeline(timer)
      const start = timer.now()
      const made: (readonly [number, number])[] = []
      const cancels = calls.map(({ delay }, i) => timeline.at(start + delay, () => made.push([timer.now() - start, i])))
      for (const [i, cancel] of cancels.entries()) if (calls[i]?.isCancelled) cancel()
      timer.advance(50)
      const expected = calls
        .map(({ delay, isCancelled }, i) => ({ delay, isCancelled, i }))
        .filter(({ isCancelled }) => !isCancelled)
        .sort((a, b) => a.delay - b.delay || a.i - b.i)
        .map(({ delay, i }) => [delay, i])
      expect(made).toEqual(expected)
      expect(timer.pending).toBe(0)
    }),
  )
})

test('a call due at once runs after `at` returns, and after calls scheduled before it', () => {
  const timer = new FakeTimer()
  const timeline = new Timeline(timer)
  const made: string[] = []
  timeline.at(timer.now() - 5, () => {
    timeline.at(timer.now(), () => made.push('inner'))
    made.push('outer')
  })
  timeline.at(timer.now(), () => made.push('second'))
  expect(made).toEqual([])
  timer.advance(0)
  expect(made).toEqual(['outer', 'second', 'inner'])
})

test('after a stall calls run in portions, so that the event loop can run between them', () => {
  const timer = new FakeTimer()
  const timeline = new Timeline(timer)
  let made = 0
  const portions: number[] = []
  for (let i = 0; i < 1000; i++) timeline.at(timer.now() + i, () => made++)
  timer.stall(5000)
  // Stands for the work of the event loop between two turns of the timeline.
  const between = (): void => {
    portions.push(made)
    made = 0
    if (portions.length < 100) timer.after(0, between)
  }
  timer.after(0, between)
  timer.advance(0)
  expect(Math.max(...portions)).toBeLessThanOrEqual(100)
  expect(portions.reduce((sum, portion) => sum + portion)).toBe(1000)
})

test('no call runs after clear', () => {
  const timer = new FakeTimer()
  const timeline = new Timeline(timer)
  let made = 0
  timeline.at(timer.now() + 1, () => made++)
  timeline.clear()
  timer.advance(10)
  expect([made, timer.pending]).toEqual([0, 0])
})

// What waits: debounce, back-off, what is repeated.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Diagnostic } from '../../../src/diagnostics.ts'
import { createBackoff } from '../../../src/watch/time/backoff.ts'
import { createDebounce } from '../../../src/watch/time/debounce.ts'
import { limitRepeats, type Told } from '../../../src/watch/time/repeats.ts'
import { createWarnings } from '../../../src/watch/warnings.ts'
import { createClock } from '../../support/clock.ts'

describe('debounce', () => {
  const make = (pause: number) => {
    const clock = createClock()
    const runs: number[] = []
    const debounce = createDebounce(
      clock,
      () => pause,
      () => runs.push(clock.now()),
    )
    return { clock, runs, debounce }
  }

  test('runs once, when nothing has happened for the pause', async () => {
    const { clock, runs, debounce } = make(100)
    for (let i = 0; i < 3; i++) {
      debounce.touch()
      await clock.pass(60)
    }
    expect(runs).toEqual([])
    await clock.pass(1000)
    expect(runs).toEqual([220])
  })

  test('runs all the same where something never stops happening', async () => {
    const { clock, runs, debounce } = make(100)
    for (let i = 0; i < 50; i++) {
      debounce.touch()
      await clock.pass(50)
    }
    expect(runs).toEqual([2000])
  })

  test('does not run after it was cancelled, and can begin anew', async () => {
    const { clock, runs, debounce } = make(100)
    debounce.touch()
    debounce.cancel()
    await clock.pass(1000)
    expect([runs, clock.waiting()]).toEqual([[], 0])
    debounce.touch()
    await clock.pass(100)
    expect(runs).toEqual([1100])
  })

  test('never lets an event go unnoticed, nor runs more often than there are events', async () => {
    const gaps = fc.array(fc.integer({ min: 0, max: 300 }), { minLength: 1, maxLength: 30 })
    await fc.assert(
      fc.asyncProperty(gaps, async (times) => {
        const { clock, runs, debounce } = make(100)
        let last = 0
        for (const gap of times) {
          await clock.pass(gap)
          debounce.touch()
          last = clock.now()
        }
        await clock.pass(10_000)
        expect(runs.at(-1)).toBeGreaterThanOrEqual(last)
        expect(runs.length).toBeLessThanOrEqual(times.length)
      }),
    )
  })
})

test('back-off doubles up to its most, and begins anew', () => {
  const backoff = createBackoff(1, 6)
  expect([1, 2, 3, 4, 5].map(backoff.next)).toEqual([1, 2, 4, 6, 6])
  backoff.reset()
  expect(backoff.next()).toBe(1)
})

describe('repeats', () => {
  const make = () => {
    const clock = createClock()
    const told: Told[] = []
    return { clock, told, tell: limitRepeats(clock, (event) => told.push(event)) }
  }
  const failed = (retryMs: number) => ({ event: 'failed', errors: [], omitted: 0, retryMs }) as const

  test('of the same trouble are told once a minute, with how many were left out', async () => {
    const { clock, told, tell } = make()
    for (let i = 0; i < 10; i++) {
      tell(failed(i))
      await clock.pass(10_000)
    }
    expect(told.map(({ repeated }) => repeated)).toEqual([0, 5])
  })

  test('of what was done are all told', () => {
    const { told, tell } = make()
    for (let i = 0; i < 3; i++) tell({ event: 'ready' })
    expect(told).toHaveLength(3)
  })

  test('that were left out are not said to be over either', async () => {
    const { clock, told, tell } = make()
    const flap = (): void => {
      tell(failed(1))
      tell({ event: 'recovered' })
      tell({ event: 'bad-config', errors: [], omitted: 0 })
      tell({ event: 'config-fixed' })
    }
    flap()
    flap()
    expect(told.map(({ event }) => event).filter((event) => !event.includes('config'))).toEqual(['failed', 'recovered'])
    expect(told.map(({ event }) => event).filter((event) => event.includes('config'))).toHaveLength(4)
    await clock.pass(60_000)
    flap()
    expect(told.slice(-4).map(({ event, repeated }) => `${event} ${repeated}`)).toEqual([
      'failed 1',
      'recovered 0',
      'bad-config 0',
      'config-fixed 0',
    ])
  })

  test('are told apart by what they say', () => {
    const { told, tell } = make()
    for (const what of ['a', 'b', 'a', 'b']) tell({ event: 'trouble', what })
    expect(told.map((event) => event.event === 'trouble' && event.what)).toEqual(['a', 'b'])
  })
})

test('a warning is told when it comes up, and again only after it was gone', () => {
  const told: (readonly Diagnostic[])[] = []
  const warnings = createWarnings((event) => event.event === 'warning' && told.push(event.warnings))
  const warning = (message: string): Diagnostic => ({ code: 'W209', severity: 'warning', message })
  warnings.tell([warning('feed is 30 hours old')])
  warnings.tell([warning('feed is 31 hours old'), warning('eth0 is down')])
  warnings.tell([warning('eth0 is down')])
  warnings.tell([warning('feed is 40 hours old'), warning('eth0 is down')])
  expect(told.map((all) => all.map(({ message }) => message))).toEqual([
    ['feed is 30 hours old'],
    ['eth0 is down'],
    ['feed is 40 hours old'],
  ])
})

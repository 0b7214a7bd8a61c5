// Debounce, back-off and repeated events.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Diagnostic } from '../../../src/diagnostics.ts'
import { createBackoff } from '../../../src/watch/time/backoff.ts'
import { createDebounce } from '../../../src/watch/time/debounce.ts'
import { type Emitted, limitRepeats } from '../../../src/watch/time/repeats.ts'
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

  test('runs once, after a pause without events', async () => {
    const { clock, runs, debounce } = make(100)
    for (let i = 0; i < 3; i++) {
      debounce.touch()
      await clock.pass(60)
    }
    expect(runs).toEqual([])
    await clock.pass(1000)
    expect(runs).toEqual([220])
  })

  test('runs despite endless events', async () => {
    const { clock, runs, debounce } = make(100)
    for (let i = 0; i < 50; i++) {
      debounce.touch()
      await clock.pass(50)
    }
    expect(runs).toEqual([2000])
  })

  test('does not run after a cancel, and can start again', async () => {
    const { clock, runs, debounce } = make(100)
    debounce.touch()
    debounce.cancel()
    await clock.pass(1000)
    expect([runs, clock.waiting()]).toEqual([[], 0])
    debounce.touch()
    await clock.pass(100)
    expect(runs).toEqual([1100])
  })

  test('runs after every event, and at most once per event', async () => {
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

test('back-off doubles up to its limit, and starts again after a reset', () => {
  const backoff = createBackoff(1, 6)
  expect([1, 2, 3, 4, 5].map(backoff.next)).toEqual([1, 2, 4, 6, 6])
  backoff.reset()
  expect(backoff.next()).toBe(1)
})

describe('repeated events', () => {
  const make = () => {
    const clock = createClock()
    const emitted: Emitted[] = []
    return { clock, emitted, emit: limitRepeats(clock, (event) => emitted.push(event)) }
  }
  const failed = (retryMs: number) => ({ event: 'failed', errors: [], omitted: 0, retryMs }) as const

  test('of equal trouble are emitted once a minute, with the count of those left out', async () => {
    const { clock, emitted, emit } = make()
    for (let i = 0; i < 10; i++) {
      emit(failed(i))
      await clock.pass(10_000)
    }
    expect(emitted.map(({ repeated }) => repeated)).toEqual([0, 5])
  })

  test('of progress are all emitted', () => {
    const { emitted, emit } = make()
    for (let i = 0; i < 3; i++) emit({ event: 'ready' })
    expect(emitted).toHaveLength(3)
  })

  test('that were left out do not emit their end either', async () => {
    const { clock, emitted, emit } = make()
    const flap = (): void => {
      emit(failed(1))
      emit({ event: 'recovered' })
      emit({ event: 'bad-config', errors: [], omitted: 0 })
      emit({ event: 'config-fixed' })
    }
    flap()
    flap()
    expect(emitted.map(({ event }) => event).filter((event) => !event.includes('config'))).toEqual([
      'failed',
      'recovered',
    ])
    expect(emitted.map(({ event }) => event).filter((event) => event.includes('config'))).toHaveLength(4)
    await clock.pass(60_000)
    flap()
    expect(emitted.slice(-4).map(({ event, repeated }) => `${event} ${repeated}`)).toEqual([
      'failed 1',
      'recovered 0',
      'bad-config 0',
      'config-fixed 0',
    ])
  })

  test('with different texts are not equal', () => {
    const { emitted, emit } = make()
    for (const what of ['a', 'b', 'a', 'b']) emit({ event: 'trouble', what })
    expect(emitted.map((event) => event.event === 'trouble' && event.what)).toEqual(['a', 'b'])
  })
})

test('reports a warning when it first holds, and again only after a time without it', () => {
  const emitted: (readonly Diagnostic[])[] = []
  const warnings = createWarnings((event) => event.event === 'warning' && emitted.push(event.warnings))
  const warning = (message: string): Diagnostic => ({ code: 'W209', severity: 'warning', message })
  warnings.report([warning('feed is 30 hours old')])
  warnings.report([warning('feed is 31 hours old'), warning('eth0 is down')])
  warnings.report([warning('eth0 is down')])
  warnings.report([warning('feed is 40 hours old'), warning('eth0 is down')])
  expect(emitted.map((all) => all.map(({ message }) => message))).toEqual([
    ['feed is 30 hours old'],
    ['eth0 is down'],
    ['feed is 40 hours old'],
  ])
})

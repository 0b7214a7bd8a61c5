// From overlays to bytes: writes exactly the differences, the newest last, despite failures and changes in between.

import fc from 'fast-check'
import { beforeEach, expect, test } from 'vitest'
import { backendByte, type HealthBytes, serviceByte } from '../../../../src/abi/health.ts'
import type { Overlay } from '../../../../src/model/overlay.ts'
import { type Destination, HealthPublisher } from '../../../../src/watch/health/publish.ts'
import { FakeTimer } from '../../../support/timer.ts'

const SLOTS: Destination['slots'] = {
  services: new Map([['web', 2]]),
  backends: new Map([
    ['web/a', 10],
    ['web/b', 11],
  ]),
}
const A = backendByte(10)
const B = backendByte(11)
const WEB = serviceByte(2)

/** A map in the kernel whose writes end when a test says so. */
class Kernel {
  readonly bytes = new Map<number, number>()
  readonly writes: HealthBytes[] = []
  readonly #open: ((outcome: 'written' | 'superseded' | Error) => void)[] = []

  destination(): Destination {
    return {
      slots: SLOTS,
      bytes: new Map(this.bytes),
      write: (bytes) => {
        this.writes.push(bytes)
        return new Promise((resolve, reject) => {
          this.#open.push((outcome) => {
            if (outcome instanceof Error) return void reject(outcome)
            if (outcome === 'written') for (const [byte, value] of bytes) this.bytes.set(byte, value)
            resolve(outcome)
          })
        })
      },
    }
  }

  get isBusy(): boolean {
    return this.#open.length > 0
  }

  /** Ends the current write, and lets the publisher process its result. */
  async end(outcome: 'written' | 'superseded' | Error = 'written'): Promise<void> {
    this.#open.shift()?.(outcome)
    await Promise.resolve()
    await Promise.resolve()
    await Promise.resolve()
  }
}

const overlay = (a: number, b: number, mode: 'well' | 'drop' = 'well'): Overlay =>
  new Map([
    [
      'web',
      {
        mode,
        shares: new Map([
          ['a', a],
          ['b', b],
        ]),
      },
    ],
  ])

let kernel: Kernel
let timer: FakeTimer
let superseded: number
let errors: unknown[]
let publisher: HealthPublisher
beforeEach(() => {
  kernel = new Kernel()
  timer = new FakeTimer()
  superseded = 0
  errors = []
  publisher = new HealthPublisher({
    scheduler: timer,
    onSuperseded: () => superseded++,
    onError: (error) => errors.push(error),
  })
})

test('writes bytes that differ from the map, and nothing if none does', async () => {
  kernel.bytes.set(A, 255).set(B, 3)
  publisher.retarget(kernel.destination(), overlay(0, 1, 'drop'))
  expect(kernel.writes).toEqual([
    new Map([
      [WEB, 2],
      [B, 0],
    ]),
  ])
  await kernel.end()
  publisher.publish(overlay(0, 1, 'drop'))
  await publisher.settled()
  expect(kernel.writes).toHaveLength(1)
})

test('changes during a write go into the next one, with their newest values', async () => {
  publisher.retarget(kernel.destination(), overlay(0, 1))
  publisher.publish(overlay(1, 0))
  publisher.publish(overlay(0.5, 0))
  expect(kernel.writes).toHaveLength(1)
  await kernel.end()
  expect(kernel.writes.slice(1)).toEqual([
    new Map([
      [A, 128],
      [B, 255],
    ]),
  ])
  // Back to the value of the pending write: nothing is left to do.
  publisher.publish(overlay(0.5, 0))
  await kernel.end()
  await publisher.settled()
  expect(kernel.writes).toHaveLength(2)
  expect([kernel.bytes.get(A), kernel.bytes.get(B)]).toEqual([128, 255])
})

test('retries a failed write after growing waits, and reports it once', async () => {
  publisher.retarget(kernel.destination(), overlay(0, 1))
  await kernel.end(new Error('no bpftool'))
  expect([errors.length, kernel.isBusy]).toEqual([1, false])
  publisher.publish(overlay(0, 0))
  expect(kernel.isBusy).toBe(false)
  timer.advance(100)
  expect(kernel.writes.at(-1)).toEqual(
    new Map([
      [A, 255],
      [B, 255],
    ]),
  )
  await kernel.end(new Error('no bpftool'))
  timer.advance(199)
  expect(kernel.isBusy).toBe(false)
  timer.advance(1)
  await kernel.end()
  await publisher.settled()
  expect([kernel.bytes.get(A), kernel.bytes.get(B), errors.length]).toEqual([255, 255, 1])
})

test('reports a superseded generation once and stops writing to it; the next one gets everything', async () => {
  publisher.retarget(kernel.destination(), overlay(0, 1))
  await kernel.end('superseded')
  publisher.publish(overlay(0, 0))
  await publisher.settled()
  expect([superseded, kernel.writes.length]).toEqual([1, 1])
  publisher.retarget(kernel.destination(), overlay(0, 0))
  await kernel.end()
  expect([kernel.bytes.get(A), kernel.bytes.get(B)]).toEqual([255, 255])
})

test('overwrites a write that was pending when the destination changed', async () => {
  publisher.retarget(kernel.destination(), overlay(0, 1))
  // The bytes are read before the pending write lands and undoes newer values.
  publisher.retarget(kernel.destination(), overlay(1, 1))
  await kernel.end()
  expect(kernel.bytes.get(A)).toBe(255)
  await kernel.end()
  await publisher.settled()
  expect(kernel.bytes.get(A)).toBe(0)
})

test('writes nothing without a destination', async () => {
  publisher.publish(overlay(0, 0))
  publisher.retarget(undefined, overlay(0, 0))
  await publisher.settled()
  expect(kernel.writes).toEqual([])
})

test('after any sequence of changes and failures the map matches the last overlay', async () => {
  const share = fc.constantFrom(0, 0.25, 1)
  const step = fc.oneof(
    fc.record({ what: fc.constant('publish' as const), a: share, b: share }),
    fc.record({ what: fc.constantFrom('written' as const, 'fail' as const, 'retarget' as const, 'wait' as const) }),
  )
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
      const [map, clock] = [new Kernel(), new FakeTimer()]
      const subject = new HealthPublisher({ scheduler: clock, onSuperseded: () => undefined, onError: () => undefined })
      let now = overlay(1, 1)
      subject.retarget(map.destination(), now)
      for (const one of steps) {
        if (one.what === 'publish') {
          now = overlay(one.a, one.b)
          subject.publish(now)
        } else if (one.what === 'retarget') subject.retarget(map.destination(), now)
        else if (one.what === 'wait') clock.advance(1000)
        else await map.end(one.what === 'written' ? 'written' : new Error('failed'))
      }
      for (let i = 0; i < 10; i++) {
        await map.end()
        clock.advance(10_000)
      }
      await subject.settled()
      const shares = now.get('web')?.shares
      const said = (key: string): number =>
        shares?.get(key) === 0 ? 255 : Math.round((1 - (shares?.get(key) ?? 1)) * 255)
      expect([map.bytes.get(A) ?? 0, map.bytes.get(B) ?? 0]).toEqual([said('a'), said('b')])
    }),
  )
})

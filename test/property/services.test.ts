// Services in an image: what is written is read back, in whatever order it was listed; damage is found.

import fc from 'fast-check'
import { expect, test } from 'vitest'
import { XdpError } from '../../src/diagnostics.ts'
import type { Slots } from '../../src/model/live.ts'
import { backendSlotKey, type LeavingBackend, type Service } from '../../src/model/service.ts'
import type { State } from '../../src/model/state.ts'
import { compileImage, decodeImage, type ImageSource } from '../../src/tables/image.ts'
import { recognizeImage } from '../../src/tables/recognize.ts'
import { arbitraryServices, balancing } from '../support/services.ts'
import { slotsFor } from '../support/slots.ts'

const META = { generation: 3, netns: 1n, objectDigest: new Uint8Array(16) }

/** A number of slots apart, so that there are free ones in between. */
function slotsOf(state: State, leaving: readonly LeavingBackend[]): Slots {
  const slots = slotsFor(state, (n) => n * 2)
  const backends = new Map(slots.backends)
  for (const [i, { service, backend }] of leaving.entries()) backends.set(backendSlotKey(service, backend), 101 + i * 2)
  return { ...slots, backends }
}

/** Every drained backend has a deadline, where the service has one at all. */
const deadlinesOf = (services: readonly Service[]): ReadonlyMap<string, number> =>
  new Map(
    services.flatMap(({ name, backends, drainTimeout }) =>
      drainTimeout === undefined
        ? []
        : backends
            .filter(({ state, weight }) => state === 'drain' || (state === 'active' && weight === 0))
            .map((backend, i): [string, number] => [backendSlotKey(name, backend), 500 + i]),
    ),
  )

function sourceOf({
  services,
  leaving,
}: {
  services: readonly Service[]
  leaving: readonly LeavingBackend[]
}): ImageSource {
  const state = balancing(services)
  return { state, slots: slotsOf(state, leaving), meta: META, leaving, deadlines: deadlinesOf(services) }
}

const byKey = (a: LeavingBackend, b: LeavingBackend): number =>
  backendSlotKey(a.service, a.backend) < backendSlotKey(b.service, b.backend) ? -1 : 1

test('services, slots, leaving backends and deadlines are read back', () => {
  fc.assert(
    fc.property(arbitraryServices, (drawn) => {
      const source = sourceOf(drawn)
      const decoded = decodeImage(compileImage(source))
      expect(decoded.services).toEqual(source.state.services)
      expect(decoded.policy).toEqual(source.state.policy)
      const { interfaces: _, ...slots } = source.slots
      expect(decoded.slots).toEqual(slots)
      expect(decoded.leaving.toSorted(byKey)).toEqual(drawn.leaving.toSorted(byKey))
      expect(decoded.deadlines).toEqual(source.deadlines)
      expect(decoded.drifted).toEqual([])
    }),
    { numRuns: 60 },
  )
})

test('an image is recognised by the state it was made of, and by no other', () => {
  fc.assert(
    fc.property(arbitraryServices, arbitraryServices, (drawn, other) => {
      const source = sourceOf(drawn)
      const image = compileImage(source)
      const recognised = recognizeImage(image, source.state)
      expect(recognised?.services).toEqual(source.state.services)
      expect(recognised?.leaving.toSorted(byKey)).toEqual(drawn.leaving.toSorted(byKey))
      const stranger = sourceOf(other)
      const isSame = Buffer.from(compileImage({ ...source, ...stranger, slots: stranger.slots })).equals(image)
      if (!isSame) expect(recognizeImage(image, stranger.state)).toBeUndefined()
    }),
    { numRuns: 40 },
  )
})

test('the order in which services and leaving backends are listed changes nothing', () => {
  fc.assert(
    fc.property(arbitraryServices, (drawn) => {
      const source = sourceOf(drawn)
      const reversed = { ...source, state: balancing(drawn.services.toReversed()), leaving: drawn.leaving.toReversed() }
      expect(Buffer.from(compileImage(reversed)).equals(compileImage(source))).toBe(true)
    }),
    { numRuns: 40 },
  )
})

test('damage to a line of the services is drift or refused, and never passes for what was written', () => {
  const drawn = fc.tuple(
    arbitraryServices.filter(({ services }) => services.length > 0),
    fc.array(fc.tuple(fc.nat(), fc.nat(511), fc.integer({ min: 1, max: 255 })), { minLength: 1, maxLength: 3 }),
  )
  fc.assert(
    fc.property(drawn, ([one, damages]) => {
      const source = sourceOf(one)
      const image = compileImage(source)
      const whole = decodeImage(image)
      const from = firstServiceLine(image)
      for (const [line, at, bits] of damages) {
        const byte = from * 64 + ((line * 64 + at) % (image.length - from * 64))
        image[byte] = (image[byte] as number) ^ bits
      }
      try {
        const decoded = decodeImage(image)
        if (decoded.drifted.length > 0) return
        // Nothing reads the space behind rings and names.
        expect(decoded.services).toEqual(whole.services)
      } catch (error) {
        expect(error).toBeInstanceOf(XdpError)
      }
    }),
    { numRuns: 150 },
  )
})

/** Where the sections of services begin: the hash of endpoints is the first. */
const firstServiceLine = (image: Uint8Array): number => new DataView(image.buffer).getUint32(6 * 64 + 12, true)

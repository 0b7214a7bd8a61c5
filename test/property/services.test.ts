// Services in an image: encoding is reversible in any order of services, and damage is detected.

import fc from 'fast-check'
import { expect, test } from 'vitest'
import { LINE_SIZE } from '../../src/abi/generated.ts'
import { XdpError } from '../../src/diagnostics.ts'
import type { Slots } from '../../src/model/live.ts'
import { backendSlotKey, type LeavingBackend, type Service } from '../../src/model/service.ts'
import type { State } from '../../src/model/state.ts'
import { compileImage, decodeImage } from '../../src/tables/image/image.ts'
import { recognizeImage } from '../../src/tables/image/recognize.ts'
import type { Source } from '../../src/tables/image/source.ts'
import { linesOf, transferOf } from '../../src/tables/layout/difference.ts'
import { type Image, imageBytes, imageFrom } from '../../src/tables/layout/layout.ts'
import { usually } from '../support/depth.ts'
import { arbitraryServices, backend, balancing, service } from '../support/services.ts'
import { slotsFor } from '../support/slots.ts'

const META = { generation: 3, netns: 1n, objectDigest: new Uint8Array(16) }

/** Slots with gaps, so that there are free ones in between. */
function slotsOf(state: State, leaving: readonly LeavingBackend[]): Slots {
  const slots = slotsFor(state, (n) => n * 2)
  const backends = new Map(slots.backends)
  for (const [i, { service, backend }] of leaving.entries()) backends.set(backendSlotKey(service, backend), 101 + i * 2)
  return { ...slots, backends }
}

/** Every drained backend has a deadline if its service has one. */
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

function sourceOf({ services, leaving }: { services: readonly Service[]; leaving: readonly LeavingBackend[] }): Source {
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

test('an undamaged image is recognized, with the result of decoding', () => {
  fc.assert(
    fc.property(arbitraryServices, (drawn) => {
      const image = compileImage(sourceOf(drawn))
      expect(recognizeImage(image, image.sections, () => undefined)).toEqual(decodeImage(image))
    }),
    { numRuns: 40 },
  )
})

test('the order of services and leaving backends changes nothing', () => {
  fc.assert(
    fc.property(arbitraryServices, (drawn) => {
      const source = sourceOf(drawn)
      const reversed = { ...source, state: balancing(drawn.services.toReversed()), leaving: drawn.leaving.toReversed() }
      const bytes = [reversed, source].map((one) => Buffer.from(imageBytes(compileImage(one)))) as [Buffer, Buffer]
      expect(bytes[0].equals(bytes[1])).toBe(true)
    }),
    { numRuns: 40 },
  )
})

const EDITS: readonly ((service: Service) => Service | undefined)[] = [
  (service) => service,
  (service) => ({ ...service, onEmpty: service.onEmpty === 'drop' ? 'pass' : 'drop' }),
  (service) => ({ ...service, backends: service.backends.slice(1) }),
  (service) => ({ ...service, backends: service.backends.map((one) => ({ ...one, weight: one.weight ^ 1 })) }),
  (service) => ({ ...service, backends: service.backends.map((one, i) => (i ? one : { ...one, state: 'disabled' })) }),
  (service) => ({ ...service, backends: service.backends.map((one) => ({ ...one, nextHop: undefined })) }),
  () => undefined,
]

/** The bytes of an image after its transfer from the previous image. */
function transferred(image: Image, previous: Image): Uint8Array {
  const [words, old] = [new Uint8Array(image.lines * LINE_SIZE), imageBytes(previous)]
  const { copies, writes } = transferOf(image, previous)
  for (const { first, lines, from } of copies)
    words.set(old.subarray(from * LINE_SIZE, (from + lines) * LINE_SIZE), first * LINE_SIZE)
  for (const extent of writes) {
    let at = extent.first * LINE_SIZE
    for (const piece of linesOf(image, extent)) {
      words.set(new Uint8Array(piece.buffer, piece.byteOffset, piece.byteLength), at)
      at += piece.byteLength
    }
    expect(at).toBe((extent.first + extent.lines) * LINE_SIZE)
  }
  return words
}

test('the order of leaving backends of two services with one reply port changes nothing', () => {
  const services = ['192.0.2.10', '192.0.2.11'].map((vip, i) => service(`s${i}`, `${vip} 80`))
  const leaving = services.map(({ name }) => ({ service: name, backend: backend('10.0.0.1'), deadline: 1000 }))
  const source = sourceOf({ services, leaving })
  const bytes = [leaving, leaving.toReversed()].map((listed) =>
    imageBytes(compileImage({ ...source, leaving: listed })),
  )
  expect(Buffer.compare(bytes[0] as Uint8Array, bytes[1] as Uint8Array)).toBe(0)
})

test('unchanged rings are taken over, and the image equals one compiled without a previous image', () => {
  const edits = fc.array(fc.nat(EDITS.length - 1), { minLength: 8, maxLength: 8 })
  const drawn = arbitraryServices.filter(({ services }) => services.length > 0)
  fc.assert(
    fc.property(drawn, edits, fc.boolean(), ({ services, leaving }, chosen, isReversed) => {
      const source = sourceOf({ services, leaving })
      const edited = services.flatMap((service, i) => EDITS[chosen[i % 8] as number]?.(service) ?? [])
      const other = { ...source, state: balancing(edited), leaving: [] }
      const [before, after] = isReversed ? [other, source] : [source, other]
      const previous = compileImage(before)
      const alone = compileImage(after)
      const image = compileImage({ ...after, previous })
      expect(image.directory).toEqual(alone.directory)
      expect(Buffer.from(transferred(image, previous)).equals(imageBytes(alone))).toBe(true)
    }),
    { numRuns: usually(5, { thoroughly: 15 }) },
  )
})

test('after an edit of one service, the rings of the others are taken over', () => {
  const web = (n: number, weight: number): Service =>
    service(`web${n}`, `192.0.2.${n} 443`, { backends: [backend('10.0.0.1', { weight }), '10.0.0.2'] })
  const source = (weight: number): Source => {
    const services = [web(1, 1), web(2, weight), web(3, 1), web(4, 1)]
    return sourceOf({ services, leaving: [] })
  }
  const previous = compileImage(source(1))
  const image = compileImage({ ...source(2), previous })
  expect(image.rings?.kept?.rings).toHaveLength(3)
  expect(image.directory).toEqual(compileImage(source(2)).directory)
})

test('damage to a line of the services is drift or refused, and never goes unnoticed', () => {
  const drawn = fc.tuple(
    arbitraryServices.filter(({ services }) => services.length > 0),
    fc.array(fc.tuple(fc.nat(), fc.nat(511), fc.integer({ min: 1, max: 255 })), { minLength: 1, maxLength: 3 }),
  )
  fc.assert(
    fc.property(drawn, ([one, damages]) => {
      const source = sourceOf(one)
      const compiled = compileImage(source)
      const whole = decodeImage(compiled)
      const image = imageBytes(compiled)
      // The sections of services come last, and the hash of endpoints is the first of them.
      const from = compiled.directory.ENDPOINT_INDEX.first
      for (const [line, at, bits] of damages) {
        const byte = from * 64 + ((line * 64 + at) % (image.length - from * 64))
        image[byte] = (image[byte] as number) ^ bits
      }
      let decoded: ReturnType<typeof decodeImage>
      try {
        decoded = decodeImage(imageFrom(image))
      } catch (error) {
        expect(error).toBeInstanceOf(XdpError)
        return
      }
      if (decoded.drifted.length > 0) return
      // Nothing reads the space behind rings and names.
      expect(decoded.services).toEqual(whole.services)
    }),
    { numRuns: usually(150, { thoroughly: 4000 }) },
  )
})

test.each([
  ['an address of the source pool', 'POOLS', 3],
  ['the drain timeout', 'SERVICE_RECORDS', 48],
] as const)('damage to %s is drift of its service', (_setting, section, at) => {
  const web = service('web', '192.0.2.1 80', {
    forwarding: 'nat',
    snatPool: ['198.51.100.1'],
    drainTimeout: 60,
    backends: [backend('10.0.0.1')],
  })
  const compiled = compileImage(sourceOf({ services: [web], leaving: [] }))
  const image = imageBytes(compiled)
  const byte = compiled.directory[section].first * 64 + at
  image[byte] = (image[byte] as number) ^ 1
  expect(decodeImage(imageFrom(image)).drifted).toEqual(['service:web'])
})

/** The slots of the state; names keep their previous slots. */
function slotsAfter(before: Slots, state: State, leaving: readonly LeavingBackend[]): Slots {
  const wanted = slotsOf(state, leaving)
  const keep = (kind: 'services' | 'backends' | 'pools'): Map<string, number> => {
    const taken = new Set([...before[kind].values(), ...wanted[kind].values()])
    let next = Math.max(-1, ...taken) + 1
    return new Map([...wanted[kind].keys()].map((name) => [name, before[kind].get(name) ?? next++]))
  }
  return { ...wanted, services: keep('services'), backends: keep('backends'), pools: keep('pools') }
}

test('compiling with lines taken over gives the result of compiling without', () => {
  let kept = 0
  fc.assert(
    fc.property(
      arbitraryServices,
      arbitraryServices,
      fc.array(fc.boolean(), { minLength: 8, maxLength: 8 }),
      fc.boolean(),
      (old, other, stays, keepsSlots) => {
        const before = sourceOf(old)
        const image = compileImage(before)
        const [own, others] = [before.state.services, new Map(other.services.map((one) => [one.name, one]))]
        const names = [...new Set([...own.keys(), ...others.keys()])]
        // A mix of unchanged services, changed ones of the same name, and removed ones.
        const services = names.flatMap((name, i) => (stays[i % 8] ? own.get(name) : others.get(name)) ?? [])
        const next = sourceOf({ services, leaving: [] })
        const state = { ...next.state, services: new Map(services.map((one) => [one.name, one])) }
        const slots = keepsSlots ? slotsAfter(before.slots, state, []) : next.slots
        const source = { ...next, state, slots }
        const lines = {
          services: image.sections.SERVICES,
          records: image.sections.SERVICE_RECORDS,
          backends: image.sections.BACKENDS,
        }
        const { leaving = [], deadlines = new Map() } = before
        const compiled = compileImage({
          ...source,
          before: { services: own, slots: before.slots, leaving, deadlines, lines },
        })
        kept += services.filter((one) => own.get(one.name) === one).length
        expect(Buffer.from(imageBytes(compiled)).equals(Buffer.from(imageBytes(compileImage(source))))).toBe(true)
      },
    ),
    { numRuns: usually(80, { thoroughly: 2_000 }) },
  )
  expect(kept).toBeGreaterThan(0)
})

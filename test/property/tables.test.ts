import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Family } from '../../src/model/address.ts'
import type { State } from '../../src/model/state.ts'
import { compileImage, decodeImage } from '../../src/tables/image/image.ts'
import { imageBytes, imageFrom } from '../../src/tables/layout/layout.ts'
import { arbitraryState, edges, ImageReader, modelParts, slotsOf, stateOf } from '../support/tables.ts'

const META = { generation: 7, netns: 4026531840n, objectDigest: new Uint8Array(16).fill(9) }
const compile = (state: State): Uint8Array => imageBytes(compileImage({ state, slots: slotsOf(state), meta: META }))

test('decoding a compiled image gives its lists, policy and slots', () => {
  fc.assert(
    fc.property(arbitraryState, (state) => {
      const decoded = decodeImage(imageFrom(compile(state)))
      expect(decoded.lists).toEqual(new Map([...state.lists].sort(([a], [b]) => (a < b ? -1 : 1))))
      expect(decoded.policy).toEqual(state.policy)
      expect(decoded.slots.lists).toEqual(slotsOf(state).lists)
      expect(decoded.drifted).toEqual([])
      expect(decoded.meta).toMatchObject({ generation: 7n, netns: META.netns, committed_at: 0n })
    }),
    { numRuns: 120 },
  )
})

test('every address at, before and after every edge has the class of its lists', () => {
  fc.assert(
    fc.property(arbitraryState, (state) => {
      const reader = new ImageReader(compile(state))
      for (const family of [4, 6] as const satisfies readonly Family[]) {
        for (const address of edges(state, family)) {
          const found = reader.parts(reader.lookup(family, address))
          if (found.join() !== modelParts(state, family, address).join()) {
            throw new Error(`IPv${family} ${address.toString(16)}: ${found}, not ${modelParts(state, family, address)}`)
          }
        }
      }
    }),
    { numRuns: 150 },
  )
})

test('equal states give equal bytes, whatever the order of their lists', () => {
  fc.assert(
    fc.property(arbitraryState, (state) => {
      const reversed = stateOf([...state.lists.values()].reverse(), state.policy?.default)
      const slots = slotsOf(state)
      const [one, other] = [state, reversed].map((of) =>
        Buffer.from(imageBytes(compileImage({ state: of, slots, meta: META }))),
      )
      expect(one?.equals(other as Buffer)).toBe(true)
    }),
    { numRuns: 50 },
  )
})

test('damaged bytes decode to another state or are refused, and never hang the decoder', () => {
  fc.assert(
    fc.property(
      arbitraryState,
      fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 8 }),
      fc.boolean(),
      (state, damages, early) => {
        const image = compile(state)
        // Half of the time in the header and the first sections, because other sections depend on their numbers.
        for (const [at, byte] of damages) image[at % (early ? Math.min(image.length, 4096) : image.length)] = byte
        try {
          decodeImage(imageFrom(image))
        } catch (error) {
          expect(error).toMatchObject({ diagnostics: [{ code: 'E113' }] })
        }
      },
    ),
    { numRuns: 120 },
  )
})

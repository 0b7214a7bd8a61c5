import fc from 'fast-check'
import { expect, test } from 'vitest'
import { compileImage, decodeImage } from '../../src/tables/image.ts'
import { recognizeImage } from '../../src/tables/recognize.ts'
import { arbitraryState, slotsOf } from '../support/tables.ts'

const META = { generation: 7, netns: 4026531840n, objectDigest: new Uint8Array(16).fill(9) }

test('an image of the expected state is recognised as just what decoding gives', () => {
  fc.assert(
    fc.property(arbitraryState, (state) => {
      const image = compileImage({ state, slots: slotsOf(state), meta: META })
      const recognised = recognizeImage(image, state)
      const decoded = decodeImage(image)
      expect(recognised?.meta).toEqual(decoded.meta)
      expect(new Map([...(recognised?.lists ?? [])].sort(([a], [b]) => (a < b ? -1 : 1)))).toEqual(decoded.lists)
      expect(recognised).toMatchObject({ policy: decoded.policy, slots: decoded.slots, drifted: [] })
    }),
    { numRuns: 60 },
  )
})

test('an image of another state, or a damaged one, is never taken for the expected one', () => {
  fc.assert(
    fc.property(
      arbitraryState,
      arbitraryState,
      fc.nat(),
      fc.integer({ min: 1, max: 255 }),
      (state, other, at, change) => {
        const image = compileImage({ state, slots: slotsOf(state), meta: META })
        const same = Buffer.from(image).equals(
          Buffer.from(compileImage({ state: other, slots: slotsOf(other), meta: META })),
        )
        if (!same) expect(recognizeImage(image, other)).toBeUndefined()
        const damaged = image.slice()
        const place = at % damaged.length
        damaged[place] = (damaged[place] as number) ^ change
        // What is recognised in spite of a changed byte must mean the same: a byte of the generation's own record.
        const recognised = recognizeImage(damaged, state)
        if (recognised) expect(decodeImage(damaged).drifted).toEqual([])
      },
    ),
    { numRuns: 60 },
  )
})

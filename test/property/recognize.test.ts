import fc from 'fast-check'
import { expect, test } from 'vitest'
import { HEADER_LINES, LINE_SIZE, metaCodec } from '../../src/abi/generated.ts'
import { EMPTY_STATE, type State } from '../../src/model/state.ts'
import { compileImage, decodeImage } from '../../src/tables/image/image.ts'
import { type Recall, recognizeImage } from '../../src/tables/image/recognize.ts'
import { damagedSections } from '../../src/tables/layout/difference.ts'
import {
  type Image,
  imageBytes,
  imageFrom,
  META_LINE,
  readHeader,
  SECTION_NAMES,
} from '../../src/tables/layout/layout.ts'
import { listDigest } from '../../src/tables/lines/digest.ts'
import { digestLines } from '../../src/tables/lines/line-digest.ts'
import { slotsFor } from '../support/slots.ts'
import { arbitraryState, slotsOf } from '../support/tables.ts'

const META = { generation: 7, netns: 4026531840n, objectDigest: new Uint8Array(16).fill(9) }
const NO_SLOTS = slotsFor(EMPTY_STATE)
const compile = (state: State): Image => compileImage({ state, slots: slotsOf(state), meta: META })

/** Whether header and sections have the digests in the header. */
function isIntact({ header, directory, sections }: Image): boolean {
  const found = SECTION_NAMES.map((name) => digestLines(sections[name]))
  return readHeader(header).intact && damagedSections(directory, SECTION_NAMES, found).length === 0
}

const recallFrom =
  ({ lists }: State): Recall =>
  ({ name, digest }) => {
    const list = lists.get(name)
    return list && listDigest(list) === digest ? list : undefined
  }

test('an image of known lists is recognized, with the result of decoding', () => {
  fc.assert(
    fc.property(arbitraryState, (state) => {
      const image = compile(state)
      expect(isIntact(image)).toBe(true)
      const recognised = recognizeImage(image, image.sections, recallFrom(state))
      const decoded = decodeImage(image)
      expect(recognised?.meta).toEqual(decoded.meta)
      expect(new Map([...(recognised?.lists ?? [])].sort(([a], [b]) => (a < b ? -1 : 1)))).toEqual(decoded.lists)
      expect(recognised).toMatchObject({ policy: decoded.policy, slots: decoded.slots, drifted: [] })
    }),
    { numRuns: 60 },
  )
})

test('an image of unknown lists is never recognized', () => {
  fc.assert(
    fc.property(arbitraryState, arbitraryState, (state, known) => {
      const image = compile(state)
      const recognised = recognizeImage(image, image.sections, recallFrom(known))
      if (recognised) expect(recognised.lists).toEqual(decodeImage(image).lists)
    }),
    { numRuns: 60 },
  )
})

test('any changed byte is damage, except for the time of the commit', () => {
  const committed = META_LINE * LINE_SIZE + metaCodec.offsets.committed_at
  fc.assert(
    fc.property(
      arbitraryState,
      fc.array(fc.tuple(fc.nat(), fc.integer({ min: 1, max: 255 })), { minLength: 1, maxLength: 6 }),
      fc.boolean(),
      (state, damages, early) => {
        const image = imageBytes(compile(state))
        const damaged = image.slice()
        // Half of the time in the header, because the rest depends on its numbers.
        for (const [at, change] of damages) {
          const place = at % (early ? Math.min(image.length, HEADER_LINES * LINE_SIZE) : image.length)
          if (place < committed || place >= committed + 8) damaged[place] = (damaged[place] as number) ^ change
        }
        const isSame = Buffer.from(image).equals(damaged)
        let found: boolean
        try {
          found = !isIntact(imageFrom(damaged))
        } catch {
          found = true
        }
        expect(found).toBe(!isSame)
      },
    ),
    { numRuns: 200 },
  )
})

test('the time of the commit may be written into an image', () => {
  const bytes = imageBytes(compileImage({ state: EMPTY_STATE, slots: NO_SLOTS, meta: META }))
  const view = new DataView(bytes.buffer)
  view.setBigUint64(META_LINE * LINE_SIZE + metaCodec.offsets.committed_at, 1_700_000_000n, true)
  expect(isIntact(imageFrom(bytes))).toBe(true)
})

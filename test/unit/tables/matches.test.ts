// Lines of matches in an image. That random states with matches come back as they were is tested in rates.test.ts.

import { expect, test } from 'vitest'
import { EMPTY_SET } from '../../../src/model/ranges.ts'
import { compileImage } from '../../../src/tables/image/image.ts'
import { ANY, block, policy, scope } from '../../support/lists.ts'
import { slotsFor } from '../../support/slots.ts'

const meta = { generation: 1, netns: 1n, objectDigest: new Uint8Array(16) }

test('a policy without matches has no line for them, and one with a match that nothing fits has', () => {
  const lines = (of: Parameters<typeof block>[1]) => {
    const state = policy('pass', block('entry', of))
    return (
      compileImage({ state, slots: slotsFor(state), leaving: [], deadlines: new Map(), meta }).sections.RULES.length /
      16
    )
  }
  expect(lines(['192.0.2.0/24', scope(6, { destination: [22] })])).toBe(1)
  expect(lines(['192.0.2.0/24', { ...ANY, match: { destinations: EMPTY_SET } }])).toBe(2)
})

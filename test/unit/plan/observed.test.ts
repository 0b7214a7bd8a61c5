// The packets that a plan says would have been dropped.

import { expect, test } from 'vitest'
import type { Plan } from '../../../src/plan/change.ts'
import { withObserved } from '../../../src/plan/observed.ts'

test('an estimate of sources is at most the number of packets', () => {
  const plan = { changes: [{ key: 'list:a' }, { key: 'list:b' }, { key: 'list:c' }] } as unknown as Plan
  const counts = [
    ['list:a', { packets: 257, bytes: 9000, sources: 260 }],
    ['list:b', { packets: 257, bytes: 9000, sources: 20 }],
    ['list:c', { packets: 257, bytes: 9000 }],
  ] as const
  const { changes } = withObserved(plan, new Map(counts))
  expect(changes.map(({ observed }) => observed?.sources)).toEqual([257, 20, undefined])
})

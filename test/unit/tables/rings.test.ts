import { expect, test } from 'vitest'
import { ringOf } from '../../../src/semantics/maglev.ts'
import { measureRing } from '../../../src/tables/services/rings.ts'
import { backend } from '../../support/services.ts'

test.each([
  ['no backend', []],
  ['no backend that takes flows', [backend('10.0.0.1', { weight: 0 }), backend('10.0.0.2', { state: 'drain' })]],
  [
    'one of three that takes flows',
    [backend('10.0.0.1'), backend('10.0.0.2', { weight: 0 }), backend('10.0.0.3', { state: 'disabled' })],
  ],
  [
    'as many as the usual table has room for',
    Array.from({ length: 655 }, (_, i) => backend(`10.0.${i >> 8}.${i & 255}`)),
  ],
  [
    'one more than the usual table has room for',
    Array.from({ length: 656 }, (_, i) => backend(`10.0.${i >> 8}.${i & 255}`)),
  ],
])('measureRing returns the size of the ring: %s', (_, backends) => {
  expect(measureRing(backends, new Uint16Array(backends.length)).size).toBe(ringOf(backends).length)
})

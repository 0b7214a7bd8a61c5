// The records of features taken together: nothing belongs to two of them, and nothing to none.

import { describe, expect, test } from 'vitest'
import { REASON_SLOTS } from '../../../src/abi/generated.ts'
import type { Feature } from '../../../src/features/feature.ts'
import { FEATURES, memoryUse, OWN_MAPS, ownMemoryUse, SHARED_MAPS } from '../../../src/features/features.ts'
import { POLICY_ROWS, ROWS } from '../../../src/features/rows.ts'
import { REASONS } from '../../../src/report/reason.ts'

describe('every reason', () => {
  test.each(REASONS)('%s belongs to exactly one feature', (reason) => {
    expect(FEATURES.filter(({ reasons }) => reasons.includes(reason))).toHaveLength(1)
  })

  test('has a counter', () => {
    expect(REASONS.length).toBeLessThanOrEqual(REASON_SLOTS)
  })
})

const keysOf = (of: (feature: Feature) => object | undefined): string[] =>
  FEATURES.flatMap((feature) => Object.keys(of(feature) ?? {}))

test.each([
  ['features', FEATURES.map(({ name }) => name)],
  ['maps', SHARED_MAPS.map(({ name }) => name)],
  ['maps of a generation', FEATURES.flatMap(({ ownMaps }) => ownMaps?.names ?? [])],
  ['programs', FEATURES.flatMap(({ programs }) => Object.values<string>(programs))],
  ['parts', keysOf(({ parts }) => parts)],
  ['rows', [...Object.keys(POLICY_ROWS), ...keysOf(({ gauges }) => gauges?.rows)]],
])('no two %s have the same name', (_, names) => {
  expect(names).toEqual([...new Set(names)])
})

test.each(Object.entries(ROWS))('the description of row %s fits into a sentence: %s', (name, description) => {
  expect(name).toMatch(/^[a-z][a-z_]*$/)
  expect(description).toMatch(/^[a-z][^\n]*[^.]$/)
})

test('only the maps of bans are shown under a use of their own', () => {
  expect(SHARED_MAPS.filter((map) => memoryUse(map) !== 'counters')).toEqual([])
  expect(OWN_MAPS.filter((name) => ownMemoryUse(name) !== 'policy')).toEqual(['bans', 'ban_state', 'ban_filter'])
})

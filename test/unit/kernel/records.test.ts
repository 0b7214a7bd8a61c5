// The index from ifindex to counter slot finds every interface, even if their places collide.

import fc from 'fast-check'
import { expect, test } from 'vitest'
import { INTERFACE_INDEX_SIZE, INTERFACE_PROBES } from '../../../src/abi/generated.ts'
import { XdpError } from '../../../src/diagnostics.ts'
import { buildIndex, indexedSlot, indexWrites } from '../../../src/kernel/observe/records.ts'

const slotsOf = (numbers: readonly number[]): Map<number, number> =>
  new Map(numbers.map((ifindex, i) => [ifindex, i + 1]))

test('finds consecutive interfaces, and one that collides with the first', () => {
  const slots = slotsOf([...Array.from({ length: 12 }, (_, i) => i + 2), INTERFACE_INDEX_SIZE + 2])
  const index = buildIndex(slots)
  for (const [ifindex, slot] of slots) expect(indexedSlot(index, ifindex)).toBe(slot)
})

test('refuses more interfaces with equal remainders than probes', () => {
  const numbers = Array.from({ length: INTERFACE_PROBES + 1 }, (_, i) => 5 + i * INTERFACE_INDEX_SIZE)
  expect(() => buildIndex(slotsOf(numbers))).toThrow(XdpError)
  expect(() => buildIndex(slotsOf(numbers.slice(1)))).not.toThrow()
})

test('finds all interfaces of a usual machine, and writes only entries that change', () => {
  const numbers = fc.uniqueArray(fc.integer({ min: 1, max: 600 }), { minLength: 1, maxLength: 63 })
  fc.assert(
    fc.property(numbers, numbers, (before, after) => {
      const [old, index] = [buildIndex(slotsOf(before)), buildIndex(slotsOf(after))]
      for (const [ifindex, slot] of slotsOf(after)) expect(indexedSlot(index, ifindex)).toBe(slot)
      const written = new Set(indexWrites(old, index).map(({ key }) => key))
      const differ = [...index.keys()].filter((key) => JSON.stringify(old[key]) !== JSON.stringify(index[key]))
      expect(written).toEqual(new Set(differ))
    }),
  )
})

// The index from ifindex to counter slot finds every interface, even if their places collide.

import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  INTERFACE_FLAG,
  INTERFACE_INDEX_SIZE,
  INTERFACE_PROBES,
  type InterfaceEntry,
} from '../../../src/abi/generated.ts'
import { XdpError } from '../../../src/diagnostics.ts'
import { buildIndex, entriesOf, indexedEntry, indexWrites } from '../../../src/kernel/observe/records.ts'
import { link } from '../../support/states.ts'

const entries = (numbers: readonly number[]): InterfaceEntry[] =>
  numbers.map((ifindex, i) => ({ ifindex, slot: i + 1, flags: 0 }))

test('finds consecutive interfaces, and one that collides with the first', () => {
  const all = entries([...Array.from({ length: 12 }, (_, i) => i + 2), INTERFACE_INDEX_SIZE + 2])
  const index = buildIndex(all)
  for (const entry of all) expect(indexedEntry(index, entry.ifindex)).toEqual(entry)
})

test('refuses more interfaces with equal remainders than probes', () => {
  const numbers = Array.from({ length: INTERFACE_PROBES + 1 }, (_, i) => 5 + i * INTERFACE_INDEX_SIZE)
  expect(() => buildIndex(entries(numbers))).toThrow(XdpError)
  expect(() => buildIndex(entries(numbers.slice(1)))).not.toThrow()
})

test('finds all interfaces of a usual machine, and writes only entries that change', () => {
  const numbers = fc.uniqueArray(fc.integer({ min: 1, max: 600 }), { minLength: 1, maxLength: 63 })
  fc.assert(
    fc.property(numbers, numbers, (before, after) => {
      const [old, index] = [buildIndex(entries(before)), buildIndex(entries(after))]
      for (const entry of entries(after)) expect(indexedEntry(index, entry.ifindex)).toEqual(entry)
      const written = new Set(indexWrites(old, index).map(({ key }) => key))
      const differ = [...index.keys()].filter((key) => JSON.stringify(old[key]) !== JSON.stringify(index[key]))
      expect(written).toEqual(new Set(differ))
    }),
  )
})

const LINKS = new Map(
  [
    link('bond0', { ifindex: 10, kind: 'bond' }),
    link('eth0', { ifindex: 2, kind: 'physical', master: 'bond0' }),
    link('eth1', { ifindex: 3, kind: 'physical', master: 'bond0' }),
    link('eth2', { ifindex: 4, kind: 'physical' }),
    link('vf0', { ifindex: 5, kind: 'physical', master: 'eth2' }),
    link('br0', { ifindex: 6, kind: 'bridge' }),
    link('team0', { ifindex: 7, kind: 'team' }),
    link('eth3', { ifindex: 8, master: 'br0' }),
    link('eth4', { ifindex: 9, master: 'team0' }),
  ].map((one) => [one.name, one]),
)
const { MEMBER } = INTERFACE_FLAG

test('members of a bond count for the bond, and a virtual function for its adapter', () => {
  const slots = new Map([
    ['bond0', 1],
    ['eth2', 2],
  ])
  expect(entriesOf(slots, LINKS)).toEqual([
    { ifindex: 10, slot: 1, flags: 0 },
    { ifindex: 2, slot: 1, flags: MEMBER },
    { ifindex: 3, slot: 1, flags: MEMBER },
    { ifindex: 4, slot: 2, flags: 0 },
    { ifindex: 5, slot: 2, flags: MEMBER },
  ])
})

test('ports of a bridge or team do not count for it', () => {
  expect(
    entriesOf(
      new Map([
        ['br0', 1],
        ['team0', 2],
      ]),
      LINKS,
    ).map(({ ifindex }) => ifindex),
  ).toEqual([6, 7])
})

test('a member with its own slot counts for that', () => {
  const slots = new Map([
    ['bond0', 1],
    ['eth0', 2],
  ])
  const found = entriesOf(slots, LINKS).filter(({ ifindex }) => ifindex === 2)
  expect(found).toEqual([{ ifindex: 2, slot: 2, flags: 0 }])
})

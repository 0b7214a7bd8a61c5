// docs/compatibility.md is made from the record of a whole run of the kernel tests, and claims no more than that record.
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { isBelowFloor, KERNELS, FEATURES as TESTED } from '../../../scripts/kernels/matrix.mjs'
import { withCompatibility } from '../../../scripts/lib/compatibility.mjs'
import { FEATURES } from '../../../src/features/features.ts'

interface Kernel {
  readonly name: string
  readonly absent?: string
  readonly architecture: string
  readonly release: string
  readonly suite: string
  readonly features: Readonly<Record<string, boolean>>
  readonly instructions: { readonly everything?: Readonly<Record<string, number>> }
}

const text = (path: string): string => readFileSync(new URL(`../../../${path}`, import.meta.url), 'utf8')
const results: { kernels: readonly Kernel[] } = JSON.parse(text('test/kernels/results.json'))
const page = text('docs/compatibility.md')
const tested = results.kernels.filter(({ absent }) => absent === undefined)

describe('the record', () => {
  test('has kernels of the matrix in its order, and those below and above the floor', () => {
    const names = results.kernels.map(({ name }) => name)
    expect(KERNELS.map(({ name }) => name).filter((name) => names.includes(name))).toEqual(names)
    expect(tested.some(({ release }) => isBelowFloor(release))).toBe(true)
    expect(tested.some(({ release }) => !isBelowFloor(release))).toBe(true)
  })

  test.each(tested)('$name: every test passed, of known features', ({ features }) => {
    expect(Object.values(features).every((passed) => passed)).toBe(true)
    const known = new Set([...Object.keys(TESTED), 'boot'])
    expect(Object.keys(features).filter((name) => !known.has(name))).toEqual([])
  })

  test.each(tested.filter(({ release }) => !isBelowFloor(release)))(
    '$name: instructions of every program were counted',
    ({ instructions: { everything = {} } }) => {
      expect(Object.keys(everything)).toEqual(
        expect.arrayContaining(['xdp_filter', 'explain', 'table_write', 'ban_write']),
      )
      expect(Object.values(everything).every((count) => count > 0)).toBe(true)
    },
  )
})

describe('the page', () => {
  test('is made from the record', () => expect(withCompatibility(page, results, FEATURES)).toBe(page))

  test('names each tested kernel and what each feature needs', () => {
    for (const { release } of tested) expect(page).toContain(`\`${release}\``)
    for (const { what } of FEATURES.flatMap(({ needs }) => needs)) expect(page).toContain(what)
  })

  test('shows a failure and a kernel that is not to be had', () => {
    const [one] = tested as [Kernel]
    const failing = { ...one, features: { ...one.features, nat: false } }
    const made = withCompatibility(page, { kernels: [failing, { name: '5.15', absent: 'not there' }] }, FEATURES)
    expect(made).toContain('fails: NAT')
    expect(made).toContain('| **no** |')
    expect(made).toContain('| 5.15 | – | – | not tested: not in the archive |')
  })
})

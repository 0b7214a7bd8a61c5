// The modes of src/features/forwarding are those of the image, of the config's schema, of the docs and of the packet
// cases; and the expected output of tests, which is independent of the records, agrees with them.

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { FORWARDING as NUMBERS } from '../../../src/abi/generated.ts'
import { wordsOf } from '../../../src/config/text/words.ts'
import {
  FORWARDING_KEYS,
  FORWARDING_MODES,
  FORWARDINGS,
  type ForwardingMode,
  overheadOf,
} from '../../../src/features/forwarding/forwarding.ts'
import { judge } from '../../../src/semantics/judge.ts'
import { FORWARDING } from '../../bpf/cases/balancing.ts'
import { wrongChecksums } from '../../support/checksums.ts'
import { EXPECTED, networkPlace, outcomeOf } from '../../support/forwarding.ts'
import { factsOf } from '../../support/model.ts'

const ROOT = join(import.meta.dirname, '../../..')
const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8')

const FAMILIES = [4, 6] as const

const namesThat = (condition: (mode: ForwardingMode) => boolean): readonly string[] =>
  FORWARDINGS.filter((name) => condition(FORWARDING_MODES[name]))

/** Words between backquotes, each once. */
const codesOf = (text: string): string[] => [...new Set([...text.matchAll(/`(\w+)`/g)].map(([, word = '']) => word))]

test('the image has a number for every mode, and for no other', () => {
  expect(
    Object.keys(NUMBERS)
      .map((name) => name.toLowerCase())
      .sort(),
  ).toEqual([...FORWARDINGS].sort())
  expect(new Set(Object.values(NUMBERS)).size).toBe(FORWARDINGS.length)
  // A line of zeros is a free slot.
  expect(Object.values(NUMBERS)).not.toContain(0)
})

describe('the schema of the config', () => {
  const { definitions } = JSON.parse(read('schemas/xdp.schema.json'))
  const { properties } = definitions.service

  /** The words of a description that begins with "With `a` and `b`". */
  const conditionOf = ({ description }: { readonly description: string }): string[] =>
    codesOf(/^With ((?:(?:, | and )?`\w+`)+)/.exec(description)?.[1] ?? '')

  test('takes the modes, in their order', () => {
    expect(properties.forwarding.enum).toEqual(FORWARDINGS)
  })

  test('describes every mode, and names each in the hint for a missing one', () => {
    expect(codesOf(properties.forwarding.description)).toEqual(FORWARDINGS)
    const hint = wordsOf(['services', 'web', 'forwarding'])?.whenMissing
    expect([...(hint ?? '').matchAll(/\w+/g)].map(([word]) => word)).toEqual(expect.arrayContaining([...FORWARDINGS]))
  })

  test.each(FORWARDING_KEYS.filter((key) => key !== 'snat_pool'))('describes %s with the modes that read it', (key) => {
    expect(conditionOf(properties[key])).toEqual(namesThat(({ keys }) => keys.includes(key)))
  })

  test('describes snat_pool with snat, which the same modes read', () => {
    expect(conditionOf(properties.snat_pool)).toEqual(['snat'])
    expect(namesThat(({ keys }) => keys.includes('snat_pool'))).toEqual(namesThat(({ keys }) => keys.includes('snat')))
  })

  test('describes addresses and ports of backends with the modes that limit or rewrite them', () => {
    const { address } = definitions.backend.properties
    expect(codesOf(address.description)).toEqual(namesThat(({ crossesFamilies }) => !crossesFamilies))
    const rewriting = namesThat(({ rewritesPort }) => rewritesPort)
    for (const { port } of [definitions.backend.properties, properties.sorry.properties])
      expect(conditionOf(port)).toEqual(rewriting)
  })
})

describe('docs/balancer.md', () => {
  const cellsOf = (row: string): string[] => row.split('|').slice(1, -1)
  /** Rows of a table; the first is its header, the second the rule. */
  const tablesOf = (text: string): string[][] =>
    [...text.matchAll(/^\|.*\n\|[-|]+\|\n(?:\|.*\n)+/gm)].map(([table]) => table.trimEnd().split('\n'))
  const isOfModes = ([header = '']: readonly string[]): boolean =>
    codesOf(header).filter((word) => word in FORWARDING_MODES).length > 1
  const page = read('docs/balancer.md')
  const tables = tablesOf(page).filter(isOfModes)

  test('is the only page with tables of modes', () => {
    const pages = readdirSync(join(ROOT, 'docs')).filter((name) => name.endsWith('.md'))
    expect(pages.filter((name) => tablesOf(read(`docs/${name}`)).some(isOfModes))).toEqual(['balancer.md'])
  })

  test('has every mode in the header of each such table', () => {
    for (const [header = ''] of tables) expect(codesOf(header).filter((word) => word !== 'snat')).toEqual(FORWARDINGS)
  })

  test('states the overhead of every mode', () => {
    const [header = '', ...rows] = tables[0] ?? []
    const sizes = cellsOf(rows.find((row) => row.startsWith('| Size of packets')) ?? '')
    for (const [i, cell] of cellsOf(header).entries()) {
      for (const mode of FORWARDINGS.filter((name) => codesOf(cell).includes(name))) {
        const { 4: v4, 6: v6 } = FORWARDING_MODES[mode].overhead
        expect([mode, sizes[i]]).toEqual([mode, v6 === 0 ? ' unchanged ' : ` +${v4} (IPv6: +${v6}) `])
      }
    }
  })

  test('has a section on the setup of backends for every mode', () => {
    const [, section = ''] = /^## Preparing backends\n(.*?)^## /ms.exec(page) ?? []
    expect([...section.matchAll(/^### (\w+)$/gm)].map(([, name]) => name)).toEqual(FORWARDINGS)
  })
})

test('the changelog names every mode', () => {
  expect(codesOf(read('CHANGELOG.md'))).toEqual(expect.arrayContaining([...FORWARDINGS]))
})

describe('packet cases', () => {
  test('cover every mode with every pair of families that it permits', () => {
    const covered = FORWARDING.flatMap(({ state: { services } }) =>
      [...services.values()].flatMap(({ forwarding, vip, backends }) =>
        backends.map(({ address }) => `${forwarding}, IPv${vip.family} to IPv${address.family}`),
      ),
    )
    const permitted = FORWARDINGS.flatMap((name) =>
      FAMILIES.flatMap((vip) =>
        FAMILIES.filter((family) => family === vip || FORWARDING_MODES[name].crossesFamilies).map(
          (family) => `${name}, IPv${vip} to IPv${family}`,
        ),
      ),
    )
    expect([...new Set(covered)].sort()).toEqual(permitted.sort())
  })

  test.each(FORWARDING)('$name: the expected output has the overhead and TTL of the record', (suite) => {
    const { forwarding, family, state, cases } = suite
    const overhead = overheadOf({ forwarding }, family)
    expect(overhead).toBe(EXPECTED[forwarding].overhead[family])
    const sent = cases.filter(({ reason }) => reason === 'balanced-away')
    expect(sent.length).toBeGreaterThan(10)
    for (const { name, frame } of sent) {
      const output = outcomeOf(frame, judge(state, factsOf(frame)))
      const packet = frame.subarray(networkPlace(frame).at)
      const inner = output.subarray(14 + overhead)
      const ttl = suite.vip === 4 ? 8 : 7
      const hops = FORWARDING_MODES[forwarding].decrementsTtl ? 1 : 0
      expect({ name, bytes: inner.length, ttl: inner[ttl], wrong: wrongChecksums(output) }).toEqual({
        name,
        bytes: packet.length,
        ttl: (packet[ttl] as number) - hops,
        wrong: [],
      })
    }
  })
})

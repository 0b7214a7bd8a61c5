// The parts of the kernel that features need: the records are compared with the helpers that the built programs call.

import { describe, expect, test } from 'vitest'
import type { ProgramParts } from '../../../src/abi/object.ts'
import { ALL_PARTS, FEATURES, NO_PARTS } from '../../../src/features/features.ts'
import { lacking, lackingWords } from '../../../src/kernel/observe/needs.ts'
import { loadObject, withParts } from '../../../src/kernel/tools/object.ts'
import { DEFAULT_POLICY } from '../../../src/model/policy.ts'
import { atLeast, FLOOR, type Version } from '../../../src/model/version.ts'
import { warnKernel } from '../../../src/pipelines/kernel.ts'
import { helpersOf } from '../../support/helpers.ts'
import { state } from '../../support/states.ts'

/** Numbers of helpers since Linux 5.11 in linux/bpf.h, by the version that brought them. */
const HELPERS: readonly { version: Version; first: number; last: number }[] = [
  { version: [5, 11], first: 156, last: 161 },
  { version: [5, 12], first: 162, last: 163 },
  { version: [5, 13], first: 164, last: 165 },
  { version: [5, 14], first: 166, last: 168 },
  { version: [5, 15], first: 169, last: 175 },
  { version: [5, 16], first: 176, last: 179 },
  { version: [5, 17], first: 180, last: 187 },
  { version: [5, 18], first: 188, last: 193 },
  { version: [5, 19], first: 194, last: 203 },
  { version: [6, 0], first: 204, last: 208 },
  { version: [6, 1], first: 209, last: 211 },
]

/** Names of the helpers that our programs call. */
const NAMES: Readonly<Record<number, string>> = {
  160: 'bpf_ktime_get_coarse_ns',
  163: 'bpf_check_mtu',
  164: 'bpf_for_each_map_elem',
  181: 'bpf_loop',
  188: 'bpf_xdp_get_buff_len',
  189: 'bpf_xdp_load_bytes',
  190: 'bpf_xdp_store_bytes',
  195: 'bpf_map_lookup_percpu_elem',
}

/** The first helper of Linux 5.11. */
const FIRST = 156

const shipped = await loadObject()
const helpersWith = (parts: ProgramParts): number[] => {
  const found = new Set(shipped.objects.flatMap((object) => [...helpersOf(withParts(object, parts))]))
  return [...found].filter((number) => number >= FIRST).sort((left, right) => left - right)
}
const basic = helpersWith(NO_PARTS)

/** Names and versions that the needs of features give for a helper. */
const given = (needs: (typeof FEATURES)[number]['needs'], number: number): Version[] =>
  needs.filter(({ what }) => what.includes(NAMES[number] ?? '?')).map(({ since }) => since)
const versionOf = (number: number): Version | undefined =>
  HELPERS.find(({ first, last }) => first <= number && number <= last)?.version

describe('the needs of features are those of the programs', () => {
  const always = FEATURES.filter(({ parts }) => parts === undefined).flatMap(({ needs }) => needs)

  test.each(basic)('helper %i, which programs without any part call', (number) => {
    expect(given(always, number)).toEqual([versionOf(number)])
  })

  test('they do call some', () => expect(basic).toContain(181))

  test.each(FEATURES.filter(({ parts }) => parts !== undefined))('$name', ({ parts, needs }) => {
    const own = new Map([...NO_PARTS, ...Object.keys(parts ?? {}).map((name) => [name, true] as const)])
    const more = helpersWith(own).filter((number) => !basic.includes(number))
    expect(more.map((number) => given(needs, number))).toEqual(more.map((number) => [versionOf(number)]))
  })

  test('no helper is newer than the floor', () => {
    for (const number of helpersWith(ALL_PARTS)) expect(atLeast(FLOOR, versionOf(number) as Version)).toBe(true)
  })
})

describe('what features lack', () => {
  const needs = FEATURES.flatMap((feature) => feature.needs)

  test.each(needs)('$what: missing before Linux $since.0.$since.1 only', ({ since, what }) => {
    const [major, minor] = since
    const entry = `${what}, Linux ${major}.${minor}`
    expect(lacking([major, minor - 1]).flatMap(({ missing }) => missing)).toContain(entry)
    expect(lacking(since).flatMap(({ missing }) => missing)).not.toContain(entry)
  })

  test('the oldest supported kernel lacks nothing', () => expect(lacking(FLOOR)).toEqual([]))

  test('with a policy it concerns only the features that the policy uses', () => {
    const names = (wanted: ReturnType<typeof state>) => lacking([5, 10], wanted).map(({ feature }) => feature)
    expect(names(state({ policy: 'pass' }))).toEqual(['filter', 'bans'])
    const syn = { ...state({ policy: 'pass' }), policy: { ...DEFAULT_POLICY, syn_protection: 'always 2000 443' } }
    expect(names(syn)).toEqual(['filter', 'bans', 'syn'])
  })

  test('a plan warns of them, unless this kernel runs the programs already', () => {
    const policy = state({ policy: 'pass' })
    expect(warnKernel(policy, '5.10.0-46-cloud-amd64', false)).toMatchObject([
      { code: 'W282', message: expect.stringContaining(lackingWords(lacking([5, 10], policy))) },
    ])
    expect(warnKernel(policy, '5.14.0-362.el9', true)).toEqual([])
    expect(warnKernel(policy, '6.1.0-56', false)).toEqual([])
    expect(warnKernel(policy, 'unversioned', false)).toEqual([])
  })
})

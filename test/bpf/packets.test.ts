// Runs every packet of the tables: compares its verdict, its reason and the lists that count it; then truncates it at
// every byte, and ends its linear part at every byte.

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { explanationCodec } from '../../src/abi/generated.ts'
import { type ReasonName, verdictOf } from '../../src/report/reason.ts'
import type { Count } from '../../src/report/result.ts'
import { judge } from '../../src/semantics/judge.ts'
import { DataPlane, type Run, slotsOf } from '../support/bpf.ts'
import { factsOf } from '../support/model.ts'
import { DECIDING } from './cases/deciding.ts'
import { PARSING } from './cases/parsing.ts'

const SHORTEST_FRAME = 14
/** Slot of the interface that test runs arrive on. */
const SLOT = 5

let plane: DataPlane
beforeAll(async () => {
  plane = await DataPlane.open()
})
afterAll(() => plane.close())

function add(counts: Map<string, Count>, key: string, bytes: number): void {
  const before = counts.get(key) ?? { packets: 0, bytes: 0 }
  counts.set(key, { packets: before.packets + 1, bytes: before.bytes + bytes })
}

describe.each([...PARSING, ...DECIDING])('$name', ({ state, cases }) => {
  beforeAll(async () => {
    await plane.loadState(state)
  })

  test('the model returns the expected verdict', () => {
    for (const { name, frame, reason, lists } of cases) {
      expect({ name, ...judge(state, factsOf(frame)) }).toMatchObject({ name, reason, lists })
    }
  })

  test('the program returns the expected verdict', async () => {
    const outcomes = await plane.run(cases)
    const found = outcomes.map(({ verdict, explanation }, i) => ({
      name: cases[i]?.name,
      verdict,
      reason: explanation?.reason,
    }))
    expect(found).toEqual(
      cases.map(({ name, reason, frame }) => ({
        name,
        verdict: verdictOf(reason),
        // Shorter frames have no room for an explanation.
        reason: frame.length < explanationCodec.size ? undefined : reason,
      })),
    )
  })

  test('packets and bytes are counted once, by interface, reason and list', async () => {
    const slots = slotsOf(state)
    await plane.reset(SLOT, [...slots.values()])
    await plane.attachTestRuns(SLOT)
    await plane.run(cases, 'filter')
    await plane.attachTestRuns(0)
    const reasons = new Map<ReasonName, Count>()
    const lists = new Map<string, Count>([...slots.keys()].map((name) => [name, { packets: 0, bytes: 0 }]))
    for (const { frame, reason, lists: counted } of cases) {
      add(reasons, reason, frame.length)
      for (const name of counted) add(lists, name, frame.length)
    }
    expect(await plane.reasons(SLOT)).toEqual(Object.fromEntries(reasons))
    const counts = await plane.lists([...slots.values()])
    expect(Object.fromEntries([...slots.keys()].map((name, i) => [name, counts[i]]))).toEqual(Object.fromEntries(lists))
  })

  const compare = async (runs: readonly (Run & { readonly name: string })[]): Promise<void> => {
    const outcomes = await plane.run(runs)
    const wrong = outcomes.flatMap(({ verdict, explanation }, i) => {
      const { name, frame, linear } = runs[i] as (typeof runs)[number]
      const expected = judge(state, factsOf(frame))
      const reported = explanation?.reason ?? expected.reason
      if (verdict === expected.verdict && reported === expected.reason) return []
      return [{ name, bytes: frame.length, linear, verdict, reason: reported, expected: expected.reason }]
    })
    expect(wrong).toEqual([])
  }

  const lengths = (frame: Uint8Array): number[] =>
    Array.from({ length: Math.max(0, frame.length - SHORTEST_FRAME) }, (_, i) => SHORTEST_FRAME + i)

  test('program and model agree on a frame truncated at any byte', async () => {
    await compare(
      cases.flatMap(({ name, frame }) => lengths(frame).map((length) => ({ name, frame: frame.subarray(0, length) }))),
    )
  })

  test('program and model agree on a linear part that ends at any byte', async (context) => {
    if (!(await plane.canSplit())) context.skip('this kernel cannot choose the linear part of a test packet')
    await compare(
      cases.flatMap(({ name, frame }) =>
        Array.from({ length: frame.length }, (_, linear) => ({ name, frame, linear })),
      ),
    )
  })
})

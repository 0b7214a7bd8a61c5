// Random policies, bans and packets: compares the loaded program with the model, in verdict, reason, list, scope and
// counters. A failure prints the seed; SEED=n repeats it.

import { isDeepStrictEqual } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ANYWHERE, NONE } from '../../src/abi/packet.ts'
import { ANOMALY_NAMES, type AnomalyName } from '../../src/model/anomaly.ts'
import { coversAddress } from '../../src/model/ban.ts'
import type { State } from '../../src/model/state.ts'
import { anomaliesMet } from '../../src/semantics/anomalies-met.ts'
import { type Facts, type Ingress, judge, TEST_INGRESS } from '../../src/semantics/judge.ts'
import { partsOf } from '../../src/tables/classes/classes.ts'
import { type Bans, bansOf, parse } from '../support/bans.ts'
import { DataPlane, type Run, slotsOf } from '../support/bpf.ts'
import { SEED, usually } from '../support/depth.ts'
import { factsOf, isStray } from '../support/model.ts'
import {
  INTERFACES,
  type Random,
  randomFrame,
  randomFrom,
  randomLimits,
  randomPrefix,
  randomState,
} from '../support/random.ts'
import { withSourceLists } from '../support/rate-sources.ts'

const POLICIES = usually(10, { thoroughly: 40 })
const PACKETS = 400
/** Interfaces that packets arrive on, by slot; no scope names the last one. */
const INGRESSES: readonly (readonly [slot: number, ingress: Ingress])[] = [...INTERFACES, 'other'].map((name, i) => [
  name === 'other' ? 9 : i + 1,
  { ...TEST_INGRESS, interface: name },
])

let plane: DataPlane
let bans: Bans
let canSplit = false
beforeAll(async () => {
  plane = await DataPlane.apart()
  bans = bansOf(plane)
})
afterAll(() => plane.close())

const randomRun = (random: Random): Run => {
  const frame = randomFrame(random)
  return canSplit && random.chance(0.15) ? { frame, linear: random.below(frame.length) } : { frame }
}

/** A state whose rate limits drop nothing, and count sources that the lists name too. */
function observingSources(random: Random): State {
  const state = randomState(random)
  if (random.chance(0.5)) return state
  const limits = [...randomLimits(random)].map(
    ([name, { ban: _, ...limit }]) => [name, { ...limit, action: 'observe' }] as const,
  )
  return withSourceLists(random, { ...state, rateLimits: new Map(limits) })
}

const droppedFor = (state: State, facts: Facts, where: Ingress): AnomalyName =>
  anomaliesMet(state, facts, {}, where).at(-1)?.name as AnomalyName

/** Lengths of the banned prefixes that cover the packet's source. */
const bansOn = (banned: readonly string[], facts: Facts): number[] =>
  facts.kind !== 'ip' ? [] : banned.map(parse).flatMap((one) => (coversAddress(one, facts.source) ? [one.length] : []))

test(`program and model agree on ${POLICIES} policies, ${PACKETS} packets each, seed ${SEED}`, async () => {
  const random = randomFrom(SEED)
  for (let number = 0; number < POLICIES; number++) {
    const state = observingSources(random)
    const slots = slotsOf(state)
    await plane.loadState(state)
    if (number === 0) canSplit = await plane.canSplit()
    const banned = [...new Set(Array.from({ length: random.below(5) }, () => randomPrefix(random)))]
    await bans.ban(...banned.map((prefix) => ({ prefix })))
    const runs = Array.from({ length: PACKETS }, () => randomRun(random))
    const facts = runs.map(({ frame }) => factsOf(frame))
    const [slot, ingress] = random.pick(INGRESSES)
    const byModel = (where: Ingress) =>
      facts.map((one, i) => {
        const socketless = isStray((runs[i] as Run).frame)
        return judge(state, one, { banned: bansOn(banned, one).length > 0, socketless }, where)
      })
    const parts = partsOf(state.lists)
    for (const [at, where] of [
      [0, TEST_INGRESS],
      [slot, ingress],
    ] as const) {
      const expected = byModel(where).map(({ verdict, reason, matches: [first] }, i) => ({
        verdict,
        reason,
        list: first ? (slots.get(first.list.name) as number) : NONE,
        // For an anomaly, its number.
        scope: first
          ? parts.findIndex(({ set }) => set === first.set)
          : reason === 'anomaly'
            ? ANOMALY_NAMES.indexOf(droppedFor(state, facts[i] as Facts, where))
            : NONE,
      }))
      const outcomes = await plane.run(runs.map((run) => ({ ...run, arrival: { ...ANYWHERE, slot: at } })))
      const wrong = outcomes.flatMap(({ verdict, explanation }, i) => {
        const { frame, linear } = runs[i] as Run
        const wanted = expected[i] as (typeof expected)[number]
        const { reason, list, scope } = explanation ?? wanted
        // For a ban, scope is the length of the prefix; any that covers the address is correct.
        const ofBan = wanted.reason === 'ban' && bansOn(banned, facts[i] as Facts).includes(scope)
        const reported = { verdict, reason, list, scope: ofBan ? wanted.scope : scope }
        if (isDeepStrictEqual(reported, wanted)) return []
        return [{ frame: Buffer.from(frame).toString('hex'), linear, reported, wanted }]
      })
      expect(wrong, `seed ${SEED}, policy ${number}, ${where.interface ?? 'no interface'}`).toEqual([])
    }

    // Byte counts of split packets are exact if fragments hold part of the datagram; frames.test.ts tests those.
    const judged = byModel(ingress)
    const whole = runs.flatMap(({ frame, linear }, i) =>
      linear === undefined ? [{ frame, lists: judged[i]?.lists, observed: judged[i]?.observed }] : [],
    )
    await plane.reset(slot, [...slots.values()])
    await plane.attachTestRuns(slot)
    await plane.run(whole, 'filter')
    await plane.attachTestRuns(0)
    const matching = [...slots.keys()].map((name) => {
      const hits = whole.filter(({ lists }) => lists?.includes(name))
      return { packets: hits.length, bytes: hits.reduce((sum, { frame }) => sum + frame.length, 0) }
    })
    expect(await plane.lists([...slots.values()]), `seed ${SEED}, policy ${number}`).toEqual(matching)
    const seen = [...slots.keys()].map((name) => {
      const hits = whole.filter(({ observed }) => observed?.includes(name))
      return { packets: hits.length, bytes: hits.reduce((sum, { frame }) => sum + frame.length, 0) }
    })
    expect(await plane.observed([...slots.values()]), `seed ${SEED}, policy ${number}`).toEqual(seen)
    const counts = Object.values(await plane.reasons(slot))
    expect(counts.reduce((sum, { packets }) => sum + packets, 0)).toBe(whole.length)
    expect(counts.reduce((sum, { bytes }) => sum + bytes, 0)).toBe(
      whole.reduce((sum, { frame }) => sum + frame.length, 0),
    )
    await bans.unban(...banned)
  }
})

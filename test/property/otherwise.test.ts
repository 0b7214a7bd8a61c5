// `why` gives no false comfort: whatever packet of an address gets another verdict than the one that a question names, one of
// the cases beside the answer has that verdict and its reason.

import fc from 'fast-check'
import { expect, test } from 'vitest'
import { factsFor, type TestPacket } from '../../src/abi/packet.ts'
import { EVERY_ROLE, type State } from '../../src/model/state.ts'
import { parseAddress } from '../../src/model/text.ts'
import { judge } from '../../src/semantics/judge.ts'
import { type Otherwise, otherwiseOf, type Question } from '../../src/semantics/otherwise.ts'
import { countingLimits } from '../../src/semantics/rates.ts'
import { usually } from '../support/depth.ts'
import {
  address4,
  address6,
  INTERFACES,
  type Random,
  randomAnomalies,
  randomFrom,
  randomLimits,
  randomState,
} from '../support/random.ts'
import { withSourceLists } from '../support/rate-sources.ts'

const INGRESS = { ifindex: 2, interface: INTERFACES[0], roles: EVERY_ROLE }

/** A packet from an address, with fields that some of the random entries ask for. */
function packetFrom(random: Random, source: TestPacket['source']): TestPacket {
  const protocol = random.pick([6, 17, source.family === 4 ? 1 : 58, 47])
  const hasPorts = protocol === 6 || protocol === 17
  const destination = parseAddress(source.family === 4 ? address4(random) : address6(random))
  return {
    source,
    protocol,
    ...(hasPorts && {
      sourcePort: random.pick([53, 67, 546, 4000]),
      destinationPort: random.pick([22, 443, 546, 5353]),
    }),
    ...(protocol === 6 && { tcpFlags: random.pick([0, 2, 3, 16, 18, 41]) }),
    ...(protocol === 1 && { icmp: { type: random.pick([0, 3, 8]), code: random.below(3) } }),
    ...(protocol === 58 && { icmp: { type: random.pick([1, 128, 135]), code: random.below(3) } }),
    ...(destination && { destination }),
    ...(random.chance(0.3) && { length: 68 + random.below(40) }),
    ttl: random.below(256),
    dscp: random.pick([0, 8, 46]),
    ...(random.chance(0.2) && { fragment: random.pick(['first', 'later']) }),
    ...(random.chance(0.2) && { vlan: 1 + random.below(4) }),
  }
}

const FIELDS = [
  'protocol',
  'ports',
  'tcpFlags',
  'icmp',
  'destination',
  'length',
  'ttl',
  'dscp',
  'fragment',
  'vlan',
] as const

const REST = ['tcpFlags', 'icmp', 'length', 'ttl', 'dscp', 'fragment', 'vlan'] as const

/** The question that names some fields of a packet, and the packet that stands for it. */
function asked(random: Random, packet: TestPacket): { readonly question: Question; readonly standing: TestPacket } {
  const named = new Set(FIELDS.filter(() => random.chance(0.3)))
  const needs = named.has('ports') || named.has('tcpFlags') || named.has('icmp')
  if (needs) named.add('protocol')
  const { source, protocol, sourcePort, destinationPort, destination } = packet
  const fields = {
    ...(named.has('protocol') && { protocol }),
    ...(named.has('ports') && packet.fragment !== 'later' && { sourcePort, destinationPort }),
    ...Object.fromEntries(
      REST.flatMap((name) => (named.has(name) && packet[name] !== undefined ? [[name, packet[name]]] : [])),
    ),
  }
  const standing = { source, ...fields, ...(named.has('destination') && { destination }) } as TestPacket
  const question = {
    ...fields,
    family: source.family,
    source: source.words,
    ...(named.has('destination') && { destination: destination?.words }),
  } as Question
  return { question, standing }
}

/** Whether one of the cases is the reason of the packet. */
function explains(cases: readonly Otherwise[], state: State, packet: TestPacket): boolean {
  const { reason, verdict, matches } = judge(state, factsFor(packet), {}, INGRESS)
  const has = (kind: Otherwise['kind']): boolean => cases.some((one) => one.kind === kind && one.verdict === verdict)
  if (reason === 'allowlist' || reason === 'blocklist')
    return matches.some(({ list, set }) =>
      cases.some((one) => one.kind === 'entry' && one.list === list && one.set === set),
    )
  if (reason === 'anomaly') return has('anomaly')
  if (reason === 'essential') return has('essential')
  return has('default')
}

/** A policy with anomalies and rate limits. */
function drawnPolicy(random: Random): State {
  const drawn = randomState(random)
  const anomalies = randomAnomalies(random)
  return withSourceLists(random, {
    ...drawn,
    ...(drawn.policy && { policy: { ...drawn.policy, anomalies } }),
    rateLimits: randomLimits(random),
  })
}

/** Asks about some fields of a random packet. Returns whether the packet has another verdict than the answer. */
function ask(random: Random, state: State): boolean {
  const source = parseAddress(random.chance(0.5) ? address4(random) : address6(random)) as TestPacket['source']
  const packet = packetFrom(random, source)
  const { question, standing } = asked(random, packet)
  const { verdict } = judge(state, factsFor(standing), {}, INGRESS)
  const cases = otherwiseOf(state, question, verdict, INGRESS, false)
  const found = judge(state, factsFor(packet), {}, INGRESS)
  if (found.verdict !== verdict && !explains(cases, state, packet))
    throw new Error(`${found.reason} ${JSON.stringify(packet)} ${JSON.stringify(question)}`)
  const limits = verdict === 'pass' ? countingLimits(state, factsFor(packet), INGRESS) : []
  for (const limit of limits.filter(({ action }) => action === 'drop'))
    expect(cases.some((one) => one.kind === 'rate_limit' && one.limit === limit)).toBe(true)
  return found.verdict !== verdict
}

test('every packet with another verdict has its case, and every limit that may drop one is named', () => {
  let differing = 0
  fc.assert(
    fc.property(fc.nat(), (seed) => {
      const random = randomFrom(seed)
      const state = drawnPolicy(random)
      for (let round = 0; round < 24; round++) if (ask(random, state)) differing++
    }),
    { numRuns: usually(200, { thoroughly: 3000 }) },
  )
  expect(differing).toBeGreaterThan(40)
})

test('an address that an entry passes as a whole has no other case, nor has a question that names every field', () => {
  const random = randomFrom(7)
  const state = randomState(random)
  const source = parseAddress('198.51.100.200') as TestPacket['source']
  const question = { family: source.family, source: source.words }
  const whole = { ...state, lists: new Map(), policy: undefined }
  expect(otherwiseOf(whole, question, 'pass', INGRESS, false)).toEqual([])
  expect(otherwiseOf(whole, question, 'drop', INGRESS, true)).toEqual([])
  expect(otherwiseOf(whole, question, 'pass', INGRESS, true)).toEqual([{ kind: 'ban', verdict: 'drop' }])
})

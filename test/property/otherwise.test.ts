// `why` gives no false comfort, and no false alarm: whatever packet of an address gets another verdict than the one that a
// question names, one of the cases beside the answer is its reason; and each of the cases is the reason of such a packet.

import fc from 'fast-check'
import { expect, test } from 'vitest'
import { factsFor, type TestPacket } from '../../src/abi/packet.ts'
import type { Address } from '../../src/model/address.ts'
import { DEFAULT_POLICY } from '../../src/model/policy.ts'
import { EVERY_ROLE, type State } from '../../src/model/state.ts'
import { parseAddress } from '../../src/model/text.ts'
import { addressAnomalies } from '../../src/semantics/anomalies.ts'
import { anomaliesMet } from '../../src/semantics/anomalies-met.ts'
import { type Circumstances, type Ingress, type IpFacts, judge, type Match } from '../../src/semantics/judge.ts'
import {
  type LimitAmong,
  limitsAmong,
  type Otherwise,
  otherwiseOf,
  type Witnessed,
  witnessesOf,
} from '../../src/semantics/otherwise.ts'
import { type Flaw, HIDDEN_FLAGS, NO_PROTOCOL, type Sample } from '../../src/semantics/packet-space.ts'
import type { Question } from '../../src/semantics/question.ts'
import { countingLimits } from '../../src/semantics/rates.ts'
import { usually } from '../support/depth.ts'
import { block, scope } from '../support/lists.ts'
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
import { address, service } from '../support/services.ts'
import { rateLimit } from '../support/states.ts'

const INGRESS: Ingress = { ifindex: 2, interface: INTERFACES[0], roles: EVERY_ROLE }

/** A packet in fields that TestPacket has, and those that it does not. */
interface Drawn extends TestPacket {
  readonly flaw?: Flaw | undefined
  readonly hidden?: boolean
}

const fromSample = (source: Address, sample: Sample): Drawn => {
  const { protocol, ports, tcpFlags, icmp, flaw, destination, ...rest } = sample
  const hidden = tcpFlags === HIDDEN_FLAGS && protocol === 6 && flaw !== 'cut'
  return {
    ...{ source, destination: { family: source.family, words: destination }, protocol, icmp, flaw, hidden, ...rest },
    ...{ sourcePort: ports[0], destinationPort: ports[1], tcpFlags: hidden ? 0 : tcpFlags },
  }
}

/** The facts of a packet: without what its flaw hides, and with the anomalies that this makes. */
function factsOf({ flaw, hidden = false, ...packet }: Drawn): IpFacts {
  const built = factsFor(packet) as IpFacts
  if (!built.traits) throw new Error('the packet has no traits')
  // A packet as it is built has room for a header, and this one need not.
  const traits = { ...built.traits, length: packet.length ?? built.traits.length }
  const facts = { ...built, traits }
  const { protocol } = facts
  const { destination, fragment } = traits
  const ends = { family: facts.family, source: facts.source, destination, protocol }
  if (hidden)
    return {
      ...facts,
      traits: { ...traits, tcpFlags: 'cut' },
      anomalies: [...addressAnomalies({ ...ends, ports: facts.ports }), 'tiny_fragments'],
    }
  if (flaw !== 'cut') {
    const { transit, anomalies = [] } = facts
    return flaw
      ? { ...facts, transit: transit && { ...transit, isCut: flaw === 'bad_length' }, anomalies: [...anomalies, flaw] }
      : facts
  }
  const isKnown = packet.protocol !== NO_PROTOCOL
  return {
    ...facts,
    protocol: isKnown ? protocol : undefined,
    ports: undefined,
    traits: { ...traits, tcpFlags: undefined, icmp: undefined },
    essential: facts.essential === 'loopback' ? 'loopback' : undefined,
    unparsed: 'malformed',
    anomalies: [...addressAnomalies(ends), ...(isKnown ? ([fragment ? 'tiny_fragments' : 'bad_length'] as const) : [])],
    transit: undefined,
  }
}

/** The circumstances that sockets may add to a packet. */
function possibleCircumstances({ family, source, ports, traits }: IpFacts, banned: boolean): Circumstances[] {
  const flags = traits?.tcpFlags
  if (typeof flags !== 'number' || !ports || traits?.fragment) return [{ banned }]
  const opens = (flags & 0x17) === 2
  const isLinkLocal = family === 6 && (source[0] as number) >>> 22 === 0x3fa
  return [
    { banned },
    ...(opens || isLinkLocal ? [] : [{ banned, socketless: true }]),
    ...(opens ? [{ banned, answered: true }] : []),
    ...((flags & 0x16) === 0x10 ? [{ banned, unproven: true }] : []),
  ]
}

/** Whether one of the cases is the reason of the verdict on the packet. */
function explains(cases: readonly Otherwise[], state: State, facts: IpFacts, circumstances: Circumstances): boolean {
  const { reason, verdict, matches, balanced } = judge(state, facts, circumstances, INGRESS)
  const has = (kind: Otherwise['kind']): boolean => cases.some((one) => one.kind === kind && one.verdict === verdict)
  if (balanced) return cases.some((one) => one.kind === 'service' && one.service.name === balanced.service?.name)
  switch (reason) {
    case 'allowlist':
    case 'blocklist': {
      const deciding = matches.filter(({ set }) => set.scope.action !== 'observe')
      const isNamed = ({ list, set }: Match): boolean =>
        cases.some((one) => one.kind === 'entry' && one.list === list && one.set === set)
      return cases.length === 1 ? deciding.some(isNamed) : deciding.every(isNamed)
    }
    case 'anomaly': {
      const name = anomaliesMet(state, facts, circumstances, INGRESS).at(-1)?.name
      return cases.some((one) => one.kind === 'anomaly' && one.name === name)
    }
    case 'essential':
      return cases.some((one) => one.kind === 'essential' && one.groups.includes(facts.essential ?? ''))
    case 'syn-answered':
    case 'syn-cookie-invalid':
      return has('syn_protection')
    case 'malformed':
    case 'malformed-drop':
      return has('unparsed')
    case 'ban':
      return has('ban')
    default:
      return has('default')
  }
}

const PORTS = [22, 53, 67, 68, 443, 546, 547, 4000]

/** A packet from an address, with fields that some of the random entries ask for. */
function packetFrom(random: Random, source: Address): Drawn {
  const icmp = source.family === 4 ? 1 : 58
  const protocol = random.pick([6, 6, 17, icmp, 47])
  const words = random.pick([address4(random), address4(random), '192.0.2.80', '127.0.0.1'])
  const words6 = random.pick([address6(random), address6(random), '2001:db8:5::80', '::1'])
  const destination = random.chance(0.1) ? source : address(source.family === 4 ? words : words6)
  const fragment = random.pick([undefined, undefined, undefined, 'first', 'later'] as const)
  const isCut = random.chance(0.1) && fragment !== 'later' && protocol !== 47
  const flaw = isCut ? 'cut' : random.pick([undefined, undefined, undefined, 'bad_length', 'ip_options'] as const)
  return {
    ...{ source, protocol, destination, fragment, flaw },
    ...{ sourcePort: random.pick(PORTS), destinationPort: random.pick(PORTS) },
    tcpFlags: random.pick([0, 2, 3, 6, 16, 18, 41]),
    icmp: { type: random.pick([0, 1, 3, 8, 128, 130, 135]), code: random.below(3) },
    length: 68 + random.below(40),
    ttl: random.below(256),
    dscp: random.pick([0, 8, 46]),
    ...(random.chance(0.2) && { vlan: 1 + random.below(4) }),
    hidden: protocol === 6 && fragment === 'first' && flaw === undefined && random.chance(0.3),
  }
}

const HEADS = ['ports', 'tcpFlags', 'icmp'] as const
const FIELDS = ['protocol', ...HEADS, 'destination', 'length', 'ttl', 'dscp', 'fragment', 'vlan'] as const

/** A question that names some fields of a packet, and the packet that stands for it. */
function asked(random: Random, packet: Drawn): { readonly question: Question; readonly standing: TestPacket } {
  const share = random.pick([0, 0.15, 0.4])
  const named = new Set<(typeof FIELDS)[number]>(FIELDS.filter(() => random.chance(share)))
  const isHeaded = packet.fragment !== 'later' && packet.flaw !== 'cut'
  const { source, protocol, sourcePort, destinationPort, destination } = packet
  const isOf = {
    ports: protocol === 6 || protocol === 17,
    tcpFlags: protocol === 6 && !packet.hidden,
    icmp: protocol === 1 || protocol === 58,
  }
  for (const field of HEADS) if (!isHeaded || !isOf[field]) named.delete(field)
  if (HEADS.some((field) => named.has(field))) named.add('protocol')
  const rest = (['tcpFlags', 'icmp', 'length', 'ttl', 'dscp', 'fragment', 'vlan'] as const).filter((name) =>
    named.has(name),
  )
  const fields = {
    ...(named.has('protocol') && { protocol }),
    ...(named.has('ports') && random.pick([{ sourcePort, destinationPort }, { destinationPort }])),
    ...Object.fromEntries(rest.flatMap((name) => (packet[name] === undefined ? [] : [[name, packet[name]]]))),
  } as Omit<Question, 'source' | 'destination'>
  const standing = { source, ...fields, ...(named.has('destination') && { destination }) } as TestPacket
  return {
    question: { ...fields, source, ...(named.has('destination') && { destination: destination?.words }) },
    standing,
  }
}

/** Whether a question may be about a packet. */
function isAbout({ source: _, destination, icmp, ...question }: Question, packet: Drawn): boolean {
  const isHeaded = packet.fragment !== 'later' && packet.flaw !== 'cut'
  const { sourcePort, destinationPort, tcpFlags } = question
  const needsHead = [sourcePort, destinationPort, tcpFlags, icmp].some((field) => field !== undefined)
  if (needsHead && !isHeaded) return false
  if (destination && String(destination) !== String(packet.destination?.words)) return false
  if (icmp && (icmp.type !== packet.icmp?.type || icmp.code !== packet.icmp.code)) return false
  if (tcpFlags !== undefined && packet.hidden) return false
  return Object.entries(question).every(
    ([field, value]) =>
      value === undefined || value === packet[field as keyof Omit<Question, 'source' | 'destination'>],
  )
}

const SERVICES = [
  service('web', '192.0.2.80 443', { backends: ['10.0.0.1'] }),
  service('any', '192.0.2.80 any', { protocols: ['udp'], backends: ['10.0.0.2'] }),
  service('empty', '2001:db8:5::80 53', { protocols: ['tcp', 'udp'] }),
]

/** A policy with anomalies, rate limits, services and protected ports. */
function drawnState(random: Random): State {
  const drawn = randomState(random)
  const policy = { ...DEFAULT_POLICY, ...drawn.policy, anomalies: randomAnomalies(random) }
  const services = random.chance(0.5) ? SERVICES : []
  // Only entries of the blocklist may ask for sockets.
  const lists = [...drawn.lists].map(([name, list]) => {
    const sets = list.sets.filter(({ scope }) => list.kind === 'blocklist' || scope.socket === undefined)
    return [name, { ...list, sets }] as const
  })
  return withSourceLists(random, {
    ...drawn,
    lists: new Map(lists),
    policy: { ...policy, syn_protection: random.chance(0.5) ? 'always 2000 443,4000' : '' },
    rateLimits: random.chance(0.5) ? randomLimits(random) : new Map(),
    services: new Map(services.map((one) => [one.name, one])),
  })
}

/** Throws unless the packet of a case is one of the question, and the case is the reason of its verdict. */
function confirm(state: State, question: Question, answer: string, { one, packet }: Witnessed, banned: boolean): void {
  const fail = (why: string): never => {
    throw new Error(
      `${why}: ${JSON.stringify({ kind: one.kind, verdict: one.verdict, scope: 'set' in one && one.set.scope, packet, question })}`,
    )
  }
  if (packet === 'unknown') throw new Error(`too long a search: ${JSON.stringify({ one, question })}`)
  const drawn = fromSample(question.source, packet)
  if (!isAbout(question, drawn)) fail('not of the question')
  const facts = factsOf(drawn)
  if (one.kind === 'rate_limit') {
    if (answer === 'drop' || !countingLimits(state, facts, INGRESS, { banned }).includes(one.limit)) fail('not counted')
    return
  }
  const isReason = possibleCircumstances(facts, banned).some((circumstances) => {
    const { verdict, balanced } = judge(state, facts, circumstances, INGRESS)
    const shown = balanced && verdict === 'tx' ? 'redirect' : verdict
    return shown !== answer && shown === one.verdict && explains([one], state, facts, circumstances)
  })
  if (!isReason) fail(`not the reason but ${judge(state, facts, { banned }, INGRESS).reason} (answer ${answer})`)
}

/** Throws unless the cases explain a packet if its verdict is another one. Returns whether it is. */
function account(state: State, answer: string, cases: readonly Otherwise[], packet: Drawn, banned: boolean): boolean {
  const facts = factsOf(packet)
  const differing = possibleCircumstances(facts, banned).filter((circumstances) => {
    const { verdict, balanced, reason } = judge(state, facts, circumstances, INGRESS)
    // A service refuses some packets by itself.
    if (balanced && !['balanced', 'balanced-away', 'no-backend'].includes(reason)) return false
    return (balanced && verdict === 'tx' ? 'redirect' : verdict) !== answer
  })
  for (const circumstances of differing)
    if (!explains(cases, state, facts, circumstances))
      throw new Error(`no case for ${judge(state, facts, circumstances, INGRESS).reason}: ${JSON.stringify(packet)}`)
  const limits = answer === 'drop' ? [] : countingLimits(state, facts, INGRESS, { banned })
  for (const limit of limits.filter(({ action }) => action === 'drop'))
    if (!cases.some((one) => one.kind === 'rate_limit' && one.limit === limit))
      throw new Error(`${limit.name} is missing: ${JSON.stringify(packet)}`)
  return differing.length > 0
}

/** A limit that counts every packet that reaches the limits. */
const WHOLE = rateLimit('whole', { action: 'observe', position: 99 })

/** Throws unless the limits of a question are those that count one of its packets. */
function tally(state: State, limits: readonly LimitAmong[], packet: Drawn, banned: boolean): void {
  const rateLimits = new Map([...(state.rateLimits ?? []), [WHOLE.name, WHOLE]])
  const counting = countingLimits({ ...state, rateLimits }, factsOf(packet), INGRESS, { banned })
  const fail = (name: string, why: string): never => {
    throw new Error(`${name} ${why}: ${JSON.stringify(packet)}`)
  }
  for (const limit of counting)
    if (limit !== WHOLE && !limits.some((one) => one.limit === limit)) fail(limit.name, 'is missing')
  if (!counting.includes(WHOLE)) return
  for (const { limit, counts } of limits)
    if (counts === 'every' && !counting.includes(limit)) fail(limit.name, 'does not count every packet')
}

/** A random packet from the address with the fields that a question names. */
function packetOf(random: Random, { source, destination, ...fields }: Question): Drawn {
  const packet = packetFrom(random, source)
  return { ...packet, ...fields, ...(destination && { destination: { family: source.family, words: destination } }) }
}

/** Asks about some fields of a random packet. Returns the kinds of the cases, and how many of many packets have another verdict. */
function ask(random: Random, state: State): { readonly kinds: readonly string[]; readonly differing: number } {
  const source = address(random.chance(0.5) ? address4(random) : address6(random))
  const { question, standing } = asked(random, packetFrom(random, source))
  const banned = random.chance(0.35)
  const { verdict, balanced } = judge(state, factsOf(standing), { banned }, INGRESS)
  const answer = balanced && verdict === 'tx' ? 'redirect' : verdict
  const found = witnessesOf(state, question, answer, INGRESS, banned)
  for (const one of found) confirm(state, question, answer, one, banned)
  const cases = found.map(({ one }) => one)
  const limits = limitsAmong(state, question, INGRESS, banned)
  const packets = Array.from({ length: 40 }, () => packetOf(random, question)).filter(
    (packet) => isPossible(packet) && isAbout(question, packet),
  )
  for (const packet of packets) tally(state, limits, packet, banned)
  const differing = packets.filter((packet) => account(state, answer, cases, packet, banned))
  return { kinds: cases.map(({ kind }) => kind), differing: differing.length }
}

test('every case has a packet of the question that gets its verdict for its reason, and every packet with another verdict has its case', () => {
  const kinds = new Set<string>()
  let differing = 0
  fc.assert(
    fc.property(fc.nat(), (seed) => {
      const random = randomFrom(seed)
      const state = drawnState(random)
      for (let round = 0; round < 4; round++) {
        const found = ask(random, state)
        for (const kind of found.kinds) kinds.add(kind)
        differing += found.differing
      }
    }),
    { numRuns: usually(50, { thoroughly: 3000 }) },
  )
  expect(kinds.size).toBeGreaterThan(4)
  expect(differing).toBeGreaterThan(100)
})

/** Whether forcing the fields of a question left a packet that there can be. */
function isPossible({ protocol, fragment, flaw, hidden, source }: Drawn): boolean {
  const transports = [6, 17, source.family === 4 ? 1 : 58]
  if (hidden && (protocol !== 6 || fragment !== 'first')) return false
  return flaw !== 'cut' || (fragment !== 'later' && transports.includes(protocol as number))
}

test('an address that an entry passes as a whole has no other case, nor has a question that names every field', () => {
  const state = randomState(randomFrom(7))
  const source = parseAddress('198.51.100.200') as Address
  const question: Question = { source }
  const whole = { ...state, lists: new Map(), policy: undefined }
  expect(otherwiseOf(whole, question, 'pass', INGRESS, false)).toEqual([])
  expect(otherwiseOf(whole, question, 'drop', INGRESS, true)).toEqual([])
  expect(otherwiseOf(whole, question, 'pass', INGRESS, true)).toEqual([{ kind: 'ban', verdict: 'drop' }])
})

test('a limit counts every packet of a question, some, or none, by the fields that it names', () => {
  const source = address('203.0.113.9')
  const limits = [
    rateLimit('u', { scope: scope(17) }),
    rateLimit('pings', { scope: scope('icmp'), position: 1, action: 'observe' }),
    rateLimit('whole', { position: 2 }),
  ]
  const state = { ...randomState(randomFrom(7)), lists: new Map(), policy: DEFAULT_POLICY }
  const rateLimits = new Map(limits.map((limit) => [limit.name, limit]))
  const found = (fields: Omit<Question, 'source'>, banned = false, part: Partial<State> = {}): string[] =>
    limitsAmong({ ...state, rateLimits, ...part }, { source, ...fields }, INGRESS, banned).map(
      ({ limit, counts }) => `${limit.name} ${counts}`,
    )
  expect(found({})).toEqual(['u some', 'pings some', 'whole every'])
  expect(found({ protocol: 17 })).toEqual(['u every', 'whole every'])
  expect(found({ protocol: 1 })).toEqual(['pings every', 'whole every'])
  expect(found({ protocol: 6 })).toEqual(['whole every'])
  expect(found({}, true)).toEqual([])
  const blocked = new Map([['udp', block('udp', ['203.0.113.0/24', scope(17)])]])
  expect(found({}, false, { lists: blocked })).toEqual(['pings some', 'whole every'])
})

test('fields that a question names leave out the parts that ask for others', () => {
  const source = address('203.0.113.9')
  const kindsOf = (state: Partial<State>, answer: 'pass' | 'drop', fields: Omit<Question, 'source'>): string[] => {
    const whole = { ...randomState(randomFrom(7)), lists: new Map(), ...state }
    return otherwiseOf(whole, { source, ...fields }, answer, INGRESS, false).map(
      ({ kind, verdict }) => `${verdict} ${kind}`,
    )
  }
  const [tcp, udp] = [{ protocol: 6 }, { protocol: 17 }]
  const withNull = { policy: { ...DEFAULT_POLICY, anomalies: ['tcp_null'] } }
  expect(kindsOf(withNull, 'pass', {})).toEqual(['drop anomaly'])
  expect(kindsOf(withNull, 'pass', tcp)).toEqual(['drop anomaly'])
  for (const fields of [udp, { protocol: 1 }, { ...tcp, tcpFlags: 16 }, { ...tcp, fragment: 'later' as const }])
    expect(kindsOf(withNull, 'pass', fields)).toEqual([])

  const guarded = { policy: { ...DEFAULT_POLICY, syn_protection: 'always 2000 443' } }
  expect(kindsOf(guarded, 'pass', {})).toEqual(['tx syn_protection', 'drop syn_protection'])
  expect(kindsOf(guarded, 'pass', { ...tcp, tcpFlags: 16 })).toEqual(['drop syn_protection'])
  expect(kindsOf(guarded, 'pass', { ...tcp, tcpFlags: 2 })).toEqual(['tx syn_protection'])
  for (const fields of [udp, { fragment: 'later' as const }, { ...tcp, tcpFlags: 4 }, { ...tcp, destinationPort: 80 }])
    expect(kindsOf(guarded, 'pass', fields)).toEqual([])

  const sparing = block('all', ['0.0.0.0/0', { ...scope('any'), established: 'pass' }])
  const lists = new Map([['all', sparing]])
  const policy = {
    ...DEFAULT_POLICY,
    unparsed: 'pass',
    anomalies: ['land'],
    syn_protection: 'always 2000 443',
  } as const
  expect(kindsOf({ lists, policy }, 'drop', {})).toEqual([])
})

// Random policies against random live connections, with the model as the judge: no plan and no ban is accepted that cuts a
// guarded contact without its flag, and no change is labelled hitless while a connection is cut. The expected cuts come from
// the verdicts themselves, packet by packet, and not from the code that looks for them.

import { expect, test } from 'vitest'
import { factsFor, type TestPacket } from '../../src/abi/packet.ts'
import { placeOn } from '../../src/abi/place.ts'
import { banningJudge, modelJudge } from '../../src/kernel/live/answers.ts'
import { cutsAmong } from '../../src/kernel/live/cuts.ts'
import type { Address } from '../../src/model/address.ts'
import { coversAddress } from '../../src/model/ban.ts'
import { type AllowedCuts, type Contact, type Cuts, type Guarded, NO_ALLOWED_CUTS } from '../../src/model/contact.ts'
import type { Live, Slots } from '../../src/model/live.ts'
import { TCP, UDP } from '../../src/model/ports.ts'
import type { ProtectedPrefix } from '../../src/model/protect.ts'
import { EMPTY_STATE, type State } from '../../src/model/state.ts'
import { type AddressRange, formatAddress, parsePrefix } from '../../src/model/text.ts'
import { guardCuts, withCuts } from '../../src/plan/cuts.ts'
import { plan } from '../../src/plan/plan.ts'
import { protectWithin, witnessesOf } from '../../src/plan/witnesses.ts'
import { type Circumstances, judge } from '../../src/semantics/judge.ts'
import { addressIn, asked, type Host, LINKS, own, PORTS, randomHost, SLOTS } from '../support/contacts.ts'
import { usually } from '../support/depth.ts'
import { type Random, randomFrom, randomPrefix, randomState } from '../support/random.ts'
import { backend, service } from '../support/services.ts'
import { desired, live, PROGRAM } from '../support/states.ts'

const ROUNDS = usually(60, { thoroughly: 1000 })
const SEED = 20_261_129

function randomPolicy(random: Random): State {
  const { localPorts, ...state } = randomState(random)
  if (random.chance(0.7)) return state
  // A service that takes the packets of connections.
  const { family, words } = own(addressIn(random))
  const web = service('web', `${formatAddress(family, words)} ${random.pick(PORTS)}`, {
    backends: [backend(family === 4 ? '10.0.0.9' : '2001:db8:fe::9')],
  })
  return { ...state, services: new Map([[web.name, web]]) }
}

/** An interface may run nothing of ours before. */
function before(random: Random): State {
  if (random.chance(0.3)) return EMPTY_STATE
  const state = { ...randomPolicy(random), program: PROGRAM, localPorts: { first: 32_768, last: 60_999 } }
  const kept = [...state.interfaces].filter(() => random.chance(0.9))
  return { ...state, interfaces: new Map(kept) }
}

function randomProtect(random: Random): ProtectedPrefix[] {
  return Array.from({ length: random.below(3) }, (_, i): ProtectedPrefix => {
    const protocol = random.pick<ProtectedPrefix['protocol']>([undefined, TCP, UDP, 'icmp', 47])
    const hasPorts = protocol === TCP || protocol === UDP
    const port = hasPorts && random.chance(0.5) ? random.pick(PORTS) : undefined
    return { prefix: parsePrefix(randomPrefix(random)) as AddressRange, protocol, port, at: `xdp.yaml:${i + 5}` }
  })
}

/** The verdict of a state on a packet that arrives on a device. */
function verdict(state: State, packet: TestPacket, device: string, circumstances: Circumstances): string {
  const found = LINKS.find(({ name }) => name === device)
  if (found === undefined || !state.interfaces.has(device)) return 'pass'
  const { ingress } = placeOn(found, SLOTS.get(device), state.interfaces.get(device)?.roles)
  const judged = judge(state, factsFor(packet), circumstances, ingress)
  return judged.verdict === 'pass' ? 'pass' : judged.reason
}

interface Sides {
  readonly left: State
  readonly right: State
  /** Bans that the right side has besides. */
  readonly banned?: (source: Address) => boolean
}

/** Whether a packet passes on the left side and not on the right one, with the reason there. */
function isCut({ left, right, banned = () => false }: Sides, packet: TestPacket, device: string, hasSocket: boolean) {
  const port = packet.destinationPort ?? 0
  const ownOn = ({ localPorts }: State): boolean =>
    hasSocket && localPorts !== undefined && localPorts.first <= port && port <= localPorts.last
  const after = verdict(right, packet, device, { own: ownOn(right), banned: banned(packet.source) })
  return verdict(left, packet, device, { own: ownOn(left) }) === 'pass' && after !== 'pass' ? after : undefined
}

interface Expected {
  readonly connections: number
  readonly guarded: ReadonlySet<Guarded>
}

const SERVERS: readonly (string | undefined)[] = ['sshd', 'sshd-session', 'dropbear']

/** The packet that this host gets of a contact. */
function packetOf(contact: Contact): TestPacket {
  const { peer, local } = contact
  const common = { source: peer, destination: local }
  if (contact.kind === 'connection') {
    const { protocol, peerPort, localPort } = contact
    const ends = { sourcePort: peerPort, destinationPort: localPort, isWithin: true }
    return { ...common, ...ends, protocol: protocol === 'tcp' ? TCP : UDP }
  }
  if (contact.kind === 'resolver')
    return { ...common, protocol: UDP, sourcePort: 53, destinationPort: contact.localPort }
  return { ...common, protocol: 'icmp', message: peer.family === 4 ? 'too-big' : 'advertisement' }
}

function isSession(contact: Contact, processes: Host['processes']): boolean {
  if (contact.kind !== 'connection') return false
  const { inode, isInbound, protocol, localPort } = contact
  const name = inode === 0 ? undefined : processes.get(inode)
  const isServer = name === undefined ? localPort === 22 : SERVERS.includes(name)
  return contact.isSession || (protocol === 'tcp' && isInbound && isServer)
}

/** The cuts among the contacts, by the verdicts on their packets alone. */
function expectedCuts(sides: Sides, { contacts, processes, devices }: Host): Expected {
  const guarded = new Set<Guarded>()
  let connections = 0
  for (const contact of contacts) {
    const { kind, peer } = contact
    const hasSocket = kind === 'resolver' || (kind === 'connection' && contact.inode !== 0)
    const reason = isCut(sides, packetOf(contact), contact.device ?? devices[peer.family], hasSocket)
    // ARP passes under default drop.
    const reaches = reason === undefined || (kind === 'gateway' && peer.family === 4 && reason === 'default-drop')
    if (reaches) continue
    if (kind === 'connection') connections++
    if (kind === 'gateway') guarded.add('gateway')
    if (kind === 'resolver') guarded.add('dns')
    if (isSession(contact, processes)) guarded.add('ssh')
  }
  return { connections, guarded }
}

/** A packet that an element of `protect` is about. */
function protectedPacket(random: Random, { prefix, protocol, port }: ProtectedPrefix): TestPacket {
  const { family, start, end } = prefix
  // Some near the addresses of lists, some anywhere in the prefix.
  const some = Array.from({ length: 20 }, () => addressIn(random)).find(({ words }) =>
    coversAddress({ ...prefix, length: 0 }, words),
  )
  const words = some?.words ?? start.map((word, i) => word + random.below((end[i] as number) - word + 1))
  const wanted = protocol ?? random.pick<number | 'icmp'>([TCP, UDP, 'icmp'])
  const ports = wanted === TCP || wanted === UDP ? { destinationPort: port ?? random.pick(PORTS) } : {}
  return { source: { family, words }, protocol: wanted, ...ports }
}

const NOTHING: Omit<Slots, 'interfaces'> = {
  lists: new Map(),
  services: new Map(),
  backends: new Map(),
  pools: new Map(),
}
const slots: Slots = { ...NOTHING, interfaces: SLOTS }

const KINDS: readonly Guarded[] = ['ssh', 'gateway', 'dns', 'protected']
const CODES = { ssh: 'E226', gateway: 'E227', dns: 'E228', protected: 'E229' } as const

const codesOf = (cuts: Cuts, allowed: Partial<AllowedCuts> = {}): string[] =>
  guardCuts(cuts, { ...NO_ALLOWED_CUTS, ...allowed }, undefined).map(({ code }) => code)

/** Holds cuts to what the verdicts say: each guarded kind is refused, unless the command line allows it. */
function expectGuarded(cuts: Cuts, expected: Expected): void {
  const wanted = KINDS.filter((kind) => expected.guarded.has(kind)).map((kind) => CODES[kind])
  expect(codesOf(cuts).filter((code) => code !== 'E229')).toEqual(wanted)
  for (const kind of ['ssh', 'gateway', 'dns'] as const) {
    expect(codesOf(cuts, { kinds: [kind] })).toEqual(codesOf(cuts).filter((code) => code !== CODES[kind]))
  }
  expect(codesOf(cuts, { all: true })).toEqual([])
  expect(cuts.cut.filter(({ contact }) => contact.kind === 'connection')).toHaveLength(expected.connections)
}

/** Random packets that `protect` is about: one that is cut must have been found. Returns the number of those. */
function expectProtected(
  context: string,
  random: Random,
  cuts: Cuts,
  protect: readonly ProtectedPrefix[],
  sides: Sides,
  { devices }: Host,
): number {
  let count = 0
  for (const element of protect) {
    for (let i = 0; i < 20; i++) {
      const packet = protectedPacket(random, element)
      const reason = isCut(sides, packet, devices[packet.source.family], false)
      if (reason === undefined) continue
      count++
      const found = expect.arrayContaining(['E229'])
      expect([context, packet, reason, codesOf(cuts)]).toEqual([context, packet, reason, found])
    }
  }
  return count
}

const sum = { cut: 0, refused: 0, protected: 0 }

test('no plan is accepted that cuts a guarded contact without its flag, and hitless means that none is cut', async () => {
  for (let round = 0; round < ROUNDS; round++) {
    const random = randomFrom(SEED + round)
    const host = randomHost(random)
    const now: Live = live({ state: before(random), slots, links: LINKS })
    const protect = randomProtect(random)
    const wanted = { ...desired(randomPolicy(random)), protect }
    const made = plan(wanted, now, PROGRAM)
    const sides: Sides = { left: now.state, right: made.state }
    const cuts = await cutsAmong(
      { contacts: host.contacts, connections: 0, omitted: 0 },
      {
        links: now.links,
        witnesses: witnessesOf(protect, { before: now.state, after: made.state }),
        before: { state: now.state, slots: now.slots, judge: modelJudge(now.state) },
        after: { state: made.state, slots, judge: modelJudge(made.state) },
      },
      asked(host),
    )
    const expected = expectedCuts(sides, host)
    const context = `seed ${SEED + round}`
    expect([context, cuts.cut.length > 0 || expected.connections === 0]).toEqual([context, true])
    expectGuarded(cuts, expected)

    const { changes } = withCuts(made, cuts)
    expect(changes.reduce((count, { cuts: own = 0 }) => count + own, 0)).toBe(expected.connections)
    if (expected.connections > 0) expect(changes.every(({ impact }) => impact !== 'cuts')).toBe(false)
    if (cuts.cut.length === 0) expect(changes.every(({ impact }) => impact !== 'cuts')).toBe(true)

    sum.protected += expectProtected(context, random, cuts, protect, sides, host)
    sum.cut += expected.connections
    sum.refused += codesOf(cuts).length > 0 ? 1 : 0
  }
  // The rounds are about something.
  expect(sum.cut).toBeGreaterThan(ROUNDS)
  expect(sum.refused).toBeGreaterThan(ROUNDS / 10)
  expect(sum.protected).toBeGreaterThan(ROUNDS / 10)
})

test('no ban is accepted that cuts a guarded contact without its flag', async () => {
  let refused = 0
  for (let round = 0; round < ROUNDS; round++) {
    const random = randomFrom(SEED + 100_000 + round)
    const host = randomHost(random)
    const state: State = { ...randomPolicy(random), program: PROGRAM, localPorts: { first: 32_768, last: 60_999 } }
    const prefix = parsePrefix(randomPrefix(random))
    if (!prefix) throw new Error('a random prefix is none')
    const protect = randomProtect(random)
    const banned = ({ words }: Address): boolean => coversAddress(prefix, words)
    const side = { state, slots, judge: modelJudge(state) }
    const cuts = await cutsAmong(
      { contacts: host.contacts, connections: 0, omitted: 0 },
      {
        links: new Map(LINKS.map((one) => [one.name, one])),
        witnesses: witnessesOf(protectWithin(protect, [prefix]), { before: state, after: state }),
        only: banned,
        before: side,
        after: { ...side, judge: banningJudge(side.judge, banned) },
      },
      asked(host),
    )
    const sides: Sides = { left: state, right: state, banned }
    expectGuarded(cuts, expectedCuts(sides, host))
    expectProtected(`seed ${SEED + 100_000 + round}`, random, cuts, protect, sides, host)
    refused += codesOf(cuts).length > 0 ? 1 : 0
  }
  expect(refused).toBeGreaterThan(ROUNDS / 20)
})

// Finds the contacts of this host that a policy would cut: whose packets pass now and would not reach the host under the
// policy. Judges everything once; asks for routes, the present verdict and processes only about packets that would not
// pass.

import type { TestPacket } from '../../abi/packet.ts'
import { PLACES, type Place, placesOf } from '../../abi/place.ts'
import { type Address, isLinkLocal } from '../../model/address.ts'
import type { Answer, Contact, Cut, Cuts, Guarded, Partner, ProtectedPeer } from '../../model/contact.ts'
import { shapesOf } from '../../model/link.ts'
import type { Live, Slots } from '../../model/live.ts'
import { PROTOCOL_NUMBERS } from '../../model/ports.ts'
import { passedOnTheWay } from '../../model/stack.ts'
import type { State } from '../../model/state.ts'
import { sameAddress } from '../../model/text.ts'
import { dependsOnInterface } from '../../semantics/judge.ts'
import { arrivalsOf, type Contacts, withContacts } from '../host/contacts.ts'
import { isSshServer, processesOf } from '../host/processes.ts'
import { type Arrival, type Judge, modelJudge } from './answers.ts'

const DNS_PORT = 53
const SSH_PORT = 22

/** A packet of a neighbour that forwards. */
const neighbourPacket = ({ peer, local }: Contact): TestPacket => ({
  source: peer,
  destination: local,
  protocol: 'icmp',
  message: peer.family === 4 ? 'too-big' : 'advertisement',
})

/** The packet that this host receives of a contact. */
export function packetFrom(contact: Contact): TestPacket {
  const common = { source: contact.peer, destination: contact.local }
  switch (contact.kind) {
    case 'connection': {
      const { protocol, peerPort, localPort } = contact
      const ports = { sourcePort: peerPort, destinationPort: localPort }
      return { ...common, ...ports, protocol: PROTOCOL_NUMBERS[protocol], isWithin: true }
    }
    case 'client':
      return { ...common, protocol: PROTOCOL_NUMBERS.tcp, destinationPort: SSH_PORT, isWithin: true }
    case 'gateway':
      return neighbourPacket(contact)
    case 'time-server':
    case 'next-hop':
    case 'backend': {
      const { protocol, peerPort, localPort } = contact
      if (protocol === 'icmp') return neighbourPacket(contact)
      const ports = { sourcePort: peerPort, destinationPort: localPort }
      return { ...common, ...ports, protocol: PROTOCOL_NUMBERS[protocol], isWithin: true }
    }
    case 'resolver':
      return {
        ...common,
        protocol: PROTOCOL_NUMBERS.udp,
        sourcePort: DNS_PORT,
        destinationPort: contact.localPort,
      }
    case 'protected':
      return { ...common, protocol: contact.protocol, destinationPort: contact.port }
    default:
      return contact satisfies never
  }
}

/** A connection in SYN-RECV has no socket yet. */
const hasSocket = (contact: Contact): boolean =>
  contact.kind === 'resolver' ||
  (contact.kind === 'connection' && contact.inode !== 0) ||
  ('hasSocket' in contact && contact.hasSocket)

/** A policy, and the slots of its tables. */
export interface Side {
  readonly state: State
  readonly slots: Slots
  readonly judge: Judge
}

export interface CutsInput {
  readonly links: Live['links']
  readonly before: Side
  readonly after: Side
  /** Packets of protected prefixes. */
  readonly witnesses: readonly ProtectedPeer[]
  /** SSH clients of the caller, by their addresses. */
  readonly clients?: readonly Address[]
  /** Peers to judge; undefined: all. */
  readonly only?: (peer: Address) => boolean
}

type Named = Place & { readonly name: string }

const toArrival = (contact: Contact, place: Place): Arrival => ({
  packet: packetFrom(contact),
  place,
  hasSocket: hasSocket(contact),
})

/** An interface on which packets of a contact arrive that do not pass. */
interface Loss {
  readonly contact: Contact
  readonly name: string
  readonly after: Answer
}

/** Whether packets are lost: those of a gateway may be dropped for want of an entry, because ARP passes. */
const isLost = ({ kind, peer }: Contact, { passes, reason }: Answer): boolean =>
  !passes && !((kind === 'gateway' || kind === 'next-hop') && peer.family === 4 && reason === 'default-drop')

/** The contacts whose packets do not pass after the plan, on the interfaces on which they arrive. */
async function lossesOf(
  contacts: readonly Contact[],
  { links, after }: CutsInput,
  { arrivalsOf }: Asked,
): Promise<Loss[]> {
  const places = placesOf(after.state, links, after.slots.interfaces)
  const shapes = shapesOf(after.state.interfaces.keys(), links)
  // The interface does not matter to most policies.
  const isUniform = !dependsOnInterface(after.state) && shapes.length === 1
  const looked: readonly Place[] = isUniform ? [PLACES[shapes[0] ?? 'ethernet']] : places
  const answers: (readonly Answer[])[] = []
  for (const place of looked) answers.push(await after.judge(contacts.map((contact) => toArrival(contact, place))))
  const lost = contacts.flatMap((contact, i) =>
    answers.some((one) => isLost(contact, one[i] as Answer)) ? [{ contact, i }] : [],
  )
  if (lost.length === 0) return []
  const devices = await arrivalsOf(lost.map(({ contact }) => contact))
  return lost.flatMap(({ contact, i }, at) => {
    const device = devices[at]
    const anywhere = device === undefined && isLinkLocal(contact.peer)
    const passed = device === undefined ? new Set<string>() : passedOnTheWay(device, links)
    return places.flatMap(({ name }, number): Loss[] => {
      const answer = answers[isUniform ? 0 : number]?.[i] as Answer
      return (anywhere || passed.has(name)) && isLost(contact, answer) ? [{ contact, name, after: answer }] : []
    })
  })
}

const PASSES: Answer = { passes: true, reason: 'default-pass', list: undefined, service: undefined }

/** The present verdicts on lost packets. An interface without our program passes everything. */
async function presentAnswers(losses: readonly Loss[], { links, before }: CutsInput): Promise<Answer[]> {
  const places = new Map<string, Named>(
    placesOf(before.state, links, before.slots.interfaces).map((place) => [place.name, place]),
  )
  const asked = losses.flatMap(({ contact, name }) => {
    const place = places.get(name)
    return place ? [toArrival(contact, place)] : []
  })
  const answers = await before.judge(asked)
  let next = 0
  return losses.map(({ name }) => (places.has(name) ? (answers[next++] as Answer) : PASSES))
}

function guardedOf(contact: Contact, owner: string | undefined): Guarded | undefined {
  switch (contact.kind) {
    case 'gateway':
      return 'gateway'
    case 'resolver':
      return 'dns'
    case 'protected':
      return 'protected'
    case 'client':
      return 'ssh'
    case 'time-server':
    case 'next-hop':
    case 'backend':
      return undefined
    case 'connection': {
      if (contact.isSession) return 'ssh'
      const isServer = owner === undefined ? contact.localPort === SSH_PORT : isSshServer(owner)
      return contact.isInbound && contact.protocol === 'tcp' && isServer ? 'ssh' : undefined
    }
    default:
      return contact satisfies never
  }
}

const GUARD_ORDER: readonly (Guarded | undefined)[] = ['ssh', 'gateway', 'dns', 'protected', undefined]

/** Without clients whose connection is among the sessions. */
function withoutRepeats(cuts: readonly Cut[]): Cut[] {
  const isSession = ({ contact: { kind }, guarded }: Cut): boolean => kind === 'connection' && guarded === 'ssh'
  const sessions = cuts.filter(isSession)
  return cuts.filter(
    ({ contact: { kind, peer } }) =>
      kind !== 'client' || !sessions.some(({ contact }) => sameAddress(contact.peer, peer)),
  )
}

/** Facts about the host that are asked for packets that would not pass. */
export interface Asked {
  /** The device on which the packets of each contact arrive; undefined: no route leads there. */
  readonly arrivalsOf: (contacts: readonly Contact[]) => Promise<(string | undefined)[]>
  /** Names of processes by the inodes of their sockets. */
  readonly processesOf: (inodes: ReadonlySet<number>) => ReadonlyMap<number, string>
}

const HOST: Asked = { arrivalsOf, processesOf }

/** Finds which of these contacts, clients and witnesses a policy would cut, guarded ones first. */
export async function cutsAmong(
  { contacts, connections, omitted }: Contacts,
  input: CutsInput,
  asked: Asked,
): Promise<Cuts> {
  const { clients = [], only = () => true } = input
  const own = clients.map((peer) => ({ kind: 'client', peer, local: undefined }) as const)
  const judged = [...contacts, ...own, ...input.witnesses].filter(({ peer }) => only(peer))
  const losses = await lossesOf(judged, input, asked)
  const before = losses.length === 0 ? [] : await presentAnswers(losses, input)
  const cut = new Map<Contact, Loss & { readonly before: Answer }>()
  for (const [i, loss] of losses.entries()) {
    const present = before[i] as Answer
    if (present.passes && !cut.has(loss.contact)) cut.set(loss.contact, { ...loss, before: present })
  }
  const inodes = [...cut.keys()].flatMap((contact) => (contact.kind === 'connection' ? [contact.inode] : []))
  const processes = asked.processesOf(new Set(inodes.filter((inode) => inode !== 0)))
  const found = [...cut.values()].map(({ contact, name, before, after }): Cut => {
    const owner = contact.kind === 'connection' ? processes.get(contact.inode) : undefined
    return { contact, interface: name, owner, guarded: guardedOf(contact, owner), before, after }
  })
  const rank = ({ guarded }: Cut): number => GUARD_ORDER.indexOf(guarded)
  return { connections, omitted, cut: withoutRepeats(found).sort((left, right) => rank(left) - rank(right)) }
}

/** Finds what a policy would cut of this host's contacts. Throws errors of ip and bpftool. */
export const findCuts = (input: CutsInput): Promise<Cuts> =>
  withContacts((contacts) => cutsAmong(contacts, input, HOST))

type Policies = { readonly [side in 'before' | 'after']: Omit<Side, 'judge'> } & Pick<CutsInput, 'links'>

/**
 * Finds which partners a policy would cut. The filter alone judges, by the model on both sides: most have no socket that
 * the program could find, and the balancer takes packets of backends for those of flows.
 */
export async function findCutPartners(
  partners: readonly Partner[],
  { links, ...sides }: Policies,
): Promise<Cuts['cut']> {
  if (partners.length === 0) return []
  const filtering = ({ state, slots }: Omit<Side, 'judge'>): Side => {
    const filter = { ...state, services: new Map() }
    return { state: filter, slots, judge: modelJudge(filter) }
  }
  const input = { links, witnesses: [], before: filtering(sides.before), after: filtering(sides.after) }
  return (await cutsAmong({ contacts: partners, connections: 0, omitted: 0 }, input, HOST)).cut
}

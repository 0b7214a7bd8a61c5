// The facts about the live state that a plan follows from. A saved plan carries them, and is stale once one differs. No
// counters and no times: those move without anything having changed.

import type { Desired } from '../model/desired.ts'
import { membersOf } from '../model/link.ts'
import type { AttachedProgram, Link, Live } from '../model/live.ts'
import type { FactKind, PlanFact } from '../model/saved-plan.ts'
import { asksSockets } from '../model/scope.ts'
import { addressTextsOf } from '../model/service.ts'
import { stackFor } from '../model/stack.ts'
import { formatAddress } from '../model/text.ts'
import { driftOf } from './attachments.ts'
import { hopText, macText } from './next-hops.ts'

const fact = (kind: FactKind, name: string, value: string): PlanFact => ({ kind, name, value })

/** `eth0` runs these: the text names id and owner of each. */
export function programsText(programs: readonly AttachedProgram[]): string {
  const texts = programs.map(({ id, name, mode, tag, generation }) =>
    generation === undefined
      ? `id ${id}${name && ` ${name}`} (${mode}${tag && `, tag ${tag}`})`
      : `id ${id} of generation ${generation} (${mode})`,
  )
  return texts.sort().join('; ') || NO_PROGRAM
}
export const NO_PROGRAM = 'no program'

/** The interfaces of the file, those that run our program or have a record, and the members that their packets arrive on. */
function concerned({ options, state }: Desired, { links, slots }: Live): string[] {
  const own = [...links.values()].filter(({ programs }) => programs.some(({ generation }) => generation !== undefined))
  const named = [
    ...options.keys(),
    ...state.interfaces.keys(),
    ...slots.interfaces.keys(),
    ...own.map(({ name }) => name),
  ]
  const members = named.flatMap((name) => {
    const link = links.get(name)
    return link ? membersOf(link, links).map((member) => member.name) : []
  })
  return [...new Set([...named, ...members])].sort()
}

export const NO_DEVICE = 'missing'

function deviceText(link: Link | undefined): string {
  if (link === undefined) return NO_DEVICE
  const { ifindex, kind, linkType, mac, mtu, master, vlan, below, isMultipoint } = link
  return [
    `index ${ifindex}`,
    `${kind} (${linkType}${isMultipoint ? ', multipoint' : ''})`,
    `MAC ${mac === '' ? 'none' : macText(mac)}`,
    `MTU ${mtu}`,
    ...(master === undefined ? [] : [`member of ${master}`]),
    ...(vlan === undefined ? [] : [`VLAN ${vlan.tag} of ${vlan.parent}`]),
    ...(below === undefined ? [] : [`on ${below}`]),
  ].join(', ')
}

/** Devices stacked on an interface, whose frames are for this host. */
function stackText(name: string, { state }: Desired, { links }: Live): string {
  const { macs, above } = stackFor(state, name, links)
  return [...macs.map(macText), ...above.map((ifindex) => `index ${ifindex}`)].join(', ')
}

/** Next hops of the backends in the file and in the kernel. */
function hopFacts({ state }: Desired, live: Live): PlanFact[] {
  const services = [...state.services.values(), ...live.state.services.values()]
  const addresses = [...new Set(services.flatMap(addressTextsOf))].sort()
  return addresses.map((address) => {
    const hop = live.nextHops.get(address)
    const { gateways, unresolved } = live
    const via = gateways.get(address)
    const text = hop
      ? `${hopText(hop)}${via === undefined ? '' : ` via ${via}`}, index ${hop.ifindex}, from ${macText(hop.sourceMac)}, MTU ${hop.mtu}`
      : `unknown: ${unresolved.get(address) ?? 'not asked for'}`
    return fact('next-hop', address, text)
  })
}

function addressFacts({ state }: Desired, live: Live): PlanFact[] {
  if (state.services.size === 0 && live.state.services.size === 0) return []
  const addresses = live.ownAddresses.map(({ family, words }) => formatAddress(family, words)).sort()
  return [fact('own-addresses', '', [...new Set(addresses)].join(', '))]
}

/** Local ports of this host, where the policy asks for sockets, or a service takes ports of an address of this host. */
function portFacts({ state }: Desired, live: Live): PlanFact[] {
  const hasPool = [state, live.state].some(({ services }) =>
    [...services.values()].some((one) => one.snatPool.length > 0),
  )
  if (!hasPool && !asksSockets(state) && live.state.localPorts === undefined) return []
  return [fact('local-ports', '', `${live.localPorts.first}-${live.localPorts.last}`)]
}

/** Settings of TCP in the kernel, where SYNs are answered. */
function tcpFacts({ state }: Desired, { state: live, tcp }: Live): PlanFact[] {
  if (!tcp || !(state.policy?.syn_protection || live.policy?.syn_protection)) return []
  return [fact('tcp', '', `cookies ${tcp.cookies ?? 'none'}, rmem_max ${tcp.receiveMax}`)]
}

/**
 * The facts that observation knows, in a fixed order.
 *
 * @param objects facts about the objects of the instance, which only the kernel room can read
 */
export function factsOf(desired: Desired, live: Live, objects: readonly PlanFact[] = []): readonly PlanFact[] {
  const { links, generation, pending, leftovers } = live
  const names = concerned(desired, live)
  const interfaces = names.flatMap((name) => {
    const stack = stackText(name, desired, live)
    const link = links.get(name)
    return [
      fact('device', name, deviceText(link)),
      fact('programs', name, programsText(link?.programs ?? [])),
      ...(stack === '' ? [] : [fact('stack', name, stack)]),
    ]
  })
  const base = (path: string): string => path.slice(path.lastIndexOf('/') + 1)
  return [
    fact('generation', '', `${generation}`),
    fact('confirmation', '', pending?.id ?? 'none'),
    fact('leftovers', '', leftovers.map(base).sort().join(', ') || 'none'),
    ...interfaces,
    ...[...driftOf(live)].map(([key, what]) => fact('drift', key, what)).sort(byName),
    ...hopFacts(desired, live),
    ...portFacts(desired, live),
    ...tcpFacts(desired, live),
    ...addressFacts(desired, live),
    ...objects,
  ]
}

const byName = (left: PlanFact, right: PlanFact): number => (left.name < right.name ? -1 : 1)

// The devices of this host that are stacked on a network interface. Frames to their MAC addresses are for this host, and
// routes may lead to them while packets arrive on the interface below.

import { membersOf } from './link.ts'
import type { Link } from './live.ts'
import { coversInterface, socketlessScopes } from './scope.ts'
import type { State } from './state.ts'

type Stacked = Pick<Link, 'name' | 'ifindex' | 'mac' | 'kind' | 'linkType' | 'master' | 'below' | 'vlan'>

export interface Stack {
  /** MAC addresses of frames for this host, distinct, the interface's own first: 12 hex digits. Empty: unknown. */
  readonly macs: readonly string[]
  /** Devices that routes may name instead of the interface, in the order of discovery. */
  readonly above: readonly number[]
}

export const NO_STACK: Stack = { macs: [], above: [] }

/** Kinds of devices that are made on top of another one. Frames to a macvtap device are for a virtual machine. */
const MADE_ON_ANOTHER: ReadonlySet<string> = new Set(['vlan', 'macvlan', 'ipvlan'])

const NO_ADDRESS = '0'.repeat(12)

/** The devices directly above one. A VRF has no part in the path of frames. */
function directlyAbove<T extends Stacked>(link: Stacked, links: ReadonlyMap<string, T>): readonly T[] {
  const made = [...links.values()].filter(({ kind, below }) => below === link.name && MADE_ON_ANOTHER.has(kind))
  const master = link.master === undefined ? undefined : links.get(link.master)
  if (master === undefined || master.kind === 'vrf') return made
  // The ports of an Open vSwitch bridge that the host has its addresses on are devices beside the master.
  const ports =
    master.kind === 'openvswitch' ? [...links.values()].filter(({ kind }) => kind === master.kind) : [master]
  return [...made, ...ports]
}

/** Every device above one, nearest first. */
function everyAbove<T extends Stacked>(link: Stacked, links: ReadonlyMap<string, T>): readonly T[] {
  const found = new Map<string, T>()
  const wait: Stacked[] = [link]
  for (let below = wait.shift(); below !== undefined; below = wait.shift()) {
    for (const above of directlyAbove(below, links)) {
      if (above.name === link.name || found.has(above.name)) continue
      found.set(above.name, above)
      wait.push(above)
    }
  }
  return [...found.values()]
}

/** The stack on a link. Of a bond, members with MAC addresses of their own get frames too (mode balance-alb). */
export function stackOf(link: Stacked, links: ReadonlyMap<string, Stacked>): Stack {
  if (link.mac === '' || link.mac === NO_ADDRESS) return NO_STACK
  const above = everyAbove(link, links)
  const macs = [link, ...above, ...membersOf(link, links)].map(({ mac }) => mac)
  return {
    macs: [...new Set(macs)].filter((mac) => mac !== '' && mac !== NO_ADDRESS),
    // A next hop on a VLAN device names the device below and the tag.
    above: above.filter(({ vlan }) => vlan === undefined).map(({ ifindex }) => ifindex),
  }
}

/**
 * The stack of an interface as far as a state needs it: the balancer asks for it, and entries for packets to this host
 * that have no socket.
 */
export function stackFor(
  state: Pick<State, 'interfaces' | 'services' | 'lists'> & { readonly policy?: State['policy'] | undefined },
  name: string,
  links: ReadonlyMap<string, Stacked>,
): Stack {
  const link = links.get(name)
  const roles = state.interfaces.get(name)?.roles ?? []
  const balances = state.services.size > 0 && roles.includes('balance')
  const answers = (state.policy?.syn_protection ?? '') !== ''
  const asks =
    roles.includes('filter') && (answers || socketlessScopes(state).some((scope) => coversInterface(scope, name)))
  return link && (balances || asks) ? stackOf(link, links) : NO_STACK
}

/** Devices above an interface that its packets may be for, by name: those of its stack, and VRFs. */
export function devicesAbove<T extends Stacked>(link: Stacked, links: ReadonlyMap<string, T>): readonly T[] {
  const above = everyAbove(link, links)
  const vrfs = [link, ...above].flatMap(({ master }) => {
    const found = master === undefined ? undefined : links.get(master)
    return found?.kind === 'vrf' ? [found] : []
  })
  return [...new Set([...above, ...vrfs])]
}

/** The devices that packets pass on their way to one, itself included: those below it, and its members. */
export function passedOnTheWay<T extends Stacked>(name: string, links: ReadonlyMap<string, T>): ReadonlySet<string> {
  const found = new Set<string>()
  const wait = [name]
  for (let next = wait.shift(); next !== undefined; next = wait.shift()) {
    const link = links.get(next)
    if (!link || found.has(next)) continue
    found.add(next)
    if (link.below !== undefined && MADE_ON_ANOTHER.has(link.kind)) wait.push(link.below)
    for (const { name: member, master } of links.values()) if (master === next) wait.push(member)
  }
  return found
}

// Whether an interface accepts a program in native mode, as far as that is known without trying. Pure.

import { bondRefusal, driverOf, refusedInBond } from '../../drivers/bond.ts'
import { KNOWN_UNTIL, WITHOUT_NATIVE_KINDS } from '../../drivers/driver.ts'
import { mtuLimit as limitOf, withoutNative } from '../../drivers/native.ts'
import { driverNamed } from '../../drivers/table.ts'
import type { Version } from '../../model/version.ts'
import type { Card } from './cards.ts'
import { listed } from './check.ts'
import type { Processors } from './device.ts'

export interface Native {
  readonly answer: 'yes' | 'no' | 'unknown'
  /** Clause that continues "NAME: ". */
  readonly why: string
  /** A fix other than generic mode. */
  readonly fix?: string
}

/** Facts outside the interface that the answer depends on. */
export interface Surroundings {
  /** undefined if the version of the kernel could not be read. */
  readonly kernel: Version | undefined
  readonly cards: ReadonlyMap<string, Card>
  /** Whether the config has services. */
  readonly balances: boolean
  /** Whether it has `syn_protection`, which answers SYNs. */
  readonly answers: boolean
  readonly processors: Processors
}

const yes = (why: string): Native => ({ answer: 'yes', why })
const no = (why: string, fix?: string): Native => ({ answer: 'no', why, ...(fix === undefined ? {} : { fix }) })
const unknown = (why: string): Native => ({ answer: 'unknown', why })

function driverNative(name: string, kernel: Version | undefined): Native {
  const why = withoutNative(name, kernel)
  if (why !== undefined) return no(why)
  if (driverNamed(name)) return yes(`driver ${name} has native XDP`)
  return unknown(
    `it is unknown whether driver ${name} has native XDP (as of Linux ${KNOWN_UNTIL}); xdp apply will try it`,
  )
}

/** A member is asked for more than a device of its own: it has no program, and transmits frames of other devices. */
function memberNative(member: Card, surroundings: Surroundings): Native {
  if (member.programs.length > 0) return no('it runs a program of its own')
  const why = refusedInBond(driverOf(member.kind, member.hardware.driver))
  return why === undefined ? supportsNative(member, surroundings) : no(why)
}

/** `eth0 (ice)`; of a virtual device its kind. */
const described = ({ name, kind, hardware: { driver } }: Card): string =>
  `${name} (${driver ?? (kind === 'physical' ? 'driver unknown' : kind)})`

function bondNative(card: Card, surroundings: Surroundings): Native {
  const { kernel, cards } = surroundings
  const refusal = bondRefusal(card.bond, kernel)
  if (refusal) return no(refusal.why, refusal.fix)
  const members = [...cards.values()].filter(({ master }) => master === card.name)
  if (members.length === 0) return unknown('it has no members yet, and refuses those without native XDP later')
  const answers = members.map((member) => ({ member, native: memberNative(member, surroundings) }))
  const refusing = answers.find(({ native }) => native.answer === 'no')
  if (refusing) {
    const others = members.filter((member) => member !== refusing.member).map(described)
    const rest = others.length > 0 ? ` (beside ${listed(others)})` : ''
    return no(`its member ${refusing.member.name} has no native XDP${rest}: ${refusing.native.why}`)
  }
  const doubtful = answers.find(({ native }) => native.answer === 'unknown')
  if (doubtful) return unknown(`it depends on its member ${doubtful.member.name}: ${doubtful.native.why}`)
  return yes(`all its members have native XDP (${listed(members.map(described))})`)
}

function vethNative(card: Card, { kernel, cards }: Surroundings): Native {
  const peer = card.lower === undefined ? undefined : cards.get(card.lower)
  // veth_xdp_set: "XDP expects number of rx queues not less than peer tx queues", ENOSPC.
  const [now, peerNow] = [card.hardware.channels?.now.rx, peer?.hardware.channels?.now.tx]
  if (peer && now !== undefined && peerNow !== undefined && now < peerNow) {
    const why = `it has ${now} receive queues, fewer than the ${peerNow} transmit queues of its peer ${peer.name}`
    return no(why, `ethtool -L ${card.name} rx ${peerNow}`)
  }
  return driverNative('veth', kernel)
}

/**
 * virtio_net refuses native XDP (virtnet_xdp_set) if its host cannot stop merging packets: without
 * VIRTIO_NET_F_CTRL_GUEST_OFFLOADS, GRO_HW is fixed on.
 */
function virtioRefuses({ hardware: { driver, features } }: Card): boolean {
  const merging = features.get('rx-gro-hw')
  return driver === 'virtio_net' && merging?.on === true && merging.fixed
}

/** Whether an interface should accept native XDP. */
export function supportsNative(card: Card, surroundings: Surroundings): Native {
  const running = card.programs.find(({ mode }) => mode === 'native')
  if (running) return yes(`a program runs in native mode now`)
  if (card.kind === 'vlan' && card.lower !== undefined) {
    return no('a VLAN device has no native XDP', `name ${card.lower} instead: the filter parses VLAN tags`)
  }
  if (card.kind === 'tun') {
    if (card.variant === 'tun') return no('a tun device has no native XDP (a tap device has)')
    return driverNative('tun', surroundings.kernel)
  }
  if (WITHOUT_NATIVE_KINDS.has(card.kind)) return no(`a ${card.kind} device has no native XDP`)
  if (card.kind === 'bond') return bondNative(card, surroundings)
  if (card.kind === 'veth') return vethNative(card, surroundings)
  if (virtioRefuses(card)) {
    const why = 'virtio_net refuses native XDP, because its host merges packets (rx-gro-hw is on and fixed)'
    return no(
      why,
      `write \`mode: generic\` under ${card.name}: it works, with a warning about GRO_HW in the kernel log`,
    )
  }
  if (card.hardware.driver === undefined) return unknown('its driver is unknown; xdp apply will try native XDP')
  return driverNative(card.hardware.driver, surroundings.kernel)
}

/** Largest MTU in bytes at which the driver hands over headers in the first buffer; undefined: at any. */
export const linearLimit = ({ kind, hardware: { driver } }: Card): number | undefined =>
  kind === 'physical' ? driverNamed(driver)?.linear?.is : undefined

/** Approximate largest MTU in bytes at which the driver accepts our programs; undefined: no limit, or none known. */
export const mtuLimit = ({ kind, hardware }: Card, kernel: Version | undefined): number | undefined =>
  limitOf(kind === 'veth' ? 'veth' : hardware.driver, kernel)

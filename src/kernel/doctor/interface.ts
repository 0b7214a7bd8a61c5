// The findings about one interface. Pure: facts → findings.

import { PULL_DATA } from '../../drivers/driver.ts'
import { membersOf, shapeOf } from '../../model/link.ts'
import { atLeast } from '../../model/version.ts'
import type { Check } from '../../report/result.ts'
import { isTagFixed, stripsTags } from '../host/ethtool.ts'
import type { Card } from './cards.ts'
import { bad, listed, ok, warn } from './check.ts'
import { checkHardware } from './hardware.ts'
import { find, isNative, permitGeneric, severity, type Wanted } from './level.ts'
import { linearLimit, mtuLimit, type Surroundings, supportsNative } from './native.ts'
import { checkPrograms } from './program.ts'

function checkLink(card: Card): Check {
  const id = `interface.${card.name}.link`
  const description = card.kind === 'physical' ? (card.hardware.driver ?? 'driver unknown') : card.kind
  if (!card.up) return warn(id, `${description}, down: no packet reaches the filter`, `ip link set ${card.name} up`)
  if (!card.carrier) return warn(id, `${description}, up but without carrier`, 'check the cable, or the other end')
  return ok(id, `${description}, up, MTU ${card.mtu}`)
}

function checkNative(card: Card, wanted: Wanted, surroundings: Surroundings): Check {
  const id = `interface.${card.name}.native`
  const { answer, why, fix } = supportsNative(card, surroundings)
  if (answer === 'yes') return ok(id, why)
  if (answer === 'unknown')
    return find(severity(wanted) === 'ok' ? 'ok' : 'warn', id, why, permitGeneric(card.name, wanted))
  const note = wanted?.includes('generic') && wanted[0] === 'native' ? ': apply will use generic mode' : ''
  return find(severity(wanted), id, `${why}${note}`, fix ?? permitGeneric(card.name, wanted))
}

function checkMtu(card: Card, wanted: Wanted, { kernel }: Surroundings): Check[] {
  const id = `interface.${card.name}.mtu`
  const limit = mtuLimit(card, kernel)
  if (isNative(card) || limit === undefined || card.mtu <= limit) return []
  const driver = card.kind === 'veth' ? 'veth' : card.hardware.driver
  const message = `MTU ${card.mtu}: on this kernel, driver ${driver} supports native XDP up to an MTU of about ${limit}`
  return [find(severity(wanted), id, message, `ip link set ${card.name} mtu ${Math.min(limit, 1500)}`)]
}

/** Checks whether the filter can read packets of the interface, and says if they have no Ethernet header. */
function checkShape(card: Card, wanted: Wanted): Check[] {
  const id = `interface.${card.name}.packets`
  const shape = shapeOf(card)
  if (shape === 'ethernet') return []
  const described = `a ${card.kind} device with link layer ${card.linkType}`
  if (shape === 'ip') return [ok(id, `IP packets without an Ethernet header (${described}): filtered, not balanced`)]
  const message = `the filter cannot read its packets: it is ${described}, and no kind whose packets begin with an Ethernet or IP header`
  const fix = `filter on the interface below it, which receives the outer packets`
  return [wanted === undefined ? warn(id, message, fix) : bad(id, message, fix)]
}

/** Checks drivers that leave the first buffer of long frames empty. */
function checkLinear(card: Card, wanted: Wanted, surroundings: Surroundings): Check[] {
  const { kernel } = surroundings
  const limit = linearLimit(card)
  const runsNative =
    isNative(card) || (wanted?.[0] !== 'generic' && supportsNative(card, surroundings).answer === 'yes')
  if (limit === undefined || card.mtu <= limit || !runsNative || mtuLimit(card, kernel) !== undefined) return []
  const balancing =
    kernel === undefined || atLeast(kernel, PULL_DATA)
      ? 'each packet of a service is first rearranged (bpf_xdp_pull_data)'
      : `packets of services are not balanced, which needs bpf_xdp_pull_data of Linux ${PULL_DATA.join('.')}`
  const message = `MTU ${card.mtu}: above about ${limit}, ${card.hardware.driver} leaves the first buffer of every packet empty: the filter judges them all, but each costs more, and ${balancing}`
  return [warn(`interface.${card.name}.linear`, message, `ip link set ${card.name} mtu ${limit}`)]
}

/** Devices that take VLAN tags out of frames of this interface: itself, or members of a bond. */
function stripping(card: Card, cards: ReadonlyMap<string, Card>): Card[] {
  const members = membersOf(card, cards)
  return (members.length > 0 ? members : [card]).filter(({ hardware }) => stripsTags(hardware.features))
}

const isTagFixedOf = ({ hardware }: Card): boolean => isTagFixed(hardware.features)

function checkTags(card: Card, wanted: Wanted, { cards, balances }: Surroundings): Check[] {
  const above = [...cards.values()].filter(({ vlan }) => vlan?.parent === card.name).map(({ name }) => name)
  const devices = stripping(card, cards).map(({ name }) => name)
  if (above.length === 0 || devices.length === 0 || wanted === undefined) return []
  const id = `interface.${card.name}.vlan`
  const message = `VLAN tags are taken out of received frames before XDP (rx-vlan-offload of ${listed(devices)}), and ${listed(above)} ${above.length === 1 ? 'is' : 'are'} above it: the filter judges the packets, without seeing their tag`
  if (!balances) return [ok(id, message)]
  const lost =
    'answers of the balancer to a VLAN (echo replies, "packet too big", full NAT) leave untagged and are lost'
  const fixed = stripping(card, cards)
    .filter(isTagFixedOf)
    .map(({ name }) => name)
  const fix =
    fixed.length > 0
      ? `the driver of ${listed(fixed)} cannot turn it off: give the clients of the VLAN a card whose frames have no tag`
      : devices.map((name) => `ethtool -K ${name} rxvlan off`).join(' && ')
  return [warn(id, `${message}; ${lost}`, fix)]
}

function checkRelation(card: Card, { cards }: Surroundings, named: ReadonlySet<string>): Check[] {
  const id = `interface.${card.name}.relation`
  if (card.kind === 'vlan' && card.lower !== undefined) {
    const message = `a VLAN of ${card.lower}: the filter sees only packets of this VLAN`
    return [warn(id, message, `name ${card.lower} instead to filter all of them in native mode`)]
  }
  if (card.kind === 'bridge') {
    const ports = [...cards.values()].filter(({ master }) => master === card.name).map(({ name }) => name)
    const message = 'a bridge: the filter sees only packets for this host, not those forwarded between its ports'
    return [
      warn(id, message, ports.length > 0 ? `name its ports instead: ${ports.join(', ')}` : 'name its ports instead'),
    ]
  }
  return card.master === undefined ? [] : checkMember(id, card, card.master, cards, named)
}

function checkMember(
  id: string,
  card: Card,
  master: string,
  cards: ReadonlyMap<string, Card>,
  named: ReadonlySet<string>,
): Check[] {
  const kind = cards.get(master)?.kind
  if (kind === 'bridge') {
    const message = `a port of bridge ${master}: the filter also sees packets that the bridge only forwards`
    return [warn(id, message, 'add the sources that must cross the bridge to allowlist')]
  }
  if (cards.get(master)?.hardware.driver === 'hv_netvsc') {
    const message = `the virtual function behind ${master}: a program on ${master} is attached to it too`
    return [warn(id, message, `name ${master} instead`)]
  }
  if (kind !== 'bond' && kind !== 'team') return []
  const others = [...cards.values()].filter((other) => other.master === master && !named.has(other.name))
  const unnamed = others.filter(({ name }) => name !== card.name).map(({ name }) => name)
  if (unnamed.length === 0) return []
  const message = `a member of ${kind} ${master}: packets on its other members are not filtered`
  return [warn(id, message, `name ${unnamed.join(', ')} too, or ${master} instead`)]
}

function checkOffload(card: Card, wanted: Wanted): Check[] {
  if (wanted?.[0] !== 'offload' || ['nfp', 'netdevsim'].includes(card.hardware.driver ?? '')) return []
  const message = 'the config requests offload mode, but only cards of Netronome (driver nfp) run programs in hardware'
  const id = `interface.${card.name}.offload`
  return [wanted.length > 1 ? warn(id, message) : bad(id, message, `write \`mode: native\` under ${card.name}`)]
}

/** All findings about one interface. `named`: the interfaces of the config. */
export function checkInterface(
  card: Card,
  wanted: Wanted,
  surroundings: Surroundings,
  named: ReadonlySet<string>,
): Check[] {
  return [
    checkLink(card),
    ...checkShape(card, wanted),
    checkNative(card, wanted, surroundings),
    ...checkOffload(card, wanted),
    ...checkMtu(card, wanted, surroundings),
    ...checkLinear(card, wanted, surroundings),
    ...checkTags(card, wanted, surroundings),
    ...checkHardware(card, wanted, surroundings),
    ...checkRelation(card, surroundings, named),
    ...checkPrograms(card, wanted),
  ]
}

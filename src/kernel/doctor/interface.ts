// The findings about one interface. Pure: facts → findings.

import { membersOf, shapeOf } from '../../model/link.ts'
import type { AttachMode } from '../../model/state.ts'
import type { Check, CheckLevel } from '../../report/result.ts'
import { stripsTags } from '../host/ethtool.ts'
import { atLeast } from '../tools/version.ts'
import type { Card, CardProgram } from './cards.ts'
import { bad, listed, ok, warn } from './check.ts'
import { DRIVERS, PULL_DATA } from './drivers.ts'
import { linearLimit, mtuLimit, type Surroundings, supportsNative } from './native.ts'

/** Modes that the config permits, in order; undefined for an interface outside the config. */
type Wanted = readonly AttachMode[] | undefined

/** Level of a finding that native mode is unavailable. */
function severity(wanted: Wanted): CheckLevel {
  if (wanted === undefined) return 'warn'
  if (wanted[0] !== 'native') return 'ok'
  return wanted.includes('generic') ? 'warn' : 'fail'
}

const find = (level: CheckLevel, id: string, message: string, fix: string): Check =>
  level === 'ok' ? ok(id, message) : { id, level, message, fix }

const permitGeneric = (name: string, wanted: Wanted): string =>
  wanted?.includes('generic')
    ? `write \`mode: generic\` under ${name}, so that apply does not try native`
    : `write \`mode: generic\` under ${name}: slower, but every interface supports it`

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

const isNative = ({ programs }: Card): boolean => programs.some(({ mode }) => mode === 'native')

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

function checkTags(card: Card, wanted: Wanted, { cards, balances }: Surroundings): Check[] {
  const above = [...cards.values()].filter(({ vlan }) => vlan?.parent === card.name).map(({ name }) => name)
  const devices = stripping(card, cards).map(({ name }) => name)
  if (above.length === 0 || devices.length === 0 || wanted === undefined) return []
  const id = `interface.${card.name}.vlan`
  const message = `VLAN tags are taken out of received frames before XDP (rx-vlan-offload of ${listed(devices)}), and ${listed(above)} ${above.length === 1 ? 'is' : 'are'} above it: the filter judges the packets, without seeing their tag`
  if (!balances) return [ok(id, message)]
  const lost =
    'answers of the balancer to a VLAN (echo replies, "packet too big", full NAT) leave untagged and are lost'
  return [warn(id, `${message}; ${lost}`, devices.map((name) => `ethtool -K ${name} rxvlan off`).join(' && '))]
}

function checkOffloads(card: Card, wanted: Wanted): Check[] {
  const id = `interface.${card.name}.lro`
  const lro = card.hardware.features.get('large-receive-offload')
  if (!lro?.on || isNative(card)) return []
  const message =
    'large receive offload is on: it merges packets before the filter sees them, and most drivers then refuse XDP'
  if (lro.fixed)
    return [find(severity(wanted), id, `${message}; the driver cannot turn it off`, permitGeneric(card.name, wanted))]
  return [warn(id, message, `ethtool -K ${card.name} lro off`)]
}

/** Checks drivers that reserve a transmit queue for XDP per receive queue. */
function checkQueues(card: Card, wanted: Wanted): Check[] {
  const { driver = '', channels } = card.hardware
  const [max, now] = [channels?.max.combined, channels?.now.combined]
  if (!Object.hasOwn(DRIVERS, driver) || !DRIVERS[driver]?.halfQueues || isNative(card)) return []
  if (max === undefined || now === undefined || now * 2 <= max || wanted?.[0] === 'generic') return []
  const message = `${now} of ${max} queues are in use: for native XDP most versions of ${driver} need half of them unused`
  const half = Math.max(1, Math.floor(max / 2))
  return [warn(`interface.${card.name}.queues`, message, `ethtool -L ${card.name} combined ${half}`)]
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

const DETACH: Readonly<Record<AttachMode, string>> = { native: 'xdpdrv', generic: 'xdpgeneric', offload: 'xdpoffload' }

function checkForeign(card: Card, program: CardProgram): Check {
  const id = `interface.${card.name}.program`
  const name = program.name === '' ? '' : ` ${program.name}`
  const description = `program${name} (id ${program.id}, ${program.mode} mode)`
  if (program.owner === 'unknown')
    return warn(id, `${description} is attached; only root can see its owner`, 'sudo xdp doctor')
  if (program.instance !== undefined) {
    const message = `${description} of instance ${program.instance} is attached`
    return warn(
      id,
      message,
      `remove ${card.name} from its config; to remove that instance from every interface: xdp destroy --instance ${program.instance}`,
    )
  }
  if (program.name === 'xdp_dispatcher') {
    const message = `the dispatcher of libxdp (id ${program.id}, ${program.mode} mode) is attached, with the programs of its chain`
    const unload = `xdp-loader unload ${card.name}`
    return warn(
      id,
      message,
      `\`xdp-loader status\` lists them; to remove one: ${unload} --id ID; to remove all: ${unload} --all`,
    )
  }
  const detach = `bpftool net detach ${DETACH[program.mode]} dev ${card.name}`
  return warn(
    id,
    `${description} is attached and not ours`,
    `to keep it behind ours, write \`on_conflict: chain\` under ${card.name}; to end it, \`on_conflict: replace\`, or: ${detach}`,
  )
}

function checkPrograms(card: Card, wanted: Wanted): Check[] {
  const id = `interface.${card.name}.program`
  const foreign = card.programs.filter(({ owner }) => owner !== 'ours').map((program) => checkForeign(card, program))
  const ours = card.programs.find(({ owner }) => owner === 'ours')
  if (!ours) return foreign.length > 0 ? foreign : [ok(id, 'no XDP program is attached')]
  if (wanted?.[0] === 'native' && ours.mode === 'generic') {
    const fix = `write \`mode: native\` under ${card.name} to let apply switch it, with a short traffic gap`
    return [...foreign, warn(id, `our program ${ours.id} is attached in generic mode, though native is preferred`, fix)]
  }
  return [...foreign, ok(id, `our program ${ours.id} is attached in ${ours.mode} mode`)]
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
    ...checkOffloads(card, wanted),
    ...checkQueues(card, wanted),
    ...checkRelation(card, surroundings, named),
    ...checkPrograms(card, wanted),
  ]
}

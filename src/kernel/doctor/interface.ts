// What doctor says about one interface. Pure: facts in, findings out.

import type { AttachMode } from '../../model/state.ts'
import type { Check, CheckLevel } from '../../report/result.ts'
import type { Card, CardProgram } from './cards.ts'
import { bad, ok, warn } from './check.ts'
import { DRIVERS } from './drivers.ts'
import { mtuLimit, type Surroundings, supportsNative } from './native.ts'

/** Modes that the config permits, in order; undefined: the config does not name the interface. */
type Wanted = readonly AttachMode[] | undefined

/** How bad it is that native mode is not to be had. */
function severity(wanted: Wanted): CheckLevel {
  if (wanted === undefined) return 'warn'
  if (wanted[0] !== 'native') return 'ok'
  return wanted.includes('generic') ? 'warn' : 'fail'
}

const find = (level: CheckLevel, id: string, message: string, fix: string): Check =>
  level === 'ok' ? ok(id, message) : { id, level, message, fix }

const permitGeneric = (name: string, wanted: Wanted): string =>
  wanted?.includes('generic')
    ? `write \`mode: generic\` under ${name} to stop asking for native`
    : `write \`mode: generic\` under ${name}: slower, but any interface takes it`

function checkLink(card: Card): Check {
  const id = `interface.${card.name}.link`
  const what = card.kind === 'physical' ? (card.hardware.driver ?? 'driver unknown') : card.kind
  if (!card.up) return warn(id, `${what}, down: no packet reaches the filter`, `ip link set ${card.name} up`)
  if (!card.carrier) return warn(id, `${what}, up but without carrier`, 'check the cable, or the other end')
  return ok(id, `${what}, up, MTU ${card.mtu}`)
}

function checkNative(card: Card, wanted: Wanted, surroundings: Surroundings): Check {
  const id = `interface.${card.name}.native`
  const { answer, why, fix } = supportsNative(card, surroundings)
  if (answer === 'yes') return ok(id, why)
  if (answer === 'unknown')
    return find(severity(wanted) === 'ok' ? 'ok' : 'warn', id, why, permitGeneric(card.name, wanted))
  const note = wanted?.includes('generic') && wanted[0] === 'native' ? ': generic mode will be used' : ''
  return find(severity(wanted), id, `${why}${note}`, fix ?? permitGeneric(card.name, wanted))
}

const isNative = ({ programs }: Card): boolean => programs.some(({ mode }) => mode === 'native')

function checkMtu(card: Card, wanted: Wanted, { kernel }: Surroundings): Check[] {
  const id = `interface.${card.name}.mtu`
  const limit = mtuLimit(card, kernel)
  if (isNative(card) || limit === undefined || card.mtu <= limit) return []
  const driver = card.kind === 'veth' ? 'veth' : card.hardware.driver
  const message = `MTU ${card.mtu}: with this kernel driver ${driver} takes native XDP up to about ${limit}`
  return [find(severity(wanted), id, message, `ip link set ${card.name} mtu ${Math.min(limit, 1500)}`)]
}

function checkOffloads(card: Card, wanted: Wanted): Check[] {
  const id = `interface.${card.name}.lro`
  const lro = card.hardware.features.get('large-receive-offload')
  if (!lro?.on || isNative(card)) return []
  const message =
    'large receive offload is on: packets are merged before the filter sees them, and most drivers refuse XDP'
  if (lro.fixed)
    return [find(severity(wanted), id, `${message}; the driver cannot turn it off`, permitGeneric(card.name, wanted))]
  return [warn(id, message, `ethtool -K ${card.name} lro off`)]
}

/** Drivers that give each queue of XDP a transmit queue of its own. */
function checkQueues(card: Card, wanted: Wanted): Check[] {
  const { driver = '', channels } = card.hardware
  const [max, now] = [channels?.max.combined, channels?.now.combined]
  if (!Object.hasOwn(DRIVERS, driver) || !DRIVERS[driver]?.halfQueues || isNative(card)) return []
  if (max === undefined || now === undefined || now * 2 <= max || wanted?.[0] === 'generic') return []
  const message = `${now} of ${max} queues are in use: for native XDP most versions of ${driver} want half of them spare`
  const half = Math.max(1, Math.floor(max / 2))
  return [warn(`interface.${card.name}.queues`, message, `ethtool -L ${card.name} combined ${half}`)]
}

function checkRelation(card: Card, { cards }: Surroundings, named: ReadonlySet<string>): Check[] {
  const id = `interface.${card.name}.relation`
  if (card.kind === 'vlan' && card.lower !== undefined) {
    const message = `VLAN of ${card.lower}: only the packets of this VLAN are filtered`
    return [warn(id, message, `name ${card.lower} instead to filter all of them in native mode`)]
  }
  if (card.kind === 'bridge') {
    const ports = [...cards.values()].filter(({ master }) => master === card.name).map(({ name }) => name)
    const message = 'a bridge: only packets for this host are filtered, not those that it forwards between its ports'
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
    const message = `a port of bridge ${master}: packets that the bridge only forwards are filtered too`
    return [warn(id, message, 'put what must cross the bridge on the allowlist')]
  }
  if (cards.get(master)?.hardware.driver === 'hv_netvsc') {
    const message = `the virtual function behind ${master}: what is attached to ${master} reaches it by itself`
    return [warn(id, message, `name ${master} instead`)]
  }
  if (kind !== 'bond' && kind !== 'team') return []
  const others = [...cards.values()].filter((other) => other.master === master && !named.has(other.name))
  const unnamed = others.filter(({ name }) => name !== card.name).map(({ name }) => name)
  if (unnamed.length === 0) return []
  const message = `a member of ${kind} ${master}: packets that arrive on its other members are not filtered`
  return [warn(id, message, `name ${unnamed.join(', ')} too, or ${master} instead`)]
}

const DETACH: Readonly<Record<AttachMode, string>> = { native: 'xdpdrv', generic: 'xdpgeneric', offload: 'xdpoffload' }

function checkForeign(card: Card, program: CardProgram): Check {
  const id = `interface.${card.name}.program`
  const name = program.name === '' ? '' : ` ${program.name}`
  const what = `program${name} (id ${program.id}, ${program.mode} mode)`
  if (program.owner === 'unknown')
    return warn(id, `${what} is attached; whose it is takes root to see`, 'sudo xdp doctor')
  if (program.instance !== undefined) {
    const message = `${what} of our instance ${program.instance} is attached`
    return warn(id, message, `take ${card.name} out of its config, or: xdp destroy --instance ${program.instance}`)
  }
  if (program.name === 'xdp_dispatcher') {
    const message = `the dispatcher of libxdp (id ${program.id}, ${program.mode} mode) is attached, with the programs of its chain`
    return warn(id, message, `xdp-loader unload ${card.name} --all`)
  }
  const detach = `bpftool net detach ${DETACH[program.mode]} dev ${card.name}`
  return warn(
    id,
    `${what} is attached and not ours`,
    `write \`on_conflict: replace\` under ${card.name}, or: ${detach}`,
  )
}

function checkPrograms(card: Card, wanted: Wanted): Check[] {
  const id = `interface.${card.name}.program`
  const foreign = card.programs.filter(({ owner }) => owner !== 'ours').map((program) => checkForeign(card, program))
  const ours = card.programs.find(({ owner }) => owner === 'ours')
  if (!ours) return foreign.length > 0 ? foreign : [ok(id, 'no XDP program is attached')]
  if (wanted?.[0] === 'native' && ours.mode === 'generic') {
    const fix = `write \`mode: native\` under ${card.name} to have apply switch it, with a short gap`
    return [...foreign, warn(id, `our program ${ours.id} is attached in generic mode, though native is preferred`, fix)]
  }
  return [...foreign, ok(id, `our program ${ours.id} is attached in ${ours.mode} mode`)]
}

function checkOffload(card: Card, wanted: Wanted): Check[] {
  if (wanted?.[0] !== 'offload' || ['nfp', 'netdevsim'].includes(card.hardware.driver ?? '')) return []
  const message =
    'offload mode is asked for, but only cards of Netronome (driver nfp) take programs into their hardware'
  const id = `interface.${card.name}.offload`
  return [wanted.length > 1 ? warn(id, message) : bad(id, message, `write \`mode: native\` under ${card.name}`)]
}

/** Every finding about one interface. `named`: the interfaces of the config. */
export function checkInterface(
  card: Card,
  wanted: Wanted,
  surroundings: Surroundings,
  named: ReadonlySet<string>,
): Check[] {
  return [
    checkLink(card),
    checkNative(card, wanted, surroundings),
    ...checkOffload(card, wanted),
    ...checkMtu(card, wanted, surroundings),
    ...checkOffloads(card, wanted),
    ...checkQueues(card, wanted),
    ...checkRelation(card, surroundings, named),
    ...checkPrograms(card, wanted),
  ]
}

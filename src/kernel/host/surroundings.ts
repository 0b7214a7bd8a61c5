// Facts about the host that policies depend on: forwarding and local ports, and for services also next hops of backends,
// own addresses, and SSH connections. The latter are read only if the file or the live state has services, so that other
// configs do not pay for them.

import { release } from 'node:os'
import type { Address } from '../../model/address.ts'
import { membersOf } from '../../model/link.ts'
import type { Live } from '../../model/live.ts'
import { addressTextsOf, type LeavingBackend, type NextHop, type Service } from '../../model/service.ts'
import { formatAddress } from '../../model/text.ts'
import { hopDrift, unresolvedOf } from '../../plan/next-hops.ts'
import { askIpBatch } from '../tools/ip.ts'
import { tryReadProc } from '../tools/proc.ts'
import { readDrivers, readStripping } from './ethtool.ts'
import { type RawLink, readLinks } from './links.ts'
import { readLocalPorts, readReservedPorts } from './local-ports.ts'
import type { Memory } from './memory.ts'
import { type Devices, foundRoutes, requestNeighbours, resolveNextHops, verifyNeighbours } from './next-hops.ts'
import { readOwnAddresses, readSshEnds } from './protect.ts'
import { readTcpSettings } from './tcp-settings.ts'

export type Surroundings = Pick<
  Live,
  | 'nextHops'
  | 'unresolved'
  | 'gateways'
  | 'acceptsLocal'
  | 'ownAddresses'
  | 'unanswered'
  | 'stripping'
  | 'forwards'
  | 'sshEnds'
  | 'bootSeconds'
  | 'localPorts'
  | 'reservedPorts'
  | 'tcp'
>

const NOTHING: Omit<Surroundings, 'forwards' | 'localPorts' | 'reservedPorts' | 'tcp'> = {
  nextHops: new Map(),
  unresolved: new Map(),
  gateways: new Map(),
  acceptsLocal: new Set(),
  ownAddresses: [],
  unanswered: new Map(),
  stripping: new Map(),
  sshEnds: [],
  bootSeconds: 0,
}

/** Whether a switch under /proc/sys/net is 1. */
export const isOn = (path: string): boolean => tryReadProc(`/proc/sys/net/${path}`)?.trim() === '1'

export const readForwarding = (): Surroundings['forwards'] => ({
  v4: isOn('ipv4/ip_forward'),
  v6: isOn('ipv6/conf/all/forwarding'),
})

/** Interfaces of next hops on which the kernel accepts packets from its own addresses. */
function readAcceptsLocal(hops: Iterable<NextHop | undefined>): Surroundings['acceptsLocal'] {
  const devices = [...new Set([...hops].flatMap((hop) => hop?.interface ?? []))]
  const accepts = (device: string): boolean => isOn(`ipv4/conf/${device}/accept_local`)
  const isEverywhere = accepts('all')
  return new Set(devices.filter((device) => isEverywhere || accepts(device)))
}

/** VIPs inside the network of an interface that are not an address of this host, with that interface. */
async function readUnanswered(vips: readonly string[]): Promise<Surroundings['unanswered']> {
  const results = await askIpBatch(
    foundRoutes,
    vips.map((vip) => `route get ${vip}`),
  )
  const found = vips.flatMap((vip, index) => {
    const route = results[index]?.output?.[0]
    const isOnLink = route?.type === undefined && route?.gateway === undefined && route?.via === undefined
    return isOnLink && route?.dev !== undefined ? [[vip, route.dev] as const] : []
  })
  return new Map(found)
}

const text = ({ family, words }: Address): string => formatAddress(family, words)

/** The distinct addresses of all backends, as text. */
export const backendAddresses = (services: Iterable<Service>): Set<string> => {
  const texts = new Set<string>()
  for (const service of services) for (const one of addressTextsOf(service)) texts.add(one)
  return texts
}

/** CLOCK_MONOTONIC in seconds, the clock of the data plane. */
export const monotonicSeconds = (): number => Math.floor(Number(process.hrtime.bigint() / 1_000_000_000n))

/** Those of these devices and of parents of VLAN devices whose frames lose their tag before XDP, with the devices that take it. */
async function readTagLoss(links: Devices, others: readonly string[]): Promise<Surroundings['stripping']> {
  const parents = [...new Set([...links.values()].flatMap(({ vlan }) => vlan?.parent ?? []).concat(others))]
  const receivers = parents.flatMap((name) => {
    const link = links.get(name)
    const members = link ? membersOf(link, links).map((member) => member.name) : []
    return link ? [[name, members.length > 0 ? members : [name]] as const] : []
  })
  const strip = new Set(await readStripping([...new Set(receivers.flatMap(([, devices]) => devices))]))
  const found = receivers.map(([name, devices]) => [name, devices.filter((device) => strip.has(device))] as const)
  return new Map(found.filter(([, devices]) => devices.length > 0))
}

/** Kinds of masters whose members have native XDP in their place, or decide about it. */
const HAVE_MEMBERS: ReadonlySet<string> = new Set(['bond', 'bridge', 'team'])

/** Devices on whose drivers native XDP on an interface depends, or which could have it in its place. */
function relativesOf(link: RawLink, links: ReadonlyMap<string, RawLink>): RawLink[] {
  const below = link.kind === 'vlan' ? links.get(link.below ?? '') : undefined
  const members = HAVE_MEMBERS.has(link.kind) ? [...links.values()].filter(({ master }) => master === link.name) : []
  return [...members, ...(below ? [below, ...relativesOf(below, links)] : [])]
}

/**
 * The drivers of cards on which warnings depend: of those among these interfaces on which no program runs, of their members
 * and the cards below them, and of those that take VLAN tags out of frames. Others cost no process.
 */
export async function readDriversOf(
  links: ReadonlyMap<string, RawLink>,
  names: Iterable<string>,
  { stripping }: Pick<Surroundings, 'stripping'>,
): Promise<Live['drivers']> {
  const fresh = [...names].flatMap((name) => links.get(name) ?? []).filter(({ programs }) => programs.length === 0)
  const close = fresh.flatMap((link) => [link, ...relativesOf(link, links)])
  const wanted = new Set([...close.map(({ name }) => name), ...[...stripping.values()].flat()])
  const cards = [...wanted].filter((name) => links.get(name)?.kind === 'physical')
  const isNeeded = cards.length > 0 || close.some(({ kind }) => kind === 'bond')
  return isNeeded ? { kernel: release(), names: await readDrivers(cards) } : undefined
}

/** The facts needed to plan a file with these services, and entries for VLANs on these interfaces. Throws the errors of ip. */
export async function surroundingsOf(
  desired: ReadonlyMap<string, Service>,
  links: Devices,
  { kept }: Memory,
  tagged: readonly string[],
): Promise<Surroundings> {
  const forwards = readForwarding()
  const ports = { localPorts: readLocalPorts(), reservedPorts: readReservedPorts(), tcp: readTcpSettings() }
  if (desired.size === 0) {
    const stripping = tagged.length > 0 ? await readTagLoss(links, tagged) : NOTHING.stripping
    return { ...NOTHING, stripping, forwards, ...ports }
  }
  const vips = [...new Set([...desired.values()].map(({ vip }) => text(vip)))]
  const [hops, ownAddresses, unanswered, stripping, sshEnds] = await Promise.all([
    resolveNextHops([...backendAddresses(desired.values())], links, {
      ask: true,
      routes: kept?.nextHops,
      silent: kept?.silent,
    }),
    readOwnAddresses(),
    readUnanswered(vips),
    readTagLoss(links, tagged),
    readSshEnds(),
  ])
  const isOwn = ownAddresses.some((own) => vips.includes(text(own)))
  const acceptsLocal = isOwn ? readAcceptsLocal(hops.nextHops.values()) : new Set<string>()
  const bootSeconds = monotonicSeconds()
  return { ...hops, ownAddresses, unanswered, stripping, forwards, acceptsLocal, sshEnds, bootSeconds, ...ports }
}

/** Whether the kernel's next hops of backends differ from those of the services. Sends no neighbour request. */
export async function haveNextHopsChanged(services: ReadonlyMap<string, Service>, { kept }: Memory): Promise<boolean> {
  const addresses = [...backendAddresses(services.values())]
  const { nextHops } = await resolveNextHops(addresses, await readLinks(), { ask: false, routes: kept?.nextHops })
  return [...services.values()].some((service) => hopDrift(service, { nextHops }) !== undefined)
}

/** Makes the kernel send neighbour requests for backends without a next hop; netlink reports the answers. */
export const requestUnresolved = (services: ReadonlyMap<string, Service>): Promise<void> =>
  requestNeighbours([...new Set(unresolvedOf(services).map(text))])

/** Asks the neighbours on the way to these addresses whether they are still there; see verifyNeighbours. */
export const verifyHops = (addresses: readonly string[], most: number, { kept }: Memory): Promise<void> =>
  verifyNeighbours(addresses, most, kept?.nextHops)

/** Adds the next hops of backends that are live but not in the file, as far as the kernel knows them. */
export async function withLiveHops(
  known: Surroundings,
  live: ReadonlyMap<string, Service>,
  leaving: readonly LeavingBackend[],
  links: Devices,
  { kept }: Memory,
): Promise<Surroundings> {
  const addresses = backendAddresses(live.values())
  for (const { backend } of leaving) addresses.add(text(backend.address))
  const missing = [...addresses].filter((address) => !known.nextHops.has(address))
  const bootSeconds = live.size === 0 ? known.bootSeconds : monotonicSeconds()
  if (missing.length === 0) return { ...known, bootSeconds }
  const found = await resolveNextHops(missing, links, { ask: false, routes: kept?.nextHops })
  return {
    ...known,
    bootSeconds,
    nextHops: new Map([...known.nextHops, ...found.nextHops]),
    unresolved: new Map([...known.unresolved, ...found.unresolved]),
    gateways: new Map([...known.gateways, ...found.gateways]),
  }
}

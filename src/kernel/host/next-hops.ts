// Next hops of backends: where the kernel would send a packet, from its route and neighbour tables. XDP cannot send a
// neighbour request, so this file makes the kernel send one by marking the entry as about to be used (NTF_USE), as a
// packet would. An answer arrives within milliseconds, or not at all.

import { setTimeout } from 'node:timers/promises'
import { list, optional, record, type ShapeOf, text, word } from '../../abi/answer.ts'
import type { Link } from '../../model/live.ts'
import type { NextHop } from '../../model/service.ts'
import { askIpBatch, type IpResult, runIpBatch } from '../tools/ip.ts'
import { type Neighbours, readNeighbours } from './neighbours.ts'

export interface Hops {
  /** By formatted address; undefined for one that could not be resolved. */
  readonly nextHops: ReadonlyMap<string, NextHop | undefined>
  /** Why an address could not be resolved, as a clause, by formatted address. */
  readonly unresolved: ReadonlyMap<string, string>
  /** The gateway of the route, by formatted address; addresses on a link have no entry. */
  readonly gateways: ReadonlyMap<string, string>
}

/** The answer to `ip route get`. */
export const foundRoutes = list(
  record({
    type: optional(text),
    dev: optional(text),
    gateway: optional(text),
    /** A gateway of the other family (RFC 8950). */
    via: optional(record({ host: optional(text) })),
    metrics: optional(list(record({ mtu: optional(word) }))),
  }),
)

/** Facts about interfaces, by name. */
export type Devices = ReadonlyMap<
  string,
  Pick<Link, 'name' | 'ifindex' | 'mtu' | 'mac' | 'vlan' | 'up' | 'kind' | 'master'>
>

/** The route to an address. */
interface Route {
  readonly device: string
  /** The address that receives the frames: the destination itself, or a gateway. */
  readonly neighbour: string
  /** MTU of the route; undefined = that of the interface. */
  readonly mtu: number | undefined
}

/** Largest packet, in bytes, that fits into a 16-bit length. */
const LARGEST_MTU = 0xffff

/** Errors of `ip route get` for routes without a next hop, as clauses. */
const REFUSALS: Readonly<Record<string, string>> = {
  'Network is unreachable': 'no route',
  'No route to host': 'the route is unreachable',
  'Invalid argument': 'the route is a blackhole',
  'Permission denied': 'the route is prohibited',
}

/** The route in the output of `ip route get`, or why the packet cannot be sent, as a clause. */
export function routeOf(address: string, { output, error }: IpResult<ShapeOf<typeof foundRoutes>>): Route | string {
  const route = output?.[0]
  if (route === undefined) return REFUSALS[error ?? ''] ?? `no route: ${error}`
  if (route.type === 'local') return 'the address belongs to this host'
  if (route.type !== undefined && route.type !== 'unicast') return `the route is of type ${route.type}`
  if (route.dev === undefined) return 'the route has no interface'
  const mtu = route.metrics?.find((metric) => metric.mtu !== undefined)?.mtu
  return { device: route.dev, neighbour: route.gateway ?? route.via?.host ?? address, mtu }
}

/** Why the balancer cannot send frames to an interface, as a clause. */
function deviceProblem(device: string, links: Devices): string | undefined {
  const link = links.get(device)
  if (link === undefined) return `the route leads to ${device}, which does not exist`
  if (!link.up) return `${device} is down`
  if (link.kind === 'vlan') {
    const parent = link.vlan && links.get(link.vlan.parent)
    if (parent === undefined) return `the interface below ${device} does not exist, or its tag is not 802.1Q`
    if (parent.kind === 'vlan') return `${device} has two VLAN tags`
  }
  return link.mac === '' ? `frames on ${device} have no MAC addresses` : undefined
}

/** The next hop of a route. Replaces a VLAN interface by its parent and a tag. */
export function hopOf({ device, mtu }: Route, mac: string, links: Devices): NextHop | string {
  const problem = deviceProblem(device, links)
  const link = links.get(device)
  if (problem !== undefined || link === undefined) return problem ?? device
  const { name, ifindex } = (link.vlan && links.get(link.vlan.parent)) ?? link
  return {
    interface: name,
    ifindex,
    mac,
    sourceMac: link.mac,
    vlan: link.vlan?.tag ?? 0,
    mtu: Math.min(link.mtu, mtu ?? LARGEST_MTU, LARGEST_MTU),
  }
}

/** A route with the key of its neighbour; many backends may share one neighbour. */
interface KnownRoute extends Route {
  readonly key: string
}

/** Routes by formatted address; a string says why an address has none. */
export type RouteCache = Map<string, KnownRoute | string>

async function readRoutes(addresses: readonly string[]): Promise<RouteCache> {
  const results = await askIpBatch(
    foundRoutes,
    addresses.map((address) => `route get ${address}`),
  )
  const found: RouteCache = new Map()
  for (const [i, address] of addresses.entries()) {
    const route = routeOf(address, results[i] as IpResult<ShapeOf<typeof foundRoutes>>)
    found.set(address, typeof route === 'string' ? route : { ...route, key: keyOf(route) })
  }
  return found
}

/**
 * Routes to these addresses, and maybe to others. Among several routes the kernel prefers one with a known neighbour,
 * so a cached route is valid as long as its neighbour is known.
 */
async function findRoutes(
  addresses: readonly string[],
  cache: RouteCache | undefined,
): Promise<[RouteCache, Neighbours]> {
  if (cache === undefined) return Promise.all([readRoutes(addresses), readNeighbours()])
  const neighbours = await readNeighbours()
  const holds = (address: string): boolean => {
    const route = cache.get(address)
    return route !== undefined && typeof route !== 'string' && neighbours.macs.has(route.key)
  }
  for (const [address, route] of await readRoutes(addresses.filter((one) => !holds(one)))) cache.set(address, route)
  return [cache, neighbours]
}

/**
 * Pauses in milliseconds between reads of the neighbour table; over a second in all, enough for one repeated request.
 */
const PAUSES = [2, 4, 8, 16, 32, 64, 128, 256, 256, 384]

/** Those after a request that is made again, or to a neighbour that did not answer the kernel a moment ago; 126 ms in all. */
const SHORT_PAUSES = PAUSES.slice(0, 6)

/** Makes the kernel send requests for neighbours, given as `device address`, without waiting for answers. */
const useNeighbours = (keys: readonly string[]): Promise<readonly IpResult[]> => runIpBatch(keys.map(useLine))

function useLine(key: string): string {
  const [device, address] = key.split(' ')
  return `neigh replace ${address} dev ${device} use`
}

interface Answers {
  readonly macs: ReadonlyMap<string, string>
  /** Why the kernel would not send a request, by key. */
  readonly refused: ReadonlyMap<string, string>
}

/**
 * Requests unknown neighbours and waits for the answers. The kernel verifies stale ones itself, later.
 *
 * @param silent neighbours that did not answer the last time: they are requested without waiting; gets those of this time
 */
async function resolveNeighbours(
  wanted: readonly string[],
  { macs, stale, failed }: Neighbours,
  silent: Set<string> = new Set(),
): Promise<Answers> {
  const unknown = wanted.filter((key) => !macs.has(key))
  const asked = [...unknown, ...stale.filter((key) => wanted.includes(key))]
  const results = await useNeighbours(asked)
  const refused = new Map(asked.flatMap((key, index) => (results[index]?.error ? [[key, results[index].error]] : [])))
  let known = macs
  const awaited = unknown.filter((key) => !refused.has(key) && !silent.has(key))
  const again = new Set<string>()
  const pauses = awaited.length === 0 ? [] : awaited.every((key) => failed.has(key)) ? [...SHORT_PAUSES] : [...PAUSES]
  for (let pause = pauses.shift(); pause !== undefined; pause = pauses.shift()) {
    await setTimeout(pause)
    const now = await readNeighbours()
    known = now.macs
    if (awaited.every((key) => known.has(key))) break
    // The kernel was already asking, for an earlier packet, and has just given up: our request had no effect.
    const given = awaited.filter((key) => now.failed.has(key) && !failed.has(key) && !again.has(key))
    if (given.length === 0) continue
    for (const key of given) again.add(key)
    await useNeighbours(given)
    pauses.push(...SHORT_PAUSES)
  }
  for (const key of wanted) {
    if (known.has(key) || refused.has(key)) silent.delete(key)
    else silent.add(key)
  }
  return { macs: known, refused }
}

/** Milliseconds in which a neighbour answers a request, unless it is gone or very busy. */
const ANSWER_MS = 300

/**
 * Asks the neighbours on the routes to addresses whether they still have their MAC addresses: those that the kernel
 * resolved itself, because the entries of an administrator must stay, and those that it has forgotten. Frames that XDP
 * sends do not count as use of an entry, so the kernel would never ask. One that does not answer at its address (unicast)
 * is then requested from all hosts of the link; netlink reports the answer, or that there was none.
 *
 * @param most number of neighbours that one call asks
 */
export async function verifyNeighbours(texts: readonly string[], most: number, cache?: RouteCache): Promise<void> {
  const [routes, { own, macs }] = await findRoutes(texts, cache)
  const isIdle = (key: string): boolean => own.get(key)?.isAsked === false
  const wanted = neighboursTo(texts, routes).filter((key) => isIdle(key) || !macs.has(key))
  if (wanted.length === 0) return
  const chosen = wanted.slice(0, most)
  const asked = chosen.filter(isIdle)
  await runIpBatch(chosen.map((key) => (isIdle(key) ? changeLine(key, own, 'probe') : useLine(key))))
  if (asked.length === 0) return
  await setTimeout(ANSWER_MS)
  const { own: now } = await readNeighbours()
  const silent = asked.filter((key) => now.get(key)?.isAsked)
  await runIpBatch(silent.flatMap((key) => [changeLine(key, now, 'none'), useLine(key)]))
}

/** A line that brings an entry to another state: `probe` asks its address; `none` forgets it. */
function changeLine(key: string, own: Neighbours['own'], state: 'probe' | 'none'): string {
  const [device, address] = key.split(' ')
  return `neigh change ${address} dev ${device}${own.get(key)?.isRouter ? ' router' : ''} nud ${state}`
}

/** The distinct neighbours on the routes to addresses. */
function neighboursTo(addresses: readonly string[], routes: RouteCache): string[] {
  const keys = new Set<string>()
  for (const address of addresses) {
    const route = routes.get(address)
    if (route !== undefined && typeof route !== 'string') keys.add(route.key)
  }
  return [...keys]
}

const keyOf = ({ device, neighbour }: Route): string => `${device} ${neighbour}`

const silence = (address: string, { device, neighbour }: Route): string =>
  address === neighbour ? `no answer on ${device}` : `gateway ${neighbour} does not answer on ${device}`

export interface Resolving {
  /**
   * Whether to request unknown neighbours, for little more than a second at most; without it, an address with an unknown
   * neighbour is left out.
   */
  readonly ask: boolean
  /** Routes that no event has invalidated; gets the routes that are found. */
  readonly routes?: RouteCache | undefined
  /** Neighbours that did not answer, for which it does not wait again. */
  readonly silent?: Set<string> | undefined
}

/**
 * Resolves the next hops of addresses. An address without one is no error. Throws the errors of ip.
 *
 * @param texts formatted and distinct
 */
export async function resolveNextHops(
  texts: readonly string[],
  links: Devices,
  { ask, routes: cache, silent }: Resolving,
): Promise<Hops> {
  const nextHops = new Map<string, NextHop | undefined>()
  const unresolved = new Map<string, string>()
  const gateways = new Map<string, string>()
  if (texts.length === 0) return { nextHops, unresolved, gateways }
  const [routes, neighbours] = await findRoutes(texts, cache)
  const wanted = neighboursTo(texts, routes)
  const answers = ask ? await resolveNeighbours(wanted, neighbours, silent) : { ...neighbours, refused: new Map() }
  for (const text of texts) {
    const route = routes.get(text) as KnownRoute | string
    if (typeof route !== 'string') {
      if (route.neighbour !== text) gateways.set(text, route.neighbour)
      if (!ask && !answers.macs.has(route.key) && !neighbours.failed.has(route.key)) continue
    }
    const hop = typeof route === 'string' ? route : follow(text, route, answers, links)
    nextHops.set(text, typeof hop === 'string' ? undefined : hop)
    if (typeof hop === 'string') unresolved.set(text, hop)
  }
  return { nextHops, unresolved, gateways }
}

/** Makes the kernel request the neighbours on the routes to formatted addresses. Netlink reports the answers. */
export async function requestNeighbours(texts: readonly string[]): Promise<void> {
  if (texts.length === 0) return
  const [routes, { macs }] = await Promise.all([readRoutes(texts), readNeighbours()])
  await useNeighbours(neighboursTo(texts, routes).filter((key) => !macs.has(key)))
}

/** The next hop of a route, or why it cannot be resolved. */
function follow(address: string, route: KnownRoute, { macs, refused }: Answers, links: Devices): NextHop | string {
  const mac = macs.get(route.key)
  if (mac !== undefined) return hopOf(route, mac, links)
  return refused.get(route.key) ?? deviceProblem(route.device, links) ?? silence(address, route)
}

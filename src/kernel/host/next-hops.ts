// Next hops of backends: where the kernel would send a packet, from its route and neighbour tables. XDP cannot ask a
// neighbour for its MAC address, so whoever is not known yet is asked for here, by telling the kernel that the entry is
// about to be used (NTF_USE), just as a packet would. What it finds it finds within milliseconds, or not at all.

import { setTimeout } from 'node:timers/promises'
import type { Link } from '../../model/live.ts'
import type { NextHop } from '../../model/service.ts'
import { type IpResult, runIp, runIpBatch } from '../tools/ip.ts'
import { plainMac } from './links.ts'

export interface Hops {
  /** By formatted address: undefined where the kernel does not know. */
  readonly nextHops: ReadonlyMap<string, NextHop | undefined>
  /** Why not, as a clause, by formatted address. */
  readonly unresolved: ReadonlyMap<string, string>
}

interface IpRoute {
  readonly type?: string
  readonly dev?: string
  readonly gateway?: string
  /** A gateway of the other family (RFC 8950). */
  readonly via?: { readonly host?: string }
  readonly metrics?: readonly { readonly mtu?: number }[]
}

interface IpNeighbour {
  readonly dst: string
  readonly dev: string
  readonly lladdr?: string
  readonly state?: readonly string[]
}

/** What must be known of interfaces, by name. */
export type Devices = ReadonlyMap<string, Pick<Link, 'name' | 'ifindex' | 'mtu' | 'mac' | 'vlan' | 'up' | 'kind'>>

/** The way to an address. */
interface Way {
  readonly device: string
  /** Whom frames go to: the address itself, or a gateway. */
  readonly neighbour: string
  /** Of the route; undefined = as the interface says. */
  readonly mtu: number | undefined
}

/** The largest packet that a length of 16 bits can tell. */
const LARGEST_MTU = 0xffff

/** What `ip route get` says of routes that lead nowhere. */
const REFUSALS: Readonly<Record<string, string>> = {
  'Network is unreachable': 'no route leads to it',
  'No route to host': 'its route says unreachable',
  'Invalid argument': 'its route is a blackhole',
  'Permission denied': 'its route says prohibit',
}

/** The way that a route is, or why it is none, as a clause. */
export function wayOf(address: string, { output, error }: IpResult): Way | string {
  const route = (output as readonly IpRoute[] | undefined)?.[0]
  if (route === undefined) return REFUSALS[error ?? ''] ?? `the kernel knows no route to it: ${error}`
  if (route.type === 'local') return 'it is an address of this host'
  if (route.type !== undefined && route.type !== 'unicast') return `its route is of type ${route.type}`
  if (route.dev === undefined) return 'its route names no interface'
  const mtu = route.metrics?.find((metric) => metric.mtu !== undefined)?.mtu
  return { device: route.dev, neighbour: route.gateway ?? route.via?.host ?? address, mtu }
}

/** Why frames to an interface can be none of ours, as a clause. */
function deviceProblem(device: string, links: Devices): string | undefined {
  const link = links.get(device)
  if (link === undefined) return `its route leads to ${device}, which is not there`
  if (!link.up) return `${device} is down`
  if (link.kind === 'vlan') {
    const parent = link.vlan && links.get(link.vlan.parent)
    if (parent === undefined) return `the interface below ${device} is not there, or its tag is not 802.1Q`
    if (parent.kind === 'vlan') return `${device} has two VLAN tags`
  }
  return link.mac === '' ? `frames on ${device} have no MAC addresses` : undefined
}

/** The way as frames go it: a VLAN interface is its parent with a tag. */
export function hopOf({ device, mtu }: Way, mac: string, links: Devices): NextHop | string {
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

/** What the kernel knows of its neighbours, by `device address`. */
export interface Neighbours {
  readonly macs: ReadonlyMap<string, string>
  /** Those that it will ask for once more before it believes them. */
  readonly stale: readonly string[]
}

export function neighboursOf(entries: readonly IpNeighbour[]): Neighbours {
  const macs = new Map<string, string>()
  const stale: string[] = []
  for (const { dst, dev, lladdr, state = [] } of entries) {
    const mac = plainMac(lladdr)
    if (mac === '' || state.includes('FAILED') || state.includes('INCOMPLETE')) continue
    macs.set(`${dev} ${dst}`, mac)
    if (state.includes('STALE')) stale.push(`${dev} ${dst}`)
  }
  return { macs, stale }
}

const readNeighbours = async (): Promise<Neighbours> =>
  neighboursOf(((await runIp('neigh', 'show')) ?? []) as IpNeighbour[])

/** A way with the key of its neighbour: there may be as many as backends, and few neighbours. */
interface KnownWay extends Way {
  readonly key: string
}

/** Ways that were found, or why none was, by formatted address. */
export type Ways = Map<string, KnownWay | string>

async function readWays(addresses: readonly string[]): Promise<Ways> {
  const results = await runIpBatch(addresses.map((address) => `route get ${address}`))
  const found: Ways = new Map()
  for (const [i, address] of addresses.entries()) {
    const way = wayOf(address, results[i] as IpResult)
    found.set(address, typeof way === 'string' ? way : { ...way, key: keyOf(way) })
  }
  return found
}

/**
 * The ways to these addresses, and maybe to others. Of several routes the kernel prefers one whose neighbour it knows, so
 * that a way in `known` holds for as long as it knows that one.
 */
async function findWays(addresses: readonly string[], known: Ways | undefined): Promise<[Ways, Neighbours]> {
  if (known === undefined) return Promise.all([readWays(addresses), readNeighbours()])
  const neighbours = await readNeighbours()
  const holds = (address: string): boolean => {
    const way = known.get(address)
    return way !== undefined && typeof way !== 'string' && neighbours.macs.has(way.key)
  }
  for (const [address, way] of await readWays(addresses.filter((one) => !holds(one)))) known.set(address, way)
  return [known, neighbours]
}

/** Pauses between looks at the neighbour table, in milliseconds: a second and a bit, for one repeated question. */
const PAUSES = [2, 4, 8, 16, 32, 64, 128, 256, 256, 384]

/** Tells the kernel that these are about to be used, each as `device address`: it asks for them and waits for no answer. */
const useNeighbours = (keys: readonly string[]): Promise<readonly IpResult[]> =>
  runIpBatch(
    keys.map((key) => {
      const [device, address] = key.split(' ')
      return `neigh replace ${address} dev ${device} use`
    }),
  )

interface Answers {
  readonly macs: ReadonlyMap<string, string>
  /** Why the kernel would not even ask. */
  readonly refused: ReadonlyMap<string, string>
}

/** Asks for neighbours that are not known and waits for answers; of stale ones the kernel asks by itself, later. */
async function askNeighbours(wanted: readonly string[], { macs, stale }: Neighbours): Promise<Answers> {
  const unknown = wanted.filter((key) => !macs.has(key))
  const asked = [...unknown, ...stale.filter((key) => wanted.includes(key))]
  const results = await useNeighbours(asked)
  const refused = new Map(asked.flatMap((key, index) => (results[index]?.error ? [[key, results[index].error]] : [])))
  let known = macs
  for (const pause of unknown.length === 0 ? [] : PAUSES) {
    await setTimeout(pause)
    known = (await readNeighbours()).macs
    if (unknown.every((key) => known.has(key) || refused.has(key))) break
  }
  return { macs: known, refused }
}

/** The neighbours on the ways to addresses, each once. */
function neighboursTo(addresses: readonly string[], ways: Ways): string[] {
  const keys = new Set<string>()
  for (const address of addresses) {
    const way = ways.get(address)
    if (way !== undefined && typeof way !== 'string') keys.add(way.key)
  }
  return [...keys]
}

const keyOf = ({ device, neighbour }: Way): string => `${device} ${neighbour}`

const silence = (address: string, { device, neighbour }: Way): string =>
  address === neighbour ? `nobody answers for it on ${device}` : `its gateway ${neighbour} does not answer on ${device}`

/**
 * The next hops of addresses. What cannot be found is no error. Throws what ip throws.
 *
 * @param texts formatted and distinct
 * @param ask neighbours that are not known are asked for, for little more than a second at most; without it an address
 *   whose neighbour is not known is left out
 * @param known ways of which nobody has heard that they are others now; gets those that are found
 */
export async function resolveNextHops(
  texts: readonly string[],
  links: Devices,
  ask: boolean,
  known?: Ways,
): Promise<Hops> {
  const nextHops = new Map<string, NextHop | undefined>()
  const unresolved = new Map<string, string>()
  if (texts.length === 0) return { nextHops, unresolved }
  const [ways, neighbours] = await findWays(texts, known)
  const wanted = neighboursTo(texts, ways)
  const answers = ask ? await askNeighbours(wanted, neighbours) : { macs: neighbours.macs, refused: new Map() }
  for (const text of texts) {
    const way = ways.get(text) as KnownWay | string
    if (!ask && typeof way !== 'string' && !answers.macs.has(way.key)) continue
    const hop = typeof way === 'string' ? way : follow(text, way, answers, links)
    nextHops.set(text, typeof hop === 'string' ? undefined : hop)
    if (typeof hop === 'string') unresolved.set(text, hop)
  }
  return { nextHops, unresolved }
}

/** Has the kernel ask for the neighbours on the ways to formatted addresses. Netlink tells of those that answer. */
export async function askAfter(texts: readonly string[]): Promise<void> {
  if (texts.length === 0) return
  const [ways, { macs }] = await Promise.all([readWays(texts), readNeighbours()])
  await useNeighbours(neighboursTo(texts, ways).filter((key) => !macs.has(key)))
}

/** The next hop on a way, or why there is none. */
function follow(address: string, way: KnownWay, { macs, refused }: Answers, links: Devices): NextHop | string {
  const mac = macs.get(way.key)
  if (mac !== undefined) return hopOf(way, mac, links)
  return refused.get(way.key) ?? deviceProblem(way.device, links) ?? silence(address, way)
}

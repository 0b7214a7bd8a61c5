// What services depend on besides interfaces: next hops of backends, addresses of this host, whether it forwards, and
// who is logged in. Read only where there are services: a file without any must not pay for them.

import { readFile } from 'node:fs/promises'
import type { Address } from '../../model/address.ts'
import type { Live } from '../../model/live.ts'
import { addressTextsOf, type LeavingBackend, type Service } from '../../model/service.ts'
import { formatAddress } from '../../model/text.ts'
import { hopDrift, unresolvedOf } from '../../plan/next-hops.ts'
import { runIpBatch } from '../tools/ip.ts'
import { readLinks } from './links.ts'
import type { Memory } from './memory.ts'
import { askAfter, type Devices, resolveNextHops } from './next-hops.ts'
import { readOwnAddresses, readSshEnds } from './protect.ts'

export type Surroundings = Pick<
  Live,
  'nextHops' | 'unresolved' | 'ownAddresses' | 'unanswered' | 'forwards' | 'sshEnds' | 'bootSeconds'
>

const NOTHING: Surroundings = {
  nextHops: new Map(),
  unresolved: new Map(),
  ownAddresses: [],
  unanswered: new Map(),
  forwards: { v4: false, v6: false },
  sshEnds: [],
  bootSeconds: 0,
}

/** Whether a switch below /proc/sys/net is at 1. */
export const isOn = async (path: string): Promise<boolean> =>
  (await readFile(`/proc/sys/net/${path}`, 'utf8').catch(() => '0')).trim() === '1'

export async function readForwarding(): Promise<Surroundings['forwards']> {
  const [v4, v6] = await Promise.all([isOn('ipv4/ip_forward'), isOn('ipv6/conf/all/forwarding')])
  return { v4, v6 }
}

interface IpRoute {
  readonly type?: string
  readonly dev?: string
  readonly gateway?: string
  readonly via?: unknown
}

/** VIPs that lie in the network of an interface and are no address of this host, with that interface. */
async function readUnanswered(vips: readonly string[]): Promise<Surroundings['unanswered']> {
  const results = await runIpBatch(vips.map((vip) => `route get ${vip}`))
  const found = vips.flatMap((vip, index) => {
    const route = (results[index]?.output as readonly IpRoute[] | undefined)?.[0]
    const isOnLink = route?.type === undefined && route?.gateway === undefined && route?.via === undefined
    return isOnLink && route?.dev !== undefined ? [[vip, route.dev] as const] : []
  })
  return new Map(found)
}

const text = ({ family, words }: Address): string => formatAddress(family, words)

/** Formatted addresses of all backends, each once. */
export const backendAddresses = (services: Iterable<Service>): Set<string> => {
  const texts = new Set<string>()
  for (const service of services) for (const one of addressTextsOf(service)) texts.add(one)
  return texts
}

/** As the clock of the data plane: CLOCK_MONOTONIC, in seconds. */
export const monotonicSeconds = (): number => Math.floor(Number(process.hrtime.bigint() / 1_000_000_000n))

/** What must be known to plan for the services of a file. Throws what ip throws. */
export async function surroundingsOf(
  desired: ReadonlyMap<string, Service>,
  links: Devices,
  { kept }: Memory,
): Promise<Surroundings> {
  if (desired.size === 0) return NOTHING
  const vips = [...new Set([...desired.values()].map(({ vip }) => text(vip)))]
  const [hops, ownAddresses, unanswered, forwards, sshEnds] = await Promise.all([
    resolveNextHops([...backendAddresses(desired.values())], links, true, kept?.ways),
    readOwnAddresses(),
    readUnanswered(vips),
    readForwarding(),
    readSshEnds(),
  ])
  return { ...hops, ownAddresses, unanswered, forwards, sshEnds, bootSeconds: monotonicSeconds() }
}

/** Whether the kernel knows other ways to backends than their services have, as far as it knows without asking. */
export async function haveMoved(services: ReadonlyMap<string, Service>, { kept }: Memory): Promise<boolean> {
  const addresses = [...backendAddresses(services.values())]
  const { nextHops } = await resolveNextHops(addresses, await readLinks(), false, kept?.ways)
  return [...services.values()].some((service) => hopDrift(service, { nextHops }) !== undefined)
}

/** Has the kernel ask for the backends that no way is known to; who answers is told by netlink. */
export const askForUnresolved = (services: ReadonlyMap<string, Service>): Promise<void> =>
  askAfter([...new Set(unresolvedOf(services).map(text))])

/** The same, and what the kernel knows by now of backends that are live and not in the file. */
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
  const { nextHops, unresolved } = await resolveNextHops(missing, links, false, kept?.ways)
  return {
    ...known,
    bootSeconds,
    nextHops: new Map([...known.nextHops, ...nextHops]),
    unresolved: new Map([...known.unresolved, ...unresolved]),
  }
}

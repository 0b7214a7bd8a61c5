// Next hops: the only part of a service that comes from the kernel and not from the file. Desired services get the
// current ones; if the live tables have others, the network changed, which is drift.

import type { Live } from '../model/live.ts'
import { addressTextsOf, type Backend, everyBackend, type NextHop, type Service } from '../model/service.ts'
import { formatAddress } from '../model/text.ts'

export const addressText = ({ address: { family, words } }: Pick<Backend, 'address'>): string =>
  formatAddress(family, words)

/** Addresses of backends that get no traffic because their next hop is unknown. */
export const unresolvedOf = (services: ReadonlyMap<string, Service>): Backend['address'][] =>
  [...services.values()].flatMap((service) =>
    everyBackend(service).flatMap(({ address, nextHop, state }) =>
      nextHop === undefined && state !== 'disabled' ? [address] : [],
    ),
  )

export function sameHop(left: NextHop | undefined, right: NextHop | undefined): boolean {
  if (left === right) return true
  if (left === undefined || right === undefined) return false
  return (
    left.ifindex === right.ifindex &&
    left.mac === right.mac &&
    left.sourceMac === right.sourceMac &&
    left.vlan === right.vlan &&
    left.mtu === right.mtu &&
    left.interface === right.interface
  )
}

/** The MTU that the file states for the path to a backend. */
export const statedMtu = (
  service: Pick<Service, 'mtu'> | undefined,
  backend: Pick<Backend, 'mtu'>,
): number | undefined => backend.mtu ?? service?.mtu

/** The next hop of a service's packets to a backend, with the MTU of the file if that is smaller. */
export function hopFor(
  service: Pick<Service, 'mtu'> | undefined,
  backend: Pick<Backend, 'mtu'>,
  hop: NextHop | undefined,
): NextHop | undefined {
  const mtu = statedMtu(service, backend)
  return hop && mtu !== undefined && mtu < hop.mtu ? { ...hop, mtu } : hop
}

/** By service of the file: the result of the last call, since next hops rarely change. */
const resolved = new WeakMap<Service, Service>()

/** A service with its next hops; the object of the last call if they are unchanged. */
function withHops(service: Service, nextHops: Live['nextHops']): Service {
  const texts = addressTextsOf(service)
  const known = resolved.get(service)
  const hopAt = (backend: Backend, i: number): NextHop | undefined =>
    hopFor(service, backend, nextHops.get(texts[i] as string))
  if (known && everyBackend(known).every((backend, i) => sameHop(backend.nextHop, hopAt(backend, i)))) return known
  const resolve = (backend: Backend, i: number): Backend => ({ ...backend, nextHop: hopAt(backend, i) })
  const { backends, sorry } = service
  const fresh = { ...service, backends: backends.map(resolve), sorry: sorry && resolve(sorry, backends.length) }
  resolved.set(service, fresh)
  return fresh
}

/** The services with the next hops that the kernel knows now. */
export const withNextHops = (
  services: ReadonlyMap<string, Service>,
  { nextHops }: Pick<Live, 'nextHops'>,
): ReadonlyMap<string, Service> => new Map([...services].map(([name, service]) => [name, withHops(service, nextHops)]))

/** `02:00:5e:10:00:01`. */
export const macText = (mac: string): string => mac.match(/../g)?.join(':') ?? mac

/** `02:00:5e:10:00:01 on eth1`, `02:… on eth1 VLAN 100`, `unknown`. */
export function hopText(hop: NextHop | undefined): string {
  if (hop === undefined) return 'unknown'
  return `${macText(hop.mac)} on ${hop.interface}${hop.vlan === 0 ? '' : ` VLAN ${hop.vlan}`}`
}

/** The change of a next hop, as a clause. */
export function hopChange(before: NextHop | undefined, after: NextHop | undefined): string {
  if (after === undefined) return `next hop ${hopText(before)} is gone`
  if (before === undefined) return `next hop is known now: ${hopText(after)}`
  const [left, right] = [hopText(before), hopText(after)]
  if (left !== right) return `next hop changed ${left} -> ${right}`
  if (before.mtu !== after.mtu) return `MTU changed ${before.mtu} -> ${after.mtu}`
  if (before.sourceMac !== after.sourceMac)
    return `MAC of ${after.interface} changed ${macText(before.sourceMac)} -> ${macText(after.sourceMac)}`
  return `${after.interface} was removed and created again`
}

/** The change of the network under a live service, or undefined. */
export function hopDrift(service: Service, { nextHops }: Pick<Live, 'nextHops'>): string | undefined {
  const texts = addressTextsOf(service)
  const moved = everyBackend(service).filter((backend, i) => {
    const found = hopFor(service, backend, nextHops.get(texts[i] as string))
    return !sameHop(backend.nextHop, found) && (found !== undefined || nextHops.has(texts[i] as string))
  })
  const [first] = moved
  if (first === undefined) return undefined
  const address = addressText(first)
  const others = moved.length - 1
  const rest = others > 0 ? `, and ${others} more ${others === 1 ? 'backend' : 'backends'}` : ''
  return `backend ${address}: ${hopChange(first.nextHop, hopFor(service, first, nextHops.get(address)))}${rest}`
}

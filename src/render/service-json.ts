// Services in JSON documents, with the keys of the config.

import type { ServicePlaces } from '../model/desired.ts'
import type { PortRange, TransportProtocol } from '../model/ports.ts'
import { type Backend, isAnyPort, type NextHop, type Service } from '../model/service.ts'
import { formatAddress } from '../model/text.ts'
import type { BackendDelta, ServiceDelta } from '../plan/change.ts'
import { macText } from '../plan/next-hops.ts'
import { sortedPool } from '../plan/source-pools.ts'

const addressText = ({ family, words }: Backend['address']): string => formatAddress(family, words)

const rangeJson = ({ first, last }: PortRange): number | string => (first === last ? first : `${first}-${last}`)

/** As in the config: a number, `8000-8099`, a list of these, or `any`. */
export function portJson(service: Service): number | string | readonly (number | string)[] {
  const [range, ...others] = service.ports
  if (isAnyPort(service)) return 'any'
  return range && others.length === 0 ? rangeJson(range) : service.ports.map(rangeJson)
}

/** As in the config: a name, or a list of names. */
export const protocolJson = ({ protocols }: Service): TransportProtocol | readonly TransportProtocol[] =>
  protocols.length === 1 ? (protocols[0] as TransportProtocol) : protocols

export const hopJson = (hop: NextHop | undefined) =>
  hop
    ? {
        interface: hop.interface,
        ifindex: hop.ifindex,
        mac: macText(hop.mac),
        source_mac: macText(hop.sourceMac),
        vlan: hop.vlan,
        mtu: hop.mtu,
      }
    : null

export const backendJson = ({ address, port, weight, state, backup, mtu, nextHop }: Backend) => ({
  address: addressText(address),
  port: port ?? null,
  weight,
  state,
  backup,
  mtu: mtu ?? null,
  next_hop: hopJson(nextHop),
})

export const serviceJson = (service: Service) => ({
  name: service.name,
  vip: addressText(service.vip),
  port: portJson(service),
  protocol: protocolJson(service),
  forwarding: service.forwarding,
  scheduler: service.scheduler,
  hash: service.hash,
  on_empty: service.onEmpty,
  snat_pool: sortedPool(service.snatPool).map((address) => addressText(address)),
  replies_from: service.repliesFrom,
  gue_port: service.guePort,
  outer_source: {
    v4: `${addressText(service.outerSource.v4.address)}/${service.outerSource.v4.length}`,
    v6: `${addressText(service.outerSource.v6)}/64`,
  },
  udp_timeout: service.udpTimeout,
  drain_timeout: service.drainTimeout ?? null,
  mtu: service.mtu ?? null,
  sorry: service.sorry ? backendJson(service.sorry) : null,
  backends: service.backends.map(backendJson),
})

const opOf = ({ before, after }: BackendDelta): 'add' | 'remove' | 'update' =>
  before === undefined ? 'add' : after === undefined ? 'remove' : 'update'

/** `file:line` of a backend. */
export function lineOf(places: ServicePlaces | undefined, key: string): string | undefined {
  const at = places?.backend(key)
  return at && `${at.file}:${at.line}`
}

export const balanceJson = ({ backends, moved }: ServiceDelta, places: ServicePlaces | undefined) => ({
  backends: backends.map((delta) => ({ backend: delta.key, op: opOf(delta), at: lineOf(places, delta.key) ?? null })),
  moved: moved ?? null,
})

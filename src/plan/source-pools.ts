// Source pools on this host. The data plane finds the port of a known flow only if the addresses of its pool are in the
// order in which they were added (bpf/include/snat_search.h), so the live order comes first. Ports of sockets of this
// host are not for flows: those of addresses that are its own come from the kernel, as next hops do.

import type { Live } from '../model/live.ts'
import type { PortRange } from '../model/ports.ts'
import type { PoolAddress, Service } from '../model/service.ts'
import { compareAddresses, sameAddress } from '../model/text.ts'

const sameRange = (left: PortRange | undefined, right: PortRange | undefined): boolean =>
  left?.first === right?.first && left?.last === right?.last

/** The addresses of a pool in canonical order. */
export const sortedPool = (pool: readonly PoolAddress[]): PoolAddress[] =>
  pool.toSorted((left, right) => left.family - right.family || compareAddresses(left.words, right.words))

/** The addresses of a pool that are this host's own. */
export const ownOf = ({ snatPool }: Service, { ownAddresses }: Pick<Live, 'ownAddresses'>): PoolAddress[] =>
  snatPool.filter((address) => ownAddresses.some((own) => sameAddress(own, address)))

/** Ports of a pool address, from the first ephemeral one on: SNAT_FIRST_PORT in bpf/include/abi_balance.h. */
const FIRST_PORT = 1024
export const SNAT_PORT_COUNT = 65_536 - FIRST_PORT

/** Number of ports that flows have at an address of this host. */
export const portsLeft = ({ first, last }: PortRange): number =>
  SNAT_PORT_COUNT - Math.max(0, last - Math.max(first, FIRST_PORT) + 1)

type Facts = Pick<Live, 'state' | 'ownAddresses' | 'localPorts'>

function withPool(service: Service, live: Facts): Service {
  const { name, snatPool } = service
  if (snatPool.length === 0) return service
  const own = ownOf(service, live)
  const known = (live.state.services.get(name)?.snatPool ?? []).flatMap(
    (address) => snatPool.find((wanted) => sameAddress(wanted, address)) ?? [],
  )
  const ordered = [...known, ...snatPool.filter((address) => !known.includes(address))].map(
    ({ family, words }, i): PoolAddress => {
      const isOwn = own.some((address) => sameAddress(address, { family, words }))
      const hostPorts = isOwn ? live.localPorts : undefined
      const same = snatPool[i]
      if (same && sameAddress(same, { family, words }) && sameRange(same.hostPorts, hostPorts)) return same
      return { family, words, hostPorts }
    },
  )
  return ordered.every((address, i) => address === snatPool[i]) ? service : { ...service, snatPool: ordered }
}

/** The services with their source pools as on this host. */
export const withPools = (services: ReadonlyMap<string, Service>, live: Facts): ReadonlyMap<string, Service> =>
  new Map([...services].map(([name, service]) => [name, withPool(service, live)]))

// The address that health checks through a VIP come from: one of this host, to which the backend can answer.

import { list, mark, optional, record, type ShapeOf, text } from '../../abi/answer.ts'
import type { Family } from '../../model/address.ts'
import type { Backend, Service } from '../../model/service.ts'
import { askIp, askIpBatch } from '../tools/ip.ts'

/** A backend for which a source is chosen. */
export interface SourceQuery {
  /** Its formatted address. */
  readonly backend: string
  readonly backendFamily: Family
  /** That of the VIP, and so of the source. */
  readonly family: Family
}

const routes = list(record({ dev: optional(text), prefsrc: optional(text) }))

const interfaces = list(
  record({
    ifname: text,
    addr_info: optional(
      list(
        record({
          family: optional(text),
          local: optional(text),
          scope: optional(text),
          tentative: mark,
          deprecated: mark,
          temporary: mark,
        }),
      ),
    ),
  }),
)

type Route = ShapeOf<typeof routes>[number]
type Interfaces = ShapeOf<typeof interfaces>

/** Lasting addresses of a family with global scope, those of the interface `first` before others. */
function candidates(all: Interfaces, family: Family, first: string | undefined): string[] {
  const name = family === 4 ? 'inet' : 'inet6'
  const ordered = [...all.filter(({ ifname }) => ifname === first), ...all.filter(({ ifname }) => ifname !== first)]
  return ordered.flatMap(({ addr_info = [] }) =>
    addr_info.flatMap(({ family: own, local, scope, tentative, deprecated, temporary }) =>
      own === name && scope === 'global' && local !== undefined && !tentative && !deprecated && !temporary
        ? [local]
        : [],
    ),
  )
}

/**
 * Pure: the source for a backend; undefined if this host has none. The kernel's own choice for the route, where the
 * family is the same; a VIP is never one, because other hosts may have it too.
 */
export function chooseSource(
  { family, backendFamily }: SourceQuery,
  route: Route | undefined,
  all: Interfaces,
  vips: ReadonlySet<string>,
): string | undefined {
  const preferred = family === backendFamily && route?.prefsrc !== undefined ? [route.prefsrc] : []
  return [...preferred, ...candidates(all, family, route?.dev)].find((address) => !vips.has(address))
}

/** An address that checks come from. */
export interface FoundSource {
  readonly address: string
  /** Whether the interface that the route to the backend leads to has it, so that answers arrive there. */
  readonly isOnRoute: boolean
}

const has = ({ addr_info = [] }: Interfaces[number], address: string): boolean =>
  addr_info.some(({ local }) => local === address)

/** The source for each query. `vips`: formatted. Throws the errors of ip. */
export async function readSources(
  queries: readonly SourceQuery[],
  vips: ReadonlySet<string>,
): Promise<(FoundSource | undefined)[]> {
  if (queries.length === 0) return []
  const backends = [...new Set(queries.map(({ backend }) => backend))]
  const [found, all] = await Promise.all([
    askIpBatch(
      routes,
      backends.map((backend) => `route get ${backend}`),
    ),
    askIp(interfaces, 'address', 'show'),
  ])
  const byBackend = new Map(backends.map((backend, i) => [backend, found[i]?.output?.[0]]))
  return queries.map((query) => {
    const route = byBackend.get(query.backend)
    const address = chooseSource(query, route, all, vips)
    if (address === undefined) return undefined
    return { address, isOnRoute: all.some((one) => one.ifname === route?.dev && has(one, address)) }
  })
}

/**
 * Pure: by source, the ifindex that answers of backends arrive on; 0: any. That is where the routes of all its backends lead
 * to, if the address belongs there and no service expects replies from anywhere.
 */
export function arrivalsOf(
  backends: readonly { readonly service: Pick<Service, 'repliesFrom'>; readonly backend: Pick<Backend, 'nextHop'> }[],
  sources: readonly (FoundSource | undefined)[],
): ReadonlyMap<string, number> {
  const arrivals = new Map<string, number>()
  for (const [i, { service, backend }] of backends.entries()) {
    const source = sources[i]
    if (source === undefined || !backend.nextHop) continue
    const own = source.isOnRoute && service.repliesFrom === 'route' ? backend.nextHop.ifindex : 0
    arrivals.set(source.address, (arrivals.get(source.address) ?? own) === own ? own : 0)
  }
  return arrivals
}

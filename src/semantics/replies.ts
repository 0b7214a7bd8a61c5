// Replies of plain NAT. A backend replies from the address and port that the packet was rewritten to, and the host must
// derive the client's VIP and port from these alone. So replies of two services' backends must not look alike if they
// would be translated differently.

import { isPlainNat } from '../features/forwarding/forwarding.ts'
import type { PortRange } from '../model/ports.ts'
import { type Backend, backendKey, everyBackend, onlyPort, type Service } from '../model/service.ts'

/** The replies of one backend: packets from its address and these ports belong to this service. */
export interface Claim {
  readonly service: Service
  readonly backend: Backend
  /** Protocol and address: claims with different keys never conflict. */
  readonly key: string
  readonly ports: PortRange
  /** The VIP, if only the address of replies is rewritten; then claims of one VIP translate alike. */
  readonly plain: string | undefined
}

/**
 * The claims of a service: of each backend, the sorry backend included. Empty if replies need no translation by
 * address.
 */
export function claimsOf(service: Service): Claim[] {
  if (!isPlainNat(service)) return []
  return everyBackend(service).flatMap((backend) => claimsOn(service, backend))
}

/** The claims of one backend of a service: one for each range of ports in each protocol. */
export function claimsOn(service: Service, backend: Backend): Claim[] {
  const { port } = backend
  const isPlain = port === undefined || port === onlyPort(service)
  const plain = isPlain ? backendKey({ address: service.vip, port: undefined }) : undefined
  const ranges = port === undefined ? service.ports : [{ first: port, last: port }]
  return service.protocols.flatMap((protocol) => {
    const key = `${protocol} ${backendKey({ address: backend.address, port: undefined })}`
    return ranges.map((ports) => ({ service, backend, key, ports, plain }))
  })
}

/** Whether a reply could match both claims and be translated differently. The claims must have equal keys. */
export function isAmbiguous(left: Claim, right: Claim): boolean {
  if (left.ports.first > right.ports.last || right.ports.first > left.ports.last) return false
  if (left.service.name === right.service.name) return false
  return left.plain === undefined || left.plain !== right.plain
}

// Replies of plain NAT. A backend replies from the address and port that the packet was rewritten to, and the host must
// derive the client's VIP and port from these alone. So replies of two services' backends must not look alike if they
// would be translated differently.

import { isPlainNat } from '../features/forwarding/forwarding.ts'
import type { PortRange } from '../model/ports.ts'
import { type Backend, backendKey, everyBackend, type Service } from '../model/service.ts'

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
  return everyBackend(service).map((backend) => claimOf(service, backend))
}

export function claimOf(service: Service, backend: Backend): Claim {
  const { port } = backend
  const isPlain = port === undefined || port === service.ports.first
  return {
    service,
    backend,
    key: `${service.protocol} ${backendKey({ address: backend.address, port: undefined })}`,
    ports: port === undefined ? service.ports : { first: port, last: port },
    plain: isPlain ? backendKey({ address: service.vip, port: undefined }) : undefined,
  }
}

/** Whether a reply could match both claims and be translated differently. The claims must have equal keys. */
export function isAmbiguous(left: Claim, right: Claim): boolean {
  if (left.ports.first > right.ports.last || right.ports.first > left.ports.last) return false
  if (left.service.name === right.service.name) return false
  return left.plain === undefined || left.plain !== right.plain
}

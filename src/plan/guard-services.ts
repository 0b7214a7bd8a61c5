// Services that a plan must not make: one that would take the SSH connection which somebody works by, or a backend
// that is this host itself.

import type { Diagnostic } from '../diagnostics.ts'
import type { Address } from '../model/address.ts'
import type { Desired } from '../model/desired.ts'
import type { Live } from '../model/live.ts'
import { backendKey, everyBackend, isAnyPort, type Service } from '../model/service.ts'
import { compareAddresses, formatAddress } from '../model/text.ts'
import { addressText } from './next-hops.ts'

const same = (left: Address, right: Address): boolean =>
  left.family === right.family && compareAddresses(left.words, right.words) === 0

const holds = ({ ports }: Service, port: number): boolean => ports.first <= port && port <= ports.last

/** Whether packets to an address and port of TCP are for the service. */
const takes = (service: Service, address: Address, port: number): boolean =>
  service.protocol === 'tcp' && same(service.vip, address) && holds(service, port)

function swallowed(service: Service, desired: Desired, live: Live): Diagnostic[] {
  const end = live.sshEnds.find(({ address, port }) => takes(service, address, port))
  if (end === undefined) return []
  // Who is connected though a live service takes these packets is not connected by them.
  if ([...live.state.services.values()].some((old) => takes(old, end.address, end.port))) return []
  const { family, words } = end.address
  const at = desired.provenance.services.get(service.name)?.vip
  const ports = isAnyPort(service) ? 'every port' : `port ${end.port}`
  return [
    {
      code: 'E211',
      severity: 'error',
      message:
        `service ${service.name} takes ${ports} of ${formatAddress(family, words)}, ` +
        'through which somebody is logged in to this host by SSH: the connection would be cut',
      hint: 'use another VIP or port, or log in by another address of this host and apply from there',
      ...(at && { at }),
    },
  ]
}

function ownBackends(service: Service, desired: Desired, live: Live): Diagnostic[] {
  return everyBackend(service)
    .filter(({ address }) => live.ownAddresses.some((own) => same(own, address)))
    .map((backend) => {
      const at = desired.provenance.services.get(service.name)?.backend(backendKey(backend))
      return {
        code: 'E212',
        severity: 'error',
        message: `${addressText(backend)} is an address of this host, so it cannot be a backend of service ${service.name}`,
        hint: 'packets to a backend leave this host; to serve by itself, leave the port to the host and out of services',
        ...(at && { at }),
      }
    })
}

/** Every reason of services to refuse a plan; empty = go ahead. */
export function guardServices(desired: Desired, live: Live): Diagnostic[] {
  return [...desired.state.services.values()].flatMap((service) => [
    ...swallowed(service, desired, live),
    ...ownBackends(service, desired, live),
  ])
}

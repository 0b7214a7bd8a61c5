// Services that a plan must not create: a service that would take over an SSH connection to this host, one with this host as
// a backend, or one whose packets a router would send back.

import type { Diagnostic } from '../diagnostics.ts'
import type { Address } from '../model/address.ts'
import type { Desired } from '../model/desired.ts'
import type { Live } from '../model/live.ts'
import { formatCount } from '../model/numbers.ts'
import { rangeWith } from '../model/ports.ts'
import { backendKey, everyBackend, isAnyPort, type Service } from '../model/service.ts'
import { formatAddress, sameAddress } from '../model/text.ts'
import { addressText } from './next-hops.ts'
import { ownOf, portsLeft, SNAT_PORT_COUNT } from './source-pools.ts'

/** Whether the service takes packets to this TCP address and port. */
const takes = (service: Service, address: Address, port: number): boolean =>
  service.protocols.includes('tcp') && sameAddress(service.vip, address) && rangeWith(service.ports, port) !== undefined

function swallowed(service: Service, desired: Desired, live: Live): Diagnostic[] {
  const end = live.sshEnds.find(({ address, port }) => takes(service, address, port))
  if (end === undefined) return []
  // A live service already takes these packets, so the peer is not an SSH client of this host.
  if ([...live.state.services.values()].some((old) => takes(old, end.address, end.port))) return []
  const { family, words } = end.address
  const at = desired.provenance.services.get(service.name)?.vip
  const ports = isAnyPort(service) ? 'every port' : `port ${end.port}`
  return [
    {
      code: 'E211',
      severity: 'error',
      message:
        `service ${service.name} would cut an SSH connection to this host: it takes ${ports} of ` +
        `${formatAddress(family, words)}, the address that the SSH client connects to`,
      hint: 'use a different VIP or port, or log in through a different address of this host and apply from there',
      ...(at && { at }),
    },
  ]
}

function ownBackends(service: Service, desired: Desired, live: Live): Diagnostic[] {
  return everyBackend(service)
    .filter(({ address }) => live.ownAddresses.some((own) => sameAddress(own, address)))
    .map((backend) => {
      const at = desired.provenance.services.get(service.name)?.backend(backendKey(backend))
      return {
        code: 'E212',
        severity: 'error',
        message: `${addressText(backend)} is an address of this host, so it cannot be a backend of service ${service.name}`,
        hint: 'remove the backend: packets to a backend leave this host. Traffic for this host itself needs no service',
        ...(at && { at }),
      }
    })
}

/**
 * DSR leaves the destination of a packet alone, so a gateway routes it to the VIP: back to this host, which sends it to the
 * gateway again, until the TTL ends.
 */
function routedDirect(service: Service, desired: Desired, live: Live): Diagnostic[] {
  if (service.forwarding !== 'dsr') return []
  return everyBackend(service).flatMap((backend): Diagnostic[] => {
    const gateway = live.gateways.get(addressText(backend))
    if (gateway === undefined || backend.state === 'disabled') return []
    const at = desired.provenance.services.get(service.name)?.backend(backendKey(backend))
    return [
      {
        code: 'E220',
        severity: 'error',
        message:
          `${addressText(backend)} is behind the gateway ${gateway}, so service ${service.name} cannot use dsr: ` +
          'the gateway would route the packets, whose destination is still the VIP, back to this host',
        hint:
          'write `forwarding: ipip`, `gue` or `nat`, which work across routers; ' +
          `if ${gateway} is an address of the backend itself, write that one under backends`,
        ...(at && { at }),
      },
    ]
  })
}

/** The least part of ports that flows must have at an address: with half, one of 65,536 new flows finds none. */
const LEAST_PORTS = SNAT_PORT_COUNT / 2

/** Own addresses of this host in a source pool, if its sockets leave too few ports of them. */
function crowdedPools(service: Service, desired: Desired, live: Live): Diagnostic[] {
  const left = portsLeft(live.localPorts)
  const [own] = ownOf(service, live)
  if (own === undefined || left >= LEAST_PORTS) return []
  const at = desired.provenance.services.get(service.name)?.at
  const { first, last } = live.localPorts
  return [
    {
      code: 'E217',
      severity: 'error',
      message:
        `${formatAddress(own.family, own.words)} in snat_pool of service ${service.name} is an address of this host, ` +
        `whose own connections use ports ${first} to ${last} (net.ipv4.ip_local_port_range): ` +
        `only ${formatCount(left)} of ${formatCount(SNAT_PORT_COUNT)} ports are left for flows`,
      hint: 'use addresses that are only routed to this host, or run `sysctl -w net.ipv4.ip_local_port_range="32768 60999"`',
      ...(at && { at }),
    },
  ]
}

/**
 * Answers to checks through a VIP come back to this host, which takes them where its filter balances; and the checks leave
 * like packets of native XDP.
 */
function unanswered(service: Service, desired: Desired, live: Live): Diagnostic[] {
  const checks = desired.health.get(service.name)?.checks
  const { interfaces } = desired.state
  const seen = new Set<string>()
  return service.backends.flatMap((backend): Diagnostic[] => {
    const check = checks?.get(backendKey(backend))
    const device = live.nextHops.get(addressText(backend))?.interface
    if (check === undefined || check.type === 'exec' || check.via !== 'vip' || backend.state === 'disabled') return []
    if (device === undefined || seen.has(device)) return []
    const attached = interfaces.get(device)
    const balances = attached?.roles.includes('balance') === true
    if (balances && attached.modes[0] === 'native') return []
    seen.add(device)
    const at = desired.provenance.services.get(service.name)?.backend(backendKey(backend))
    const why = balances
      ? `${device} is to run in mode ${attached.modes[0]}, and such checks need native XDP there`
      : `answers arrive on ${device}, ${attached ? 'which does not have the role balance' : 'which is not in interfaces'}`
    return [
      {
        code: 'E221',
        severity: 'error',
        message: `service ${service.name} cannot check ${addressText(backend)} through the VIP: ${why}`,
        hint: balances
          ? 'write `via: backend` in its health'
          : `add \`${device}: { roles: [balance] }\` to interfaces, or write \`via: backend\` in its health`,
        ...(at && { at }),
      },
    ]
  })
}

/** Every reason to refuse the services of a plan; empty = go ahead. */
export function guardServices(desired: Desired, live: Live): Diagnostic[] {
  return [...desired.state.services.values()].flatMap((service) => [
    ...swallowed(service, desired, live),
    ...ownBackends(service, desired, live),
    ...routedDirect(service, desired, live),
    ...crowdedPools(service, desired, live),
    ...unanswered(service, desired, live),
  ])
}

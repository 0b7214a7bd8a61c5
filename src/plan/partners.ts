// Peers that a policy should not cut unseen, though no connection with them lasts: time servers, next hops of backends, and
// backends whose health is checked. Cutting them is shown and never refused.

import type { Address } from '../model/address.ts'
import type { Partner } from '../model/contact.ts'
import type { Desired } from '../model/desired.ts'
import type { HealthCheck } from '../model/health.ts'
import type { Live } from '../model/live.ts'
import { everyBackend } from '../model/service.ts'
import type { State } from '../model/state.ts'
import { formatAddress, parseAddress } from '../model/text.ts'

const NTP_PORT = 123

/** A server of a time daemon. */
export interface TimeServer {
  readonly address: Address
  /** The daemon asks from port 123, as ntpd does, and not from a socket that is connected to the server. */
  readonly fromNtpPort: boolean
}

const NOTHING = { local: undefined, service: undefined, peerPort: undefined, localPort: undefined, hasSocket: false }

const text = ({ family, words }: Address): string => formatAddress(family, words)

const distinct = (partners: readonly Partner[]): Partner[] => [
  ...new Map(
    partners.map((one) => [[one.kind, text(one.peer), one.peerPort, one.service, one.device].join(' '), one]),
  ).values(),
]

/** The next hops of backends: the gateway of each, or the backend itself on a link of this host. */
function nextHops({ services }: Pick<State, 'services'>, live: Pick<Live, 'nextHops' | 'gateways'>): Partner[] {
  return [...services.values()].flatMap(everyBackend).flatMap(({ address }): Partner[] => {
    const hop = live.nextHops.get(text(address))
    const peer = parseAddress(live.gateways.get(text(address)) ?? text(address))
    if (hop === undefined || peer === undefined) return []
    return [{ ...NOTHING, kind: 'next-hop', peer, device: hop.interface, protocol: 'icmp' }]
  })
}

/** The transport of a check that this host makes to the backend itself; undefined: another one. */
function transportOf(check: HealthCheck): 'tcp' | 'udp' | undefined {
  if (check.type === 'exec' || check.via === 'vip') return undefined
  return check.type === 'dns' ? check.transport : check.type === 'udp' ? 'udp' : 'tcp'
}

/** The answers to health checks. */
function checked({ health }: Pick<Desired, 'health'>, { localPorts }: Pick<Live, 'localPorts'>): Partner[] {
  return [...health].flatMap(([service, { checks }]) =>
    [...checks.values()].flatMap((check): Partner[] => {
      const protocol = transportOf(check)
      if (protocol === undefined) return []
      const ends = { peerPort: check.port, localPort: localPorts.first, hasSocket: true }
      return [{ ...NOTHING, ...ends, kind: 'backend', service, peer: check.address, protocol }]
    }),
  )
}

const timeServer = ({ address, fromNtpPort }: TimeServer, { localPorts }: Pick<Live, 'localPorts'>): Partner => {
  const ends = { peerPort: NTP_PORT, localPort: fromNtpPort ? NTP_PORT : localPorts.first, hasSocket: !fromNtpPort }
  return { ...NOTHING, ...ends, kind: 'time-server', peer: address, protocol: 'udp' }
}

/** `services`: those of the plan, with their next hops. */
export const partnersOf = (
  { state, ...desired }: Pick<Desired, 'health'> & { readonly state: Pick<State, 'services'> },
  live: Pick<Live, 'nextHops' | 'gateways' | 'localPorts'>,
  timeServers: readonly TimeServer[],
): readonly Partner[] =>
  distinct([
    ...timeServers.map((server) => timeServer(server, live)),
    ...nextHops(state, live),
    ...checked(desired, live),
  ])

// Packets that return to this host from where it does not expect them: answers from a VIP that is its own address, and
// connections of backends to their own VIP.

import { FORWARDING_MODES, isPlainNat } from '../features/forwarding/forwarding.ts'
import type { Address } from '../model/address.ts'
import type { Live } from '../model/live.ts'
import { everyBackend, type Service } from '../model/service.ts'
import { formatAddress, sameAddress } from '../model/text.ts'

export const isOwnVip = ({ vip }: Service, { ownAddresses }: Pick<Live, 'ownAddresses'>): boolean =>
  ownAddresses.some((own) => sameAddress(own, vip))

/**
 * Interfaces through which answers of backends may come that the kernel drops: it forwards no packet from an address of its
 * own (RFC 1812 §5.3.7, "martian"; Linux checks only IPv4). Empty: they pass, or this host forwards nothing, so that it is
 * no gateway.
 */
export function martianInterfaces(
  service: Service,
  live: Pick<Live, 'ownAddresses' | 'forwards' | 'acceptsLocal'>,
): readonly string[] {
  const answersFromVip = !FORWARDING_MODES[service.forwarding].translatesReplies
  if (!answersFromVip || service.vip.family !== 4 || !live.forwards.v4 || !isOwnVip(service, live)) return []
  const devices = everyBackend(service).flatMap(({ nextHop }) => nextHop?.interface ?? [])
  return [...new Set(devices)].filter((device) => !live.acceptsLocal.has(device)).sort()
}

/** Whether a connection from this address to the service may fail, because a backend answers it past this host. */
export const isOwnClient = (service: Service, source: Address): boolean =>
  isPlainNat(service) && everyBackend(service).some(({ address }) => sameAddress(address, source))

/** Advice about a packet that a service takes. */
export function adviceFor(
  service: Service,
  source: Address,
  live: Pick<Live, 'ownAddresses' | 'forwards' | 'acceptsLocal'>,
): readonly string[] {
  const vip = formatAddress(service.vip.family, service.vip.words)
  const advice: string[] = []
  if (isOwnClient(service, source)) {
    const text = formatAddress(source.family, source.words)
    advice.push(
      `${text} is a backend of service ${service.name}: itself, or a backend on the same link, would answer it directly and not through this host, and such a connection fails. Add a \`snat_pool\`, or let ${text} connect to an address of a backend`,
    )
  }
  const [device] = martianInterfaces(service, live)
  if (device !== undefined) {
    advice.push(
      `${vip} is an address of this host, which drops answers from it that arrive on ${device}. If this host is the gateway of the backends, route ${vip} to it instead of configuring it, or \`sysctl -w net.ipv4.conf.${device}.accept_local=1\``,
    )
  }
  return advice
}

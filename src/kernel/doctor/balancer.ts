// Checks what services need from the host: next hops for backends, forwarding if replies need it, and interfaces that
// transmit frames of native XDP. Part of the report only if the config has services.

import { isPlainNat } from '../../features/forwarding/forwarding.ts'
import type { Service } from '../../model/service.ts'
import type { State } from '../../model/state.ts'
import type { Check } from '../../report/result.ts'
import { readLinks } from '../host/links.ts'
import { type Devices, type Hops, resolveNextHops } from '../host/next-hops.ts'
import { backendAddresses, isOn, readForwarding } from '../host/surroundings.ts'
import { bad, listed, ok, warn } from './check.ts'

/** Facts about the host, apart from the config. */
export interface BalancerFacts extends Hops {
  readonly devices: Devices
  readonly forwards: { readonly v4: boolean; readonly v6: boolean }
  /** Strict reverse path filtering on every interface (`rp_filter` = 1 for `all`). */
  readonly filtersReversePath: boolean
}

/** Shortens a long enumeration to four words and a count. */
function some(words: readonly string[]): string {
  const shown = words.slice(0, 4)
  return words.length > shown.length ? `${shown.join(', ')} and ${words.length - shown.length} more` : listed(shown)
}

function checkBackends(services: readonly Service[], { nextHops, unresolved }: BalancerFacts): Check {
  const id = 'balancer.backends'
  const every = [...backendAddresses(services)]
  const lost = every.filter((address) => unresolved.has(address))
  const silent = every.filter((address) => !unresolved.has(address) && nextHops.get(address) === undefined)
  if (lost.length > 0) {
    const why = `${lost[0]}: ${unresolved.get(lost[0] as string)}`
    return warn(id, `no next hop for ${some(lost)} (${why})`, `ip route get ${lost[0]}`)
  }
  if (silent.length > 0)
    return ok(
      id,
      `${every.length - silent.length} of ${every.length} next hops are known; apply resolves ${some(silent)}`,
    )
  return ok(id, every.length === 1 ? 'the next hop of the backend is known' : `all ${every.length} next hops are known`)
}

function checkForwarding(services: readonly Service[], { forwards, filtersReversePath }: BalancerFacts): Check[] {
  const families = new Set(services.filter(isPlainNat).map(({ vip }) => vip.family))
  if (families.size === 0) return []
  const id = 'balancer.forwarding'
  if (families.has(4) && !forwards.v4)
    return [
      bad(
        id,
        'this host does not forward IPv4, so replies of nat backends do not reach clients',
        'sysctl -w net.ipv4.ip_forward=1, which forwards between all interfaces',
      ),
    ]
  if (families.has(6) && !forwards.v6)
    return [
      bad(
        id,
        'this host does not forward IPv6, so replies of nat backends do not reach clients',
        'sysctl -w net.ipv6.conf.all.forwarding=1, which forwards between all interfaces',
      ),
    ]
  if (families.has(4) && filtersReversePath) {
    const message = 'rp_filter is strict, so the kernel drops replies that it must forward itself'
    return [
      ok(id, 'this host forwards packets'),
      warn(
        'balancer.rp_filter',
        message,
        'sysctl -w net.ipv4.conf.all.rp_filter=2, which loosens the check on every interface',
      ),
    ]
  }
  return [ok(id, 'this host forwards packets')]
}

/** Checks the interfaces through which frames leave, by kind. */
function checkEgress({ interfaces }: State, { nextHops, devices }: BalancerFacts): Check[] {
  const attached = [...interfaces.values()].filter(({ roles }) => roles.includes('balance'))
  if (attached.length === 0)
    return [bad('balancer.roles', 'no interface has the role balance', 'add `balance` to `roles` of an interface')]
  if (attached.every(({ modes }) => modes[0] !== 'native')) return []
  const egress = [...new Set([...nextHops.values()].flatMap((hop) => hop?.interface ?? []))].sort()
  const id = 'balancer.egress'
  const veths = egress.filter((name) => devices.get(name)?.kind === 'veth')
  const bridges = egress.filter((name) => devices.get(name)?.kind === 'bridge')
  const missing = egress.filter((name) => devices.get(name)?.kind === 'physical' && !interfaces.has(name))
  const found: Check[] = []
  if (bridges.length > 0)
    found.push(warn(id, `${listed(bridges)}: a bridge cannot transmit frames of native XDP`, 'write `mode: generic`'))
  if (missing.length > 0) {
    const message = `${listed(missing)}: many drivers transmit frames of XDP only with a program attached`
    found.push(warn(id, message, `add \`${missing[0]}: { roles: [balance] }\` to interfaces`))
  }
  if (veths.length > 0) {
    const message = `${listed(veths)}: a veth transmits frames of native XDP only if its peer has an XDP program (GRO is enough for frames from other interfaces)`
    found.push(warn(id, message, 'attach a program that passes every packet to the peer, or write `mode: generic`'))
  }
  return found.length > 0 || egress.length === 0 ? found : [ok(id, `frames leave through ${listed(egress)}`)]
}

/** Pure: the findings about the services of a config. */
export function judgeBalancer(desired: State, facts: BalancerFacts): Check[] {
  const services = [...desired.services.values()]
  if (services.length === 0) return []
  return [checkBackends(services, facts), ...checkForwarding(services, facts), ...checkEgress(desired, facts)]
}

/** Checks the host for the services of a config; no findings without services. */
export async function checkBalancer(desired: State): Promise<Check[]> {
  if (desired.services.size === 0) return []
  const devices = await readLinks()
  const addresses = [...backendAddresses(desired.services.values())]
  const hops = await resolveNextHops(addresses, devices, { ask: false })
  const facts = { devices, forwards: readForwarding(), filtersReversePath: isOn('ipv4/conf/all/rp_filter') }
  return judgeBalancer(desired, { ...hops, ...facts })
}

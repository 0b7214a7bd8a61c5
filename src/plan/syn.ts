// The protection of ports from SYN floods: refused where it cannot work or would break connections, and warnings about
// settings of the host that limit it, and about packets that it does not concern.

import type { Diagnostic } from '../diagnostics.ts'
import type { Desired } from '../model/desired.ts'
import type { Link, Live } from '../model/live.ts'
import { formatPorts } from '../model/ports.ts'
import type { Service } from '../model/service.ts'
import { devicesAbove } from '../model/stack.ts'
import type { State } from '../model/state.ts'
import { parseSyn, type SynProtection } from '../model/syn-protection.ts'

const protectionOf = ({ policy }: Pick<State, 'policy'>): SynProtection | undefined =>
  parseSyn(policy?.syn_protection ?? '')

/** The interfaces of the file that filter, by name. */
const filtering = ({ interfaces }: State, { links }: Live): Link[] =>
  [...interfaces.values()]
    .flatMap(({ interface: name, roles }) => (roles.includes('filter') ? (links.get(name) ?? []) : []))
    .sort((left, right) => (left.name < right.name ? -1 : 1))

/** Refuses kernels without cookies, the offload mode, and VRFs. */
export function guardSyn({ state, options, provenance }: Desired, live: Live): Diagnostic[] {
  if (protectionOf(state) === undefined) return []
  const refuse = (message: string, hint: string, at?: Diagnostic['at']): Diagnostic => ({
    ...{ code: 'E252', severity: 'error', message, hint },
    ...(at && { at }),
  })
  const noCookies =
    live.tcp !== undefined && live.tcp.cookies === undefined
      ? [
          refuse(
            'syn_protection needs SYN cookies, and this kernel was built without them',
            'remove syn_protection',
            provenance.synProtection,
          ),
        ]
      : []
  const interfaces = filtering(state, live).flatMap((link): Diagnostic[] => {
    const { name } = link
    const at = options.get(name)?.at
    const vrf = devicesAbove(link, live.links).find(({ kind }) => kind === 'vrf')
    if (state.interfaces.get(name)?.modes.includes('offload')) {
      const message = `syn_protection cannot work on ${name} in mode offload: a network card has no sockets to ask`
      return [refuse(message, 'write `mode: native` for the interface, or remove syn_protection', at)]
    }
    if (vrf === undefined) return []
    const message = `syn_protection cannot work on ${name}, which receives packets for VRF ${vrf.name}: sockets in a VRF are not found from there, so it would drop acknowledgments of their connections`
    return [refuse(message, 'write `roles: [balance]` for the interface, or remove syn_protection', at)]
  })
  return [...noCookies, ...interfaces]
}

const warning = (code: 'W216' | 'W258' | 'W260' | 'W267', message: string, hint: string): Diagnostic => ({
  ...{ code, severity: 'warning', message, hint },
})

/** Limits that the kernel sets to cookies. */
function warnCookies({ mode }: SynProtection, { tcp }: Live): Diagnostic[] {
  if (tcp === undefined || tcp.cookies === undefined) return []
  const found: Diagnostic[] = []
  if (tcp.cookies === 0) {
    const message =
      'net.ipv4.tcp_syncookies is 0: the kernel makes no SYN cookies and accepts none, so no SYN is answered'
    found.push(warning('W258', message, 'sysctl -w net.ipv4.tcp_syncookies=2'))
  } else if (tcp.cookies === 1) {
    const when = mode === 'always' ? '`mode: always`' : 'the threshold'
    const message = `net.ipv4.tcp_syncookies is 1: the kernel makes cookies only for a socket whose queue of SYNs is full, so SYNs are answered only then, whatever ${when} says`
    found.push(warning('W258', message, 'sysctl -w net.ipv4.tcp_syncookies=2'))
  }
  if (tcp.timestamps !== 2) {
    const message = `net.ipv4.tcp_timestamps is ${tcp.timestamps}: connections that are answered with a cookie have neither window scaling nor SACK nor ECN, because ${tcp.timestamps === 0 ? 'there are no timestamps' : 'only the kernel knows the offset of its timestamps'}`
    found.push(warning('W258', message, 'sysctl -w net.ipv4.tcp_timestamps=2'))
  }
  return found
}

const shares = ({ ports, protocols }: Service, { ports: own }: SynProtection): boolean =>
  protocols.some((name) => name === 'tcp') &&
  ports.some(({ first, last }) => own.some((range) => range.first <= last && first <= range.last))

/** Packets to a VIP go to backends, which know no cookie of this host. */
function warnServices(protection: SynProtection, { services }: State): Diagnostic[] {
  const names = [...services.values()].filter((service) => shares(service, protection)).map(({ name }) => name)
  if (names.length === 0) return []
  const message = `syn_protection does not protect the services ${names.sort().join(', ')} on its ports: their packets go to backends, which know no cookie of this host`
  return [warning('W260', message, 'protect these ports on the backends; on this host only its own addresses count')]
}

/** The connections that NAT translates have their sockets elsewhere, though their packets are addressed to this host. */
function warnTranslated({ ports }: SynProtection, { forwards }: Live): Diagnostic[] {
  const families = [...(forwards.v4 ? ['IPv4'] : []), ...(forwards.v6 ? ['IPv6'] : [])]
  if (families.length === 0) return []
  const message = `this host forwards ${families.join(' and ')}: if it translates connections to ports ${ports.map(formatPorts).join(', ')} (NAT), such as published ports of containers, and a socket of its own listens there too, syn_protection breaks them`
  return [warning('W260', message, 'leave translated ports out of syn_protection')]
}

/** Connection tracking of this host sees a connection by cookie first at its acknowledgment. */
function warnTracked({ tcp }: Live): Diagnostic[] {
  if (tcp?.loose !== 0) return []
  const message =
    'net.netfilter.nf_conntrack_tcp_loose is 0: a firewall of this host that tracks connections sees those that begin with a cookie first at their acknowledgment, takes that for invalid, and breaks them'
  return [warning('W267', message, 'sysctl -w net.netfilter.nf_conntrack_tcp_loose=1')]
}

/** Answers that native XDP sends back through a veth: its driver drops them unless the other end runs a program, too. */
function warnVeths(state: State, live: Live): Diagnostic[] {
  const names = filtering(state, live)
    .filter(({ name, kind }) => kind === 'veth' && state.interfaces.get(name)?.modes[0] === 'native')
    .map(({ name }) => name)
  if (names.length === 0) return []
  const message = `answers to SYNs leave ${names.join(', ')} by native XDP, and arrive only if the veth peer has an XDP program`
  return [warning('W216', message, 'attach a program that passes every packet to the peer, or use `mode: generic`')]
}

/** Warns about what the protection cannot do here. `at`: place of its key. */
export function warnSyn(state: State, live: Live, at: Diagnostic['at']): Diagnostic[] {
  const protection = protectionOf(state)
  if (protection === undefined) return []
  const found = [
    ...warnCookies(protection, live),
    ...warnServices(protection, state),
    ...warnTranslated(protection, live),
    ...warnTracked(live),
    ...warnVeths(state, live),
  ]
  return at === undefined ? found : found.map((one) => ({ ...one, at }))
}

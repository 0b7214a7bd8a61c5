// Reference model of anomalies. The data plane implements the same rules in C (bpf/include/anomaly.h).

import type { Address, Family, Ranges } from '../model/address.ts'
import { ADDRESS_ANOMALIES, type Anomaly, type AnomalyName, parseAnomaly } from '../model/anomaly.ts'
import { ACK, DHCP_PORTS, FIN, FROM_UNSPECIFIED, PSH, RST, SYN, URG } from '../model/headers.ts'
import type { Policy } from '../model/policy.ts'
import { UDP } from '../model/ports.ts'
import { contains, normalize } from '../model/ranges.ts'
import { type AddressRange, parseRange } from '../model/text.ts'

/** Addresses of a packet, and what excuses its source. */
export interface Ends {
  readonly family: Family
  readonly source: Uint32Array
  readonly destination: Uint32Array
  readonly protocol: number | undefined
  readonly ports?: { readonly source: number; readonly destination: number } | undefined
  /** Of ICMP. */
  readonly type?: number | undefined
}

function rangesOf(family: Family, texts: readonly string[]): Ranges {
  const parsed = texts.map((text) => parseRange(text) as AddressRange)
  const words = (bound: 'start' | 'end') => Uint32Array.from(parsed.flatMap((range) => [...range[bound]]))
  return normalize(family, words('start'), words('end'))
}

/** RFC 6890 and the IANA registries of special-purpose addresses: what is not globally reachable, and multicast. */
const BOGONS4 = rangesOf(4, [
  ...['0.0.0.0/8', '10.0.0.0/8', '100.64.0.0/10', '127.0.0.0/8', '169.254.0.0/16', '172.16.0.0/12', '192.0.0.0/24'],
  ...['192.0.2.0/24', '192.168.0.0/16', '198.18.0.0/15', '198.51.100.0/24', '203.0.113.0/24', '224.0.0.0/3'],
])
/** Around global unicast (RFC 4291), link-local and NAT64 (RFC 6052) addresses, and documentation (RFC 3849, 9637). */
const BOGONS6 = rangesOf(6, [
  ...['::-64:ff9a:ffff:ffff:ffff:ffff:ffff:ffff', '64:ff9b::1:0:0-1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'],
  ...['2001:db8::/32', '3fff::/20', '4000::-fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff', 'fec0::/10', 'ff00::/8'],
])
const MARTIANS4 = rangesOf(4, ['0.0.0.0/8', '127.0.0.0/8', '224.0.0.0/4', '255.255.255.255'])
const MARTIANS6 = rangesOf(6, ['::/96', '::ffff:0:0/96', 'ff00::/8'])

/** Whether the source may be one that no other packet has: of a client without an address, or of a server of DHCP, say. */
function isExcused({ family, source, protocol, ports, type }: Ends): boolean {
  const isUnspecified = source.every((word) => word === 0)
  if (family === 6) return isUnspecified && type !== undefined && FROM_UNSPECIFIED.includes(type)
  if (protocol !== UDP || !ports) return false
  const { server, client } = DHCP_PORTS[4]
  const isOffer = ports.source === server && ports.destination === client
  return isOffer || (isUnspecified && ports.source === client && ports.destination === server)
}

/** The anomalies of the flags of a TCP header. */
export function flagAnomalies(flags: number): AnomalyName[] {
  const has = (...all: readonly number[]): boolean => all.every((flag) => (flags & flag) !== 0)
  const found: Readonly<Partial<Record<AnomalyName, boolean>>> = {
    tcp_null: (flags & (FIN | SYN | RST | PSH | ACK | URG)) === 0,
    tcp_xmas: has(FIN, PSH, URG) && !has(ACK),
    tcp_syn_fin: has(SYN, FIN),
    tcp_syn_rst: has(SYN, RST),
  }
  return Object.entries(found).flatMap(([name, is]) => (is ? [name as AnomalyName] : []))
}

/** Whether a packet has no such source, unless it is one that may lack an address. */
export const isMartian = ({ family, words }: Address): boolean =>
  contains(family === 4 ? MARTIANS4 : MARTIANS6, words) >= 0
export const isBogon = ({ family, words }: Address): boolean => contains(family === 4 ? BOGONS4 : BOGONS6, words) >= 0

/** ifindex of lo in every namespace (linux/net_namespace.h LOOPBACK_IFINDEX). */
const LO = 1

/** The anomalies of a packet's addresses. */
export function addressAnomalies(ends: Ends): AnomalyName[] {
  const { family, source, destination, ports } = ends
  const from: Address = { family, words: source }
  const isJudged = !isExcused(ends)
  const found: Readonly<Partial<Record<AnomalyName, boolean>>> = {
    land: source.every((word, i) => word === destination[i]) && (!ports || ports.source === ports.destination),
    martians: isJudged && isMartian(from),
    bogons: isJudged && isBogon(from),
  }
  return Object.entries(found).flatMap(([name, is]) => (is ? [name as AnomalyName] : []))
}

/** The receiving interface; `interface`: its name, undefined = none that runs our program. */
interface Arrival {
  readonly interface?: string | undefined
  readonly ifindex: number
}

interface Found {
  readonly anomalies?: readonly AnomalyName[] | undefined
}

/** The anomalies that a policy looks for on the interface, in their order. */
export function soughtAnomalies(
  { anomalies }: Pick<Policy, 'anomalies'>,
  { interface: name, ifindex }: Arrival,
): Anomaly[] {
  const isLo = name !== undefined && ifindex === LO
  return anomalies
    .map(parseAnomaly)
    .filter(
      (anomaly) =>
        !(isLo && ADDRESS_ANOMALIES.has(anomaly.name)) &&
        (name === undefined || !anomaly.interfaces || anomaly.interfaces.includes(name)),
    )
}

/** The anomalies of a packet that are looked for, up to the first that drops it. */
export function metAnomalies(
  policy: Pick<Policy, 'anomalies'>,
  { anomalies: found = [] }: Found,
  ingress: Arrival,
): Anomaly[] {
  const sought = soughtAnomalies(policy, ingress).filter(({ name }) => found.includes(name))
  const at = sought.findIndex(({ action }) => action === 'drop')
  return at < 0 ? sought : sought.slice(0, at + 1)
}

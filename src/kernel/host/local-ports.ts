// The local ports of connections that this host opens.

import type { PortRange } from '../../model/ports.ts'
import { tryReadProc } from '../tools/proc.ts'

/** net.ipv4.ip_local_port_range of this namespace, which holds for IPv6 too; the kernel's default if it is unreadable. */
export function readLocalPorts(): PortRange {
  const text = tryReadProc('/proc/sys/net/ipv4/ip_local_port_range') ?? ''
  const [, first = '32768', last = '60999'] = /^(\d+)\s+(\d+)\s*$/.exec(text) ?? []
  return { first: Number(first), last: Number(last) }
}

/** net.ipv4.ip_local_reserved_ports of this namespace, which the kernel prints ascending; none if it is unreadable. */
export function readReservedPorts(): readonly PortRange[] {
  const text = tryReadProc('/proc/sys/net/ipv4/ip_local_reserved_ports') ?? ''
  return [...text.matchAll(/(\d+)(?:-(\d+))?/g)].map(([, first, last = first]) => ({
    first: Number(first),
    last: Number(last),
  }))
}

/** The clause if the range of local ports is no longer that of the tables. */
export function portsDrift(before: PortRange, now: PortRange): string | undefined {
  if (before.first === now.first && before.last === now.last) return undefined
  const text = ({ first, last }: PortRange): string => `${first}-${last}`
  return `net.ipv4.ip_local_port_range changed ${text(before)} -> ${text(now)}`
}

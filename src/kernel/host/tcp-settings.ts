// Settings of TCP in the kernel that SYN cookies depend on.

import type { TcpSettings } from '../../model/live.ts'
import { tryReadProc } from '../tools/proc.ts'

function readNumber(path: string): number | undefined {
  const text = tryReadProc(`/proc/sys/net/${path}`) ?? ''
  return /^\d+\s*$/.test(text) ? Number(text) : undefined
}

/** Those of this namespace. Before Linux 6.13, only the first namespace shows net.core.rmem_max. */
export const readTcpSettings = (): TcpSettings => ({
  cookies: readNumber('ipv4/tcp_syncookies'),
  timestamps: readNumber('ipv4/tcp_timestamps') ?? 1,
  receiveMax: readNumber('core/rmem_max') ?? 0,
  loose: readNumber('netfilter/nf_conntrack_tcp_loose'),
})

/** The clause if the largest receive buffer is no longer that of the tables. */
export function bufferDrift(before: number, tcp: TcpSettings | undefined): string | undefined {
  if (tcp === undefined || tcp.receiveMax === before) return undefined
  return `net.core.rmem_max changed ${before} -> ${tcp.receiveMax}`
}

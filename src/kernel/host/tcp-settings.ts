// Settings of TCP in the kernel that SYN cookies depend on.

import { readFile } from 'node:fs/promises'
import type { TcpSettings } from '../../model/live.ts'

const readNumber = async (path: string): Promise<number | undefined> => {
  const text = await readFile(`/proc/sys/net/${path}`, 'utf8').catch(() => '')
  return /^\d+\s*$/.test(text) ? Number(text) : undefined
}

/** Those of this namespace. Before Linux 6.13, only the first namespace shows net.core.rmem_max. */
export async function readTcpSettings(): Promise<TcpSettings> {
  const [cookies, timestamps = 1, receiveMax = 0, loose] = await Promise.all([
    readNumber('ipv4/tcp_syncookies'),
    readNumber('ipv4/tcp_timestamps'),
    readNumber('core/rmem_max'),
    readNumber('netfilter/nf_conntrack_tcp_loose'),
  ])
  return { cookies, timestamps, receiveMax, loose }
}

/** The clause if the largest receive buffer is no longer that of the tables. */
export function bufferDrift(before: number, tcp: TcpSettings | undefined): string | undefined {
  if (tcp === undefined || tcp.receiveMax === before) return undefined
  return `net.core.rmem_max changed ${before} -> ${tcp.receiveMax}`
}

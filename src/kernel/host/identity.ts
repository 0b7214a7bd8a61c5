// The identity of this host and boot.

import { readFile } from 'node:fs/promises'
import { hostname } from 'node:os'

export interface HostIdentity {
  readonly name: string
  readonly bootId: string
}

/** Name of the host, and the random id of its boot (proc_sys_kernel(5)). */
export async function hostIdentity(): Promise<HostIdentity> {
  const bootId = await readFile('/proc/sys/kernel/random/boot_id', 'utf8').catch(() => 'unknown')
  return { name: hostname(), bootId: bootId.trim() }
}

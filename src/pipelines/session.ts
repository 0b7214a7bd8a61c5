// The start of every pipeline: permission, the pin paths of the instance, its lock, and readings that are retried if an
// apply of another process interferes.

import { type Paths, pinPaths } from '../abi/paths.ts'
import { type Diagnostic, XdpError } from '../diagnostics.ts'
import { type Host, type Need, requireHost } from '../kernel/host/host.ts'
import { acquireLock } from '../kernel/host/lock.ts'
import { settled } from '../kernel/observe/settled.ts'
import { interruptible as whileUninterrupted } from '../kernel/tools/interrupt.ts'

export type { Host, Need }

export interface Session {
  readonly host: Host
  readonly paths: Paths
}

/** Throws E104 without the permission, E105 if the bpffs is not mounted. */
export async function openSession(host: Host, need?: Need): Promise<Session> {
  await requireHost(host, need)
  return sessionOf(host)
}

/** A session whose host is checked later. */
export const sessionOf = (host: Host): Session => ({ host, paths: pinPaths(host.bpffs, host.instance) })

/** Unix time in seconds. */
export const now = (): number => Math.floor(Date.now() / 1000)

/** Throws the diagnostics, if there are any. */
export function refuse(diagnostics: readonly Diagnostic[]): void {
  if (diagnostics.length > 0) throw new XdpError(diagnostics)
}

/** Runs `body`. An interrupt ends its tools and throws E112, except while a change is finished or undone. */
export const interruptible = <T>({ signal }: Host, body: () => T): T => whileUninterrupted(signal, body)

/** Runs `body` while no other process changes the instance. Throws E106 if the lock is held, E112 when interrupted. */
export async function withLock<T>({ host }: Session, body: () => Promise<T>): Promise<T> {
  const lock = await acquireLock(host)
  try {
    return await body()
  } finally {
    await lock.release()
  }
}

/** Reads without the lock, and retries if an apply replaced the generation meanwhile. */
export const reading = settled

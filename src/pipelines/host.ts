// Facts about the host, for commands that read more than the instance.

import { examineHost } from '../kernel/doctor/doctor.ts'
import { defaultRouteInterfaces, type Filter, type Printed, readFilter } from '../kernel/host/filters.ts'
import { writeLastApply } from '../kernel/host/last-apply.ts'
import { readOwnAddresses } from '../kernel/host/protect.ts'
import { waitForInterfaces as waitForLinks } from '../kernel/host/wait.ts'
import type { Address } from '../model/address.ts'
import type { Desired } from '../model/desired.ts'
import { EMPTY_STATE } from '../model/state.ts'
import type { ProcessIdentity } from '../report/last-apply.ts'
import type { Check } from '../report/result.ts'
import { type Host, interruptible, openSession, sessionOf } from './session.ts'

/** Findings of doctor on this host. */
export async function examine(host: Host, desired: Desired | undefined): Promise<readonly Check[]> {
  const optional = [...(desired?.options ?? [])].filter(([, { missing }]) => missing === 'skip').map(([name]) => name)
  const state = desired?.state ?? EMPTY_STATE
  return interruptible(host, () => examineHost(host, sessionOf(host).paths, state, new Set(optional)))
}

/** Waits until interfaces exist. Returns the names of those that did not appear in time. Takes no lock. */
export async function waitForInterfaces(host: Host, names: readonly string[], timeoutMs: number): Promise<string[]> {
  return interruptible(host, async () => {
    await openSession(host)
    return waitForLinks(host, names, timeoutMs)
  })
}

/** Writes the record of an apply if the host permits it. `render` gets the identity of this process. Never throws. */
export const keepLastApply = (host: Host, render: (self: ProcessIdentity) => string): Promise<void> =>
  writeLastApply(host, render)

/** The rules of another filter of this host, as its own tool prints them. Needs neither bpffs nor instance. */
export const printFilter = (host: Host, filter: Filter): Promise<readonly Printed[]> =>
  interruptible(host, () => readFilter(filter))

/** All addresses of this host, in this network namespace. Throws XdpError if `ip` is missing or fails. */
export const ownAddresses = (): Promise<readonly Address[]> => readOwnAddresses()

/** Interfaces of the default routes. */
export const routedInterfaces = (): Promise<readonly string[]> => defaultRouteInterfaces()

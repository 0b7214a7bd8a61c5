// Commit-confirm: refuses changes while an apply waits for its confirmation, confirms, extends, cancels, and reverts at the
// deadline. The marker among the pins decides whether a confirmation is pending; it is removed under the lock, in one
// operation of the kernel, before anything else of a confirmation happens.

import { confirmationOf } from '../abi/paths.ts'
import { fail, type XdpError } from '../diagnostics.ts'
import type { Step } from '../features/step.ts'
import { execute } from '../kernel/execute/execute.ts'
import { lowerConfirm } from '../kernel/execute/lower.ts'
import { monotonicMs } from '../kernel/host/control.ts'
import { forgetGuardian, forgetGuardians, guardianRuns, startGuardian } from '../kernel/host/guardian.ts'
import { readLinks } from '../kernel/host/links.ts'
import { knownLogins, readConfirmOn } from '../kernel/host/logins.ts'
import {
  describePending,
  millisecondsLeft,
  type PendingRecord,
  readPending,
  readReverted,
  removePending,
  removeReverted,
  writePending,
  writeReverted,
} from '../kernel/host/pending.ts'
import { readInstance } from '../kernel/observe/instance.ts'
import { pendingOf } from '../kernel/observe/leftovers.ts'
import { committedGeneration } from '../kernel/observe/observe.ts'
import { list } from '../kernel/tools/pins.ts'
import { type Confirmation, inForceAgain, returned } from '../model/confirmation.ts'
import type { Desired } from '../model/desired.ts'
import type { PendingConfirmation, Reverted } from '../report/confirmation.ts'
import { recordConfirmed } from './history.ts'
import { type Host, interruptible, type Need, openSession, type Session, sessionOf, withLock } from './session.ts'

export type { PendingConfirmation, Reverted }
export { readConfirmOn }

/** Markers among the pins, pending or left by a killed apply. */
const markersOf = async ({ paths }: Session): Promise<Confirmation[]> =>
  (await list(paths.instance)).flatMap((name) => confirmationOf(name) ?? [])

/** The confirmation that the live generation waits for. Reads the kernel only if there is a marker. */
async function findPending(session: Session): Promise<Confirmation | undefined> {
  if ((await markersOf(session)).length === 0) return undefined
  const [links, instance] = await Promise.all([readLinks(), readInstance(session.paths)])
  const attached = new Set([...links.values()].flatMap(({ programs }) => programs.map(({ id }) => id)))
  return pendingOf(instance, committedGeneration(instance, attached))
}

/** Whether a confirmation has its marker: it is pending, or its apply has not come to its switch. */
export const isMarked = async (session: Session, { id }: Pick<Confirmation, 'id'>): Promise<boolean> =>
  (await markersOf(session)).some((marker) => marker.id === id)

/** Reverts an apply, with the lock held if possible. Throws E111 if a part failed; it may be called again. */
export async function revert(
  { host, paths }: Session,
  record: PendingRecord,
  reason: Reverted['reason'],
): Promise<Reverted> {
  // Our own process wrote the record, into a directory that only root may enter.
  await execute(host, paths, record.steps as readonly Step[])
  const { id, generation, previous, config } = record
  const reverted = { id, generation, previous, config, reason, at: new Date().toISOString() }
  await writeReverted(host, reverted)
  await removePending(host)
  await forgetGuardian(host, id)
  return reverted
}

const timeOf = ({ seconds_left: left }: PendingConfirmation): string =>
  left === undefined ? 'its deadline cannot be read' : left > 0 ? `${left} s left` : 'its deadline has passed'

/**
 * Removes the record of an apply that was killed before its commit, and lock files of killed guardians. A guardian that
 * lives has the steps in memory.
 */
async function forgetKilled(host: Host): Promise<void> {
  await removePending(host)
  await forgetGuardians(host)
}

/**
 * The confirmation that the live policy waits for. One that has outlived its deadline, because its guardian was killed, is
 * reverted here. Needs the lock.
 */
export async function settlePending(session: Session): Promise<PendingConfirmation | undefined> {
  const { host } = session
  const pending = await findPending(session)
  if (!pending) {
    await forgetKilled(host)
    return undefined
  }
  const described = await describePending(host, pending)
  const record = await readPending(host, pending.id)
  if (!record || described.guarded || millisecondsLeft(record) > 0) return described
  host.progress?.('reverting the apply that was not confirmed')
  await revert(session, record, 'deadline')
  return undefined
}

/** Throws E230, which names it, if a confirmation is pending. */
export function refusePending(pending: PendingConfirmation | undefined): void {
  if (!pending) return
  const { id, guarded } = pending
  const unguarded = guarded ? '' : ', and no guardian runs that would revert it'
  // The daemon reports an error again whose message changed, so the time is in the hint.
  const hint = `keep it: xdp confirm; or revert it now: xdp confirm --cancel (${timeOf(pending)})`
  throw fail('E230', `the apply ${id} waits for its confirmation${unguarded}`, hint)
}

/** Forgets the outcome of earlier confirmations: a later apply has succeeded. */
export async function forgetReverted(host: Host): Promise<void> {
  await removeReverted(host)
}

/** Throws E231 if the config is that of an apply that was reverted, which the daemon must not repeat. */
export async function refuseReverted(host: Host, { config }: Desired): Promise<void> {
  const reverted = await readReverted(host)
  if (reverted?.config.sha256 !== config.sha256) return
  const why = reverted.reason === 'cancelled' ? 'was cancelled' : 'was not confirmed'
  throw fail(
    'E231',
    `the apply ${reverted.id} of this config ${why}, so ${inForceAgain(reverted)}`,
    `edit ${config.path}, or apply it all the same: xdp apply`,
  )
}

/** Sets the deadline to this time from now. Needs the lock. Throws E115 if the record cannot be replaced. */
async function setDeadline(host: Host, id: string, milliseconds: number): Promise<void> {
  const record = await readPending(host, id)
  if (record) await writePending(host, { ...record, deadlineMs: monotonicMs() + milliseconds })
}

/**
 * Starts the time to confirm, once the switch is over. Connections that there are by now prove nothing, so they do not
 * confirm. Needs the lock. Throws E115 if the record cannot be replaced.
 */
export async function startClock(host: Host, id: string, milliseconds: number): Promise<void> {
  const record = await readPending(host, id)
  if (!record) return
  const seen = record.on ? { seen: await knownLogins(record.on) } : {}
  await writePending(host, { ...record, ...seen, deadlineMs: monotonicMs() + milliseconds })
}

export interface Confirmed {
  readonly confirmation: Confirmation
  readonly action: 'confirmed' | 'extended' | 'cancelled'
  /** After an extension. */
  readonly pending: PendingConfirmation | undefined
}

/** E233, with the end of the last confirmation if it is known. */
export async function nothingPending(host: Host): Promise<XdpError> {
  const reverted = await readReverted(host)
  if (!reverted) return fail('E233', 'no apply waits for a confirmation', 'xdp apply --confirm 2m')
  const { id, reason, at } = reverted
  const what = reason === 'cancelled' ? 'was cancelled' : 'was not confirmed in time'
  const message = `no apply waits for a confirmation: ${id} ${what}, and ${returned(reverted)} at ${at}`
  return fail('E233', message, 'apply it again: xdp apply --confirm 2m')
}

/** Runs `body` with the pending confirmation, under the lock. Throws E233 if there is none. */
function withPending<T>(
  host: Host,
  need: Need,
  body: (session: Session, pending: Confirmation) => Promise<T>,
): Promise<T> {
  return interruptible(host, async () => {
    const session = await openSession(host, need)
    return withLock(session, async () => {
      const pending = await findPending(session)
      if (!pending) throw await nothingPending(host)
      return body(session, pending)
    })
  })
}

/** Throws E266 if interfaces run the previous policy again, or still, and going back to it is possible. */
async function refuseHalfReverted({ host, paths }: Session, { id, previous }: Confirmation): Promise<void> {
  const [links, { generations }] = await Promise.all([readLinks(), readInstance(paths)])
  const before = generations.find(({ number }) => number === previous)?.program.id
  const back = [...links].filter(([, { programs }]) => programs.some((program) => program.id === before))
  if (before === undefined || back.length === 0 || !(await readPending(host, id))) return
  const names = back.map(([name]) => name).join(', ')
  throw fail(
    'E266',
    `the apply ${id} cannot be confirmed: the policy from before it is in force on ${names}`,
    'finish going back: xdp confirm --cancel; then apply again',
  )
}

/** Keeps the unconfirmed policy, with the lock held if possible. May be called again if it failed. */
export async function keep({ host, paths }: Session, confirmation: Confirmation): Promise<void> {
  await execute(host, paths, lowerConfirm(paths, confirmation, await list(paths.instance)))
  // Without this record the next boot applies the policy before: the safe side.
  recordConfirmed(host, confirmation.id)
  await removePending(host)
  await removeReverted(host)
  await forgetGuardian(host, confirmation.id)
}

/** Keeps the unconfirmed policy, and frees the previous generation. Throws E266 if a part of it is in force again. */
export const confirmPending = (host: Host): Promise<Confirmed> =>
  withPending(host, 'pins', async (session, confirmation) => {
    await refuseHalfReverted(session, confirmation)
    await keep(session, confirmation)
    return { confirmation, action: 'confirmed', pending: undefined }
  })

/** The record of a pending confirmation. Throws E234 if it is lost, with the steps back. */
async function recordOf(host: Host, { id }: Confirmation): Promise<PendingRecord> {
  const record = await readPending(host, id)
  if (record) return record
  throw fail('E234', `the record of the confirmation ${id} is lost, so it cannot be reverted`, 'xdp confirm')
}

/** Sets the deadline to this time from now. Starts another guardian if a process has killed the first. */
export const extendPending = (host: Host, milliseconds: number): Promise<Confirmed> =>
  withPending(host, 'programs', async (_, confirmation) => {
    await recordOf(host, confirmation)
    await setDeadline(host, confirmation.id, milliseconds)
    if (!(await guardianRuns(host, confirmation.id))) await startGuardian(host, confirmation.id)
    return { confirmation, action: 'extended', pending: await describePending(host, confirmation) }
  })

/** Reverts the unconfirmed policy now. */
export const cancelPending = (host: Host): Promise<Confirmed> =>
  withPending(host, 'attachments', async (session, confirmation) => {
    await revert(session, await recordOf(host, confirmation), 'cancelled')
    return { confirmation, action: 'cancelled', pending: undefined }
  })

/** How a confirmation stands, for a caller that waits for it. Takes no lock. */
export async function readConfirmation(host: Host, id: string): Promise<PendingConfirmation | undefined> {
  const marker = (await markersOf(sessionOf(host))).find((one) => one.id === id)
  return marker && describePending(host, marker)
}

/** How the confirmation ended that was pending; undefined: it was confirmed. */
export const readEnd = async (host: Host, id: string): Promise<Reverted | undefined> => {
  const reverted = await readReverted(host)
  return reverted?.id === id ? reverted : undefined
}

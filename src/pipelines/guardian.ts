// The guardian: waits for the confirmation of an apply, confirms it itself where the user has logged in again, and reverts it
// at the deadline.

import { fail, XdpError } from '../diagnostics.ts'
import { becomeGuardian, pause } from '../kernel/host/guardian.ts'
import { acquireLock } from '../kernel/host/lock.ts'
import { hasNewLogin } from '../kernel/host/logins.ts'
import { millisecondsLeft, type PendingRecord, readPending } from '../kernel/host/pending.ts'
import type { Reverted } from '../report/confirmation.ts'
import { isMarked, keep, nothingPending, revert } from './confirm.ts'
import { type Host, openSession } from './session.ts'

/** Milliseconds between two looks of the guardian at marker, record and connections. */
const LOOK_MS = 200
/** A host may have a million sockets: looking at them takes at most this share of a CPU. */
const LOOK_SHARE = 0.1
/**
 * Milliseconds that the guardian waits for the lock after the deadline. Only a process that hangs holds it for longer: no
 * command waits for its user with the lock while a confirmation is pending.
 */
const PATIENCE_MS = 5000
/** Attempts to confirm or revert, a second apart. */
const ATTEMPTS = 60
const RETRY_MS = 1000

/** Runs `body` under the lock, or without it if another process keeps it for too long. */
async function withLockIfPossible<T>(host: Host, body: () => Promise<T>): Promise<T> {
  const lock = await acquireLock({ ...host, lockTimeoutMs: PATIENCE_MS }).catch((error: unknown) => {
    if (!(error instanceof XdpError)) throw error
    return undefined
  })
  try {
    return await body()
  } finally {
    await lock?.release()
  }
}

/** Looks whether the user has logged in since the switch. Otherwise waits until the next look, or the deadline. */
async function awaitLogin(record: PendingRecord, stop: AbortSignal): Promise<boolean> {
  const began = performance.now()
  if (await hasNewLogin(record)) return true
  const rest = Math.max(LOOK_MS, (performance.now() - began) / LOOK_SHARE)
  await pause(Math.min(rest, millisecondsLeft(record)), stop)
  return false
}

/**
 * The guardian: returns when the confirmation has arrived, or the apply is reverted.
 *
 * @param stop reverts at once
 * @returns how it ended; undefined: confirmed, or undone by the apply itself
 */
export async function guardPending(host: Host, id: string, stop: AbortSignal): Promise<Reverted | undefined> {
  const session = await openSession(host)
  let known = await readPending(host, id)
  if (!known) throw await nothingPending(host)
  const lock = await becomeGuardian(host, id)
  if (!lock) throw fail('E125', `the confirmation ${id} has a guardian already`)
  /** Whether it is time; reads the record, which an extension replaces. A lost one leaves what is known. */
  const isDue = async (record: PendingRecord): Promise<boolean> => {
    known = (await readPending(host, id)) ?? record
    return stop.aborted || millisecondsLeft(known) === 0
  }
  try {
    let attempts = 0
    let isConfirmed = false
    while (await isMarked(session, known)) {
      if (!isConfirmed && !(await isDue(known))) {
        isConfirmed = await awaitLogin(known, stop)
        continue
      }
      const end = await withLockIfPossible(host, async () => {
        if (!(await isMarked(session, { id }))) return undefined
        if (isConfirmed) {
          await keep(session, known as PendingRecord)
          return undefined
        }
        if (!(await isDue(known as PendingRecord))) return undefined
        return revert(session, known as PendingRecord, stop.aborted ? 'stopped' : 'deadline')
      }).catch(async (error: unknown) => {
        if (++attempts === ATTEMPTS) throw error
        await pause(RETRY_MS)
        return undefined
      })
      if (end) return end
    }
    return undefined
  } finally {
    await lock.release()
  }
}

// The record of an apply that waits for its confirmation, and of one that was reverted: files in /run/xdp, which end with
// the boot as the kernel's objects do. Whether a confirmation is pending says its marker among the pins, not this record.
//
// Deadlines are on CLOCK_MONOTONIC, which all processes of a machine share and none can set.

import { randomBytes } from 'node:crypto'
import { readFile, rename, writeFile } from 'node:fs/promises'
import type { AppliedConfig, Confirmation, ConfirmOn } from '../../model/confirmation.ts'
import type { PendingConfirmation, Reverted } from '../../report/confirmation.ts'
import { discard, explain, instanceFile, ownPrefix, RUN, runDirectory } from '../tools/exchange.ts'
import { monotonicMs } from './control.ts'
import { guardianRuns } from './guardian.ts'
import type { Host } from './host.ts'

type Which = Pick<Host, 'bpffs' | 'instance'>

/** Another id than any before: those of generations return after a revert. */
export const newConfirmationId = (): string => randomBytes(4).toString('hex')

export interface PendingRecord extends Confirmation {
  /** CLOCK_MONOTONIC, in milliseconds. */
  readonly deadlineMs: number
  readonly config: AppliedConfig
  /** SSH connections that confirm. */
  readonly on?: ConfirmOn | undefined
  /** Those that there were before, by `keyOf`; absent until the switch is over. Only others confirm. */
  readonly seen?: readonly string[]
  /** The steps back. */
  readonly steps: readonly unknown[]
}

/** Version of the files; fields of other versions may have other meanings. */
const FORMAT = 1

const pendingFile = ({ bpffs, instance }: Which): Promise<string> => instanceFile(bpffs, instance, 'pending.json')
const revertedFile = ({ bpffs, instance }: Which): Promise<string> => instanceFile(bpffs, instance, 'reverted.json')

/** Bytes, Maps and bigints, which JSON lacks. */
function replaceSpecial(_: string, value: unknown): unknown {
  if (value instanceof Uint8Array) return { bytes: Buffer.from(value).toString('base64') }
  if (value instanceof Map) return { entries: [...value] }
  return value
}

function reviveSpecial(_: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Object.keys(value).length !== 1) return value
  const { bytes, entries } = value as { readonly bytes?: unknown; readonly entries?: unknown }
  if (typeof bytes === 'string') return new Uint8Array(Buffer.from(bytes, 'base64'))
  if (Array.isArray(entries)) return new Map(entries as [unknown, unknown][])
  return value
}

/** Replaces a file atomically. Throws E104 or E115 if /run/xdp cannot be written. */
async function replaceFile(file: string, content: object): Promise<void> {
  await runDirectory()
  // The collector of exchange files recognises this name, in case this process is killed before the rename.
  const partial = `${RUN}/${ownPrefix(process.pid)}pending`
  try {
    await writeFile(partial, JSON.stringify({ format: FORMAT, ...content }, replaceSpecial), { mode: 0o600 })
    await rename(partial, file)
  } catch (error) {
    throw explain(error)
  } finally {
    await discard(partial)
  }
}

async function readRecord<T>(file: string): Promise<T | undefined> {
  try {
    const { format, ...content } = JSON.parse(await readFile(file, 'utf8'), reviveSpecial) as { format: unknown }
    return format === FORMAT ? (content as T) : undefined
  } catch {
    return undefined
  }
}

/** Writes the record. Throws E104 or E115: without a record nothing could be reverted. */
export const writePending = async (which: Which, record: PendingRecord): Promise<void> =>
  replaceFile(await pendingFile(which), record)

/** The record of this confirmation; undefined if there is none, or it is damaged. */
export async function readPending(which: Which, id: string): Promise<PendingRecord | undefined> {
  const record = await readRecord<PendingRecord>(await pendingFile(which))
  return record?.id === id && Number.isFinite(record.deadlineMs) && Array.isArray(record.steps) ? record : undefined
}

/** Without its marker the record says nothing, so that it may stay. */
export const removePending = async (which: Which): Promise<void> => discard(await pendingFile(which))

/** Milliseconds until the deadline, 0 when it has passed. */
export const millisecondsLeft = ({ deadlineMs }: Pick<PendingRecord, 'deadlineMs'>): number =>
  Math.max(0, deadlineMs - monotonicMs())

/** The wall-clock time of a deadline, as that clock goes now. */
const isoOf = (record: PendingRecord): string => new Date(Date.now() + record.deadlineMs - monotonicMs()).toISOString()

/** Everything about a pending confirmation that reports show. */
export async function describePending(which: Which, confirmation: Confirmation): Promise<PendingConfirmation> {
  const { id, generation, previous } = confirmation
  const [record, guarded] = await Promise.all([readPending(which, id), guardianRuns(which, id)])
  return {
    ...{ id, generation, previous, guarded, on: record?.on },
    deadline: record && isoOf(record),
    seconds_left: record && Math.ceil(millisecondsLeft(record) / 1000),
    config: record?.config,
  }
}

/** Records that an apply was reverted. The daemon then holds its config back; a full /run must not stop the revert. */
export const writeReverted = async (which: Which, reverted: Reverted): Promise<void> =>
  replaceFile(await revertedFile(which), reverted).catch(() => undefined)

/** The last apply that was reverted, unless another has succeeded since. */
export const readReverted = async (which: Which): Promise<Reverted | undefined> => readRecord(await revertedFile(which))

export const removeReverted = async (which: Which): Promise<void> => discard(await revertedFile(which))

// Bans on the disk, so that they outlive a reboot: one file, written under another name, synchronized and renamed. The
// first line says from which boot they are, and has the digest of the others, one for each ban.

import { createHash, randomBytes } from 'node:crypto'
import { closeSync, constants, fstatSync, fsyncSync, openSync, readSync, renameSync, rmSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { codeOf, makeDirectory, objection, readWhole, writeWhole } from '../cache/directory.ts'
import { type Ban, BY_BYTES, objectionToLabel, parseBanned, REASON_BYTES } from '../model/ban.ts'
import { formatAddress } from '../model/text.ts'

const FORMAT = 1
/** Longest file: four million bans. */
const MOST_BYTES = 2 ** 30
/** Longest first line. */
const HEAD_BYTES = 4096

/** A saved ban. Times are Unix times in milliseconds. */
export type SavedBan = Pick<Ban, 'prefix' | 'expires' | 'by' | 'reason' | 'observe'>

export interface SavedBans {
  /** Of the kernel that the bans were read from. */
  readonly boot: string
  readonly bans: readonly SavedBan[]
}

/** `STATE/bans/INSTANCE`, beside the history of the instance in `STATE/history/INSTANCE`. */
export const savedBansFile = (history: string): string =>
  join(dirname(dirname(history)), 'bans', `${history.slice(dirname(history).length + 1)}.jsonl`)

const digestOf = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

/** The content of a file. */
export function encodeSavedBans({ boot, bans }: SavedBans): Buffer {
  const lines = bans.map(({ prefix: { family, start, length }, expires, by, reason, observe }) =>
    JSON.stringify([`${formatAddress(family, start)}/${length}`, expires ?? null, by, reason, observe ? 1 : 0]),
  )
  const rest = Buffer.from(lines.map((line) => `${line}\n`).join(''))
  const head = JSON.stringify({ format: FORMAT, boot, count: bans.length, sha256: digestOf(rest) })
  return Buffer.concat([Buffer.from(`${head}\n`), rest])
}

function banOfLine(line: string): SavedBan | undefined {
  const [text, expires, by, reason, observe] = JSON.parse(line) as unknown[]
  const prefix = typeof text === 'string' ? parseBanned(text) : undefined
  const isTime = expires === null || (typeof expires === 'number' && Number.isFinite(expires))
  const isLabel = (label: unknown, most: number): label is string =>
    typeof label === 'string' && objectionToLabel(label, most) === undefined
  if (!prefix || !isTime || !isLabel(by, BY_BYTES) || !isLabel(reason, REASON_BYTES)) return undefined
  return { prefix, expires: expires ?? undefined, by, reason, observe: observe === 1 }
}

/** Decodes a file; a text says what is wrong with it. */
export function decodeSavedBans(bytes: Uint8Array): SavedBans | string {
  const end = bytes.indexOf(0x0a)
  try {
    const { format, boot, count, sha256 } = JSON.parse(Buffer.from(bytes.subarray(0, end)).toString()) as Record<
      string,
      unknown
    >
    if (format !== FORMAT) return 'it is of another version'
    const rest = bytes.subarray(end + 1)
    if (typeof boot !== 'string' || digestOf(rest) !== sha256) return 'its content does not have its digest'
    const lines = Buffer.from(rest).toString().split('\n').slice(0, -1)
    const bans = lines.map(banOfLine)
    const isWhole = bans.length === count && bans.every((ban) => ban !== undefined)
    return isWhole ? { boot, bans: bans as SavedBan[] } : 'it has a line that is no ban'
  } catch {
    return 'it is damaged'
  }
}

const openSaved = (path: string): number =>
  openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)

/**
 * Whether a file holds no bans that are still to be restored in this boot: it is missing, or was written in it. Reads its
 * first line only.
 */
export function isSettled(path: string, boot: string): boolean {
  try {
    const descriptor = openSaved(path)
    try {
      const bytes = Buffer.alloc(HEAD_BYTES)
      const [head = ''] = bytes.toString('utf8', 0, readSync(descriptor, bytes)).split('\n', 1)
      return (JSON.parse(head) as { readonly boot?: unknown } | null)?.boot === boot
    } finally {
      closeSync(descriptor)
    }
  } catch (error) {
    return codeOf(error) === 'ENOENT'
  }
}

/** Reads a file; undefined: it is missing. A text says why it cannot be used. */
export function readSavedBans(path: string): SavedBans | string | undefined {
  let descriptor: number
  try {
    descriptor = openSaved(path)
  } catch (error) {
    return codeOf(error) === 'ENOENT' ? undefined : `it cannot be read: ${codeOf(error)}`
  }
  try {
    const stats = fstatSync(descriptor)
    // The owner of /proc/self is the effective user (proc(5)).
    const wrong = stats.isFile() ? objection(path, stats, statSync('/proc/self').uid) : 'it is not a file'
    if (wrong !== undefined) return wrong
    return stats.size > MOST_BYTES ? 'it is too long' : decodeSavedBans(readWhole(descriptor, stats.size))
  } catch (error) {
    return `it cannot be read: ${codeOf(error)}`
  } finally {
    closeSync(descriptor)
  }
}

/** Writes a file, whole or not at all, so that it survives a loss of power. Throws the errors of the system. */
export function writeSavedBans(path: string, saved: SavedBans): void {
  makeDirectory(dirname(path))
  const part = `${path}.${randomBytes(6).toString('hex')}.part`
  try {
    const { O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW } = constants
    const descriptor = openSync(part, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600)
    try {
      writeWhole(descriptor, [encodeSavedBans(saved)])
      fsyncSync(descriptor)
    } finally {
      closeSync(descriptor)
    }
    renameSync(part, path)
    const directory = openSync(dirname(path), constants.O_RDONLY | constants.O_DIRECTORY)
    fsyncSync(directory)
    closeSync(directory)
  } catch (error) {
    rmSync(part, { force: true })
    throw error
  }
}

/** Moves a file that cannot be used out of the way of the next one. Returns its new path. Throws the errors of the system. */
export function setAside(path: string, boot: string): string {
  const aside = `${path}.${boot.slice(0, 8)}.unusable`
  renameSync(path, aside)
  return aside
}

/** Removes a file, if there is one. A file that stays is from this boot, and is not restored in it. */
export function removeSavedBans(path: string): void {
  try {
    rmSync(path, { force: true })
  } catch {
    // The state directory is read-only, or another user's.
  }
}

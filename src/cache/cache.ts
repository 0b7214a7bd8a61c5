// A directory of cached results, each under a name derived from its inputs. Nothing depends on it: it may be deleted at
// any time, and a fault in it costs time and one warning, never more. It returns only files that this user wrote under
// that name and that are whole.

import { randomBytes } from 'node:crypto'
import {
  closeSync,
  constants,
  fstatSync,
  futimesSync,
  lstatSync,
  openSync,
  readdirSync,
  renameSync,
  unlinkSync,
} from 'node:fs'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { codeOf, makeDirectory, objection, readWhole, writeWhole } from './directory.ts'
import type { Cache } from './none.ts'

export type { Cache }

/**
 * First bytes of every file; after them, the length of the content behind HEADER_SIZE bytes, and the CRC-32 of the name
 * and the content: against failing disks, and files that were cut, renamed or exchanged. An attacker who could forge a
 * file could also write the config.
 */
const MAGIC = 'xdp cache 2\n'
const SIZE_AT = 16
const SUM_AT = 24
const HEADER_SIZE = 64

/** Maximum size of all files in bytes. Ten million prefixes take a third of it. */
const MOST_BYTES = 768 * 1024 * 1024
const HOUR = 3600
/** Seconds after which an unread file is removed. */
const UNUSED = 14 * 24 * HOUR
const PART = '.part'

function headerOf(name: string, pieces: readonly Uint8Array[]): Buffer {
  const header = Buffer.alloc(HEADER_SIZE)
  header.write(MAGIC)
  header.writeBigUInt64LE(BigInt(pieces.reduce((sum, { length }) => sum + length, 0)), SIZE_AT)
  // crc32 returns 0 for an empty piece, whatever the previous sum.
  const sum = pieces.reduce((before, piece) => (piece.length === 0 ? before : crc32(piece, before)), crc32(name))
  header.writeUInt32LE(sum, SUM_AT)
  return header
}

/** Whether the bytes of a file were stored under this name, all of them. */
function isWhole(name: string, bytes: Buffer): boolean {
  if (bytes.length < HEADER_SIZE) return false
  return headerOf(name, [bytes.subarray(HEADER_SIZE)]).equals(bytes.subarray(0, HEADER_SIZE))
}

class Directory implements Cache {
  readonly #path: string
  readonly #uid: number
  /** undefined: not checked yet. */
  #usable: boolean | undefined
  #problem: string | undefined

  constructor(path: string, uid: number) {
    this.#path = path
    this.#uid = uid
  }

  get problem(): string | undefined {
    return this.#problem
  }

  #note(problem: string): void {
    this.#problem ??= problem
  }

  /** Whether the directory exists and is ours; `make`: create it if it is missing. */
  #isUsable(make: boolean): boolean {
    if (this.#usable !== undefined) return this.#usable
    try {
      if (make) makeDirectory(this.#path)
      const stats = lstatSync(this.#path)
      const wrong = stats.isDirectory() ? objection(this.#path, stats, this.#uid) : `${this.#path} is not a directory`
      if (wrong !== undefined) this.#note(wrong)
      this.#usable = wrong === undefined
    } catch (error) {
      if (codeOf(error) === 'ENOENT' && !make) return false
      this.#note(`${this.#path} cannot be used: ${codeOf(error)}`)
      this.#usable = false
    }
    return this.#usable
  }

  read(name: string): Buffer | undefined {
    if (!this.#isUsable(false)) return undefined
    const path = join(this.#path, name)
    let descriptor: number | undefined
    try {
      descriptor = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
      return this.#readOpen(name, descriptor)
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') this.#note(`${path} cannot be read: ${codeOf(error)}`)
      return undefined
    } finally {
      if (descriptor !== undefined) closeSync(descriptor)
    }
  }

  #readOpen(name: string, descriptor: number): Buffer | undefined {
    const path = join(this.#path, name)
    const stats = fstatSync(descriptor)
    const wrong = stats.isFile() ? objection(path, stats, this.#uid) : `${path} is not a file`
    const bytes = wrong === undefined && stats.size <= MOST_BYTES ? readWhole(descriptor, stats.size) : Buffer.alloc(0)
    if (wrong !== undefined || !isWhole(name, bytes)) {
      this.#note(wrong ?? `${path} is damaged`)
      return undefined
    }
    const now = Date.now() / 1000
    // The oldest files are removed first, so a read renews the time. Once an hour is precise enough, and lets disks
    // sleep.
    if (now - stats.mtimeMs / 1000 > HOUR) futimesSync(descriptor, now, now)
    return bytes.subarray(HEADER_SIZE)
  }

  write(name: string, pieces: readonly Uint8Array[]): void {
    const size = HEADER_SIZE + pieces.reduce((sum, { length }) => sum + length, 0)
    if (size > MOST_BYTES || !this.#isUsable(true)) return
    const path = join(this.#path, name)
    const part = `${path}.${randomBytes(6).toString('hex')}${PART}`
    try {
      this.#collect(size, name)
      const { O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW } = constants
      const descriptor = openSync(part, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600)
      try {
        writeWhole(descriptor, [headerOf(name, pieces), ...pieces])
      } finally {
        closeSync(descriptor)
      }
      renameSync(part, path)
    } catch (error) {
      this.#note(`${path} cannot be written: ${codeOf(error)}`)
      this.#remove(part)
    }
  }

  #remove(path: string): void {
    try {
      unlinkSync(path)
    } catch {
      // It was never created, or another process was faster.
    }
  }

  /** Makes room for `needed` bytes: removes the files unused for the longest time. `name` will be replaced. */
  #collect(needed: number, name: string): void {
    const now = Date.now() / 1000
    const files = readdirSync(this.#path).flatMap((file) => {
      try {
        const stats = lstatSync(join(this.#path, file))
        return file === name || !stats.isFile() ? [] : [{ file, size: stats.size, age: now - stats.mtimeMs / 1000 }]
      } catch {
        return []
      }
    })
    files.sort((left, right) => left.age - right.age)
    let total = needed
    for (const { file, size, age } of files) {
      // A partial file this old was left by a killed process.
      const isOver = total + size > MOST_BYTES || age > (file.endsWith(PART) ? HOUR : UNUSED)
      if (isOver) this.#remove(join(this.#path, file))
      else total += size
    }
  }
}

/** Opens the cache in a directory; the first write creates it. `uid`: the required owner. */
export const openCache = (path: string, uid: number): Cache => new Directory(path, uid)

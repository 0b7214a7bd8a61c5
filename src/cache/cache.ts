// A directory of results that take long to get again, each under a name that says what it was made from. Nothing depends
// on it: it may be deleted at any time, and what is wrong with it costs time and one warning, never more. What it gives
// back was written by this user and is whole, or it is not given back.

import { randomBytes } from 'node:crypto'
import {
  closeSync,
  constants,
  fstatSync,
  futimesSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  type Stats,
  unlinkSync,
  writevSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { crc32 } from 'node:zlib'

export interface Cache {
  /** What was stored under the name, aligned to 8 bytes; undefined = nothing that can be used. Never throws. */
  read(name: string): Buffer | undefined
  /** Stores something, in pieces, in place of what was there. Never throws. */
  write(name: string, pieces: readonly Uint8Array[]): void
  /** What is wrong with the directory or a file in it; the first thing that was found. */
  readonly problem: string | undefined
}

/** Remembers nothing. */
export const NO_CACHE: Cache = { read: () => undefined, write: () => undefined, problem: undefined }

/**
 * First bytes of every file, then how long what follows behind HEADER_SIZE bytes is, and its CRC-32: against disks that
 * fail and files that were cut off. Who could forge a file could as well write the config.
 */
const MAGIC = 'xdp cache 1\n'
const SIZE_AT = 16
const SUM_AT = 24
const HEADER_SIZE = 64

/** Most bytes of all files. Ten million prefixes take a third of it. */
const MOST_BYTES = 768 * 1024 * 1024
const HOUR = 3600
/** Seconds after which a file that nobody has read goes. */
const UNUSED = 14 * 24 * HOUR
const PART = '.part'

const codeOf = (error: unknown): string => (error as NodeJS.ErrnoException).code ?? String(error)

/** Why something is not to be trusted, or undefined. */
function objection(path: string, stats: Stats, uid: number): string | undefined {
  if (stats.uid !== uid) return `${path} belongs to user ${stats.uid}`
  return (stats.mode & 0o022) === 0 ? undefined : `${path} can be written by others`
}

function readWhole(descriptor: number, size: number): Buffer {
  const bytes = Buffer.allocUnsafeSlow(size)
  let length = 0
  while (length < size) {
    const count = readSync(descriptor, bytes, length, size - length, null)
    if (count === 0) break
    length += count
  }
  return bytes.subarray(0, length)
}

function writeWhole(descriptor: number, pieces: readonly Uint8Array[]): void {
  let left = pieces.filter(({ length }) => length > 0)
  while (left.length > 0) {
    let written = writevSync(descriptor, left)
    left = left.flatMap((piece) => {
      const skipped = Math.min(written, piece.length)
      written -= skipped
      return skipped < piece.length ? [piece.subarray(skipped)] : []
    })
  }
}

function headerOf(pieces: readonly Uint8Array[]): Buffer {
  const header = Buffer.alloc(HEADER_SIZE)
  header.write(MAGIC)
  header.writeBigUInt64LE(BigInt(pieces.reduce((sum, { length }) => sum + length, 0)), SIZE_AT)
  // Of nothing the sum is 0, whatever it was before.
  const sum = pieces.reduce((before, piece) => (piece.length === 0 ? before : crc32(piece, before)), 0)
  header.writeUInt32LE(sum, SUM_AT)
  return header
}

function isWhole(bytes: Buffer): boolean {
  if (bytes.length < HEADER_SIZE) return false
  return headerOf([bytes.subarray(HEADER_SIZE)]).equals(bytes.subarray(0, HEADER_SIZE))
}

/**
 * Makes a directory, and the ones above it where they are missing. Not by `recursive`, which never ends where a file system
 * says of a directory that cannot be made what it says of one whose parent is missing (/proc does).
 */
function makeDirectory(path: string, levels = 8): void {
  try {
    mkdirSync(path, { mode: 0o700 })
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return
    if (codeOf(error) !== 'ENOENT' || levels === 0 || dirname(path) === path) throw error
    makeDirectory(dirname(path), levels - 1)
    makeDirectory(path, 0)
  }
}

class Directory implements Cache {
  readonly #path: string
  readonly #uid: number
  /** undefined: not looked at yet. */
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

  /** Whether the directory is there and ours; `make`: it is made if not. */
  #isUsable(make: boolean): boolean {
    if (this.#usable !== undefined) return this.#usable
    try {
      if (make) makeDirectory(this.#path)
      const stats = lstatSync(this.#path)
      const wrong = stats.isDirectory() ? objection(this.#path, stats, this.#uid) : `${this.#path} is no directory`
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
      return this.#readOpen(path, descriptor)
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') this.#note(`${path} cannot be read: ${codeOf(error)}`)
      return undefined
    } finally {
      if (descriptor !== undefined) closeSync(descriptor)
    }
  }

  #readOpen(path: string, descriptor: number): Buffer | undefined {
    const stats = fstatSync(descriptor)
    const wrong = stats.isFile() ? objection(path, stats, this.#uid) : `${path} is no file`
    const bytes = wrong === undefined && stats.size <= MOST_BYTES ? readWhole(descriptor, stats.size) : Buffer.alloc(0)
    if (wrong !== undefined || !isWhole(bytes)) {
      this.#note(wrong ?? `${path} is damaged`)
      return undefined
    }
    const now = Date.now() / 1000
    // Files go by when they were last of use. Once an hour is enough to know, and disks like to sleep.
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
        writeWhole(descriptor, [headerOf(pieces), ...pieces])
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
      // Not made, or somebody else was quicker.
    }
  }

  /** Makes room for so many bytes: what has been of no use for the longest time goes. `name` is about to be replaced. */
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
      // A part that is so old is one of a process that was killed.
      const isOver = total + size > MOST_BYTES || age > (file.endsWith(PART) ? HOUR : UNUSED)
      if (isOver) this.#remove(join(this.#path, file))
      else total += size
    }
  }
}

/** The cache in a directory, which is made when something is first stored. `uid`: who must own it. */
export const openCache = (path: string, uid: number): Cache => new Directory(path, uid)

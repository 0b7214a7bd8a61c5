// The history on the disk: `N.json`, one file for each entry, and `contents/SHA256`, the files of configs, each once.
// Files are written under another name, synchronized, and renamed: an entry is whole, or is not there. Only root may enter.

import { createHash, randomBytes } from 'node:crypto'
import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  fsyncSync,
  lstatSync,
  openSync,
  readdirSync,
  renameSync,
  statSync,
  unlinkSync,
} from 'node:fs'
import { join } from 'node:path'
import { codeOf, makeDirectory, objection, readWhole, writeWhole } from '../cache/directory.ts'
import { DEFAULT_HISTORY, type HistoryBounds } from '../model/desired.ts'
import type { SourceFile } from '../model/sources.ts'
import type { DamagedEntry, EntryDraft, EntryFile, StoredEntry, StoredResult } from '../report/history.ts'
import { decodeEntry, encodeEntry } from './entry.ts'
import { type History, isDamaged } from './history.ts'

export interface Bounds extends HistoryBounds {
  /** Size of one list file. Longer ones are not kept. */
  readonly listBytes: number
}

export const BOUNDS: Bounds = { ...DEFAULT_HISTORY, listBytes: 64 * 2 ** 20 }

/** Entries that are kept however many bytes they take: the policy in force, and the one before. */
const LEAST_ENTRIES = 2
/** Longest entry. It has a line for each file. */
const ENTRY_BYTES = 64 * 2 ** 20

const CONTENTS = 'contents'
const PART = '.part'
const ENTRY_NAME = /^([1-9]\d{0,8})\.json$/

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

const isAccepted = (entry: StoredEntry | DamagedEntry): entry is StoredEntry =>
  !isDamaged(entry) && ['applied', 'confirmed'].includes(entry.result)

class Directory implements History {
  readonly directory: string
  readonly #uid: number
  #bounds: Bounds
  #problem: string | undefined

  constructor(directory: string, uid: number, bounds: Bounds) {
    this.directory = directory
    this.#uid = uid
    this.#bounds = bounds
  }

  get problem(): string | undefined {
    return this.#problem
  }

  #note(problem: string): void {
    this.#problem ??= problem
  }

  get #contents(): string {
    return join(this.directory, CONTENTS)
  }

  /** Whether the directory exists and only its owner may change it; `make`: creates it if it is missing. */
  #isUsable(make: boolean): boolean {
    try {
      if (make) makeDirectory(this.#contents)
      for (const path of [this.directory, this.#contents]) {
        const stats = lstatSync(path)
        const wrong = stats.isDirectory() ? objection(path, stats, this.#uid) : `${path} is not a directory`
        if (wrong === undefined) continue
        this.#note(wrong)
        return false
      }
      return true
    } catch (error) {
      if (codeOf(error) !== 'ENOENT' || make) this.#note(`${this.directory} cannot be used: ${codeOf(error)}`)
      return false
    }
  }

  /** The content of a file of ours. Throws if there is none, or it is not ours. */
  #read(path: string, limit: number): Buffer {
    const descriptor = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
    try {
      const stats = fstatSync(descriptor)
      const wrong = stats.isFile() ? objection(path, stats, this.#uid) : `${path} is not a file`
      if (wrong !== undefined) throw new Error(wrong)
      if (stats.size > limit) throw new Error(`${path} is too long`)
      return readWhole(descriptor, stats.size)
    } finally {
      closeSync(descriptor)
    }
  }

  /** Writes a file, whole or not at all, so that it survives a loss of power. Throws. */
  #write(path: string, bytes: Uint8Array): void {
    const part = `${path}.${randomBytes(6).toString('hex')}${PART}`
    try {
      const { O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW } = constants
      const descriptor = openSync(part, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600)
      try {
        writeWhole(descriptor, [bytes])
        fsyncSync(descriptor)
      } finally {
        closeSync(descriptor)
      }
      renameSync(part, path)
    } catch (error) {
      this.#unlink(part)
      throw error
    }
  }

  /** Makes renames and removals in a directory durable. */
  #sync(directory: string): void {
    const descriptor = openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY)
    try {
      fsyncSync(descriptor)
    } finally {
      closeSync(descriptor)
    }
  }

  #unlink(path: string): void {
    try {
      unlinkSync(path)
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') this.#note(`${path} cannot be removed: ${codeOf(error)}`)
    }
  }

  /** Runs `body`; an error becomes the problem. */
  #attempt<T>(what: string, body: () => T): T | undefined {
    try {
      return body()
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code
      this.#note(code === undefined ? String((error as Error).message) : `${what}: ${code}`)
      return undefined
    }
  }

  /** Numbers of entries, newest first. */
  #numbers(): number[] {
    return readdirSync(this.directory)
      .flatMap((name) => {
        const number = ENTRY_NAME.exec(name)?.[1]
        return number === undefined ? [] : [Number(number)]
      })
      .sort((left, right) => right - left)
  }

  #entryPath(number: number): string {
    return join(this.directory, `${number}.json`)
  }

  #entry(number: number): StoredEntry | DamagedEntry {
    const path = this.#entryPath(number)
    try {
      const entry = decodeEntry(this.#read(path, ENTRY_BYTES).toString(), number)
      return entry ?? { number, problem: `${path} is damaged, or of a later version` }
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code
      return {
        number,
        problem: code === undefined ? String((error as Error).message) : `${path} cannot be read: ${code}`,
      }
    }
  }

  entries(): readonly (StoredEntry | DamagedEntry)[] {
    if (!this.#isUsable(false)) return []
    const what = `${this.directory} cannot be read`
    return this.#attempt(what, () => this.#numbers().map((number) => this.#entry(number))) ?? []
  }

  has(digest: string): boolean {
    return existsSync(join(this.#contents, digest))
  }

  content(digest: string): Uint8Array | undefined {
    try {
      const bytes = this.#read(join(this.#contents, digest), Number.POSITIVE_INFINITY)
      return sha256(bytes) === digest ? bytes : undefined
    } catch {
      return undefined
    }
  }

  bound(bounds: HistoryBounds): void {
    this.#bounds = { ...this.#bounds, ...bounds }
  }

  keep(files: readonly SourceFile[]): void {
    if (!this.#isUsable(true)) return
    this.#attempt(`${this.#contents} cannot be written`, () => {
      this.#collect()
      let room = this.#bounds.bytes / LEAST_ENTRIES
      for (const file of files) {
        if (this.#isWhole(file)) continue
        const bytes = file.text ?? this.#listOf(file, room)
        if (bytes === undefined) continue
        room -= bytes.length
        this.#write(join(this.#contents, file.sha256), bytes)
      }
      this.#sync(this.#contents)
    })
  }

  /** Whether the content of a file is kept, as far as its length shows. */
  #isWhole({ path, sha256: digest, text }: SourceFile): boolean {
    if (!this.has(digest)) return false
    const size = text?.length ?? statSync(path, { throwIfNoEntry: false })?.size
    return size === undefined || size === this.#size(digest)
  }

  /** The content of a list file; undefined if it is too long, or another one by now. */
  #listOf({ path, sha256: digest }: SourceFile, room: number): Buffer | undefined {
    try {
      const { size } = statSync(path)
      if (size > Math.min(room, this.#bounds.listBytes)) return undefined
      const descriptor = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
      try {
        const bytes = readWhole(descriptor, size)
        return sha256(bytes) === digest ? bytes : undefined
      } finally {
        closeSync(descriptor)
      }
    } catch {
      return undefined
    }
  }

  add(draft: EntryDraft): number | undefined {
    if (!this.#isUsable(true)) return undefined
    return this.#attempt(`${this.directory} cannot be written`, () => {
      const number = (this.#numbers()[0] ?? 0) + 1
      this.#write(this.#entryPath(number), Buffer.from(encodeEntry({ ...draft, number })))
      this.#sync(this.directory)
      this.#prune()
      return number
    })
  }

  settle(number: number, result: StoredResult, generation?: number): void {
    const entry = this.#entry(number)
    if (isDamaged(entry)) {
      this.#note(entry.problem)
      return
    }
    this.#attempt(`${this.#entryPath(number)} cannot be written`, () => {
      const settled = { ...entry, result, generation: generation ?? entry.generation }
      this.#write(this.#entryPath(number), Buffer.from(encodeEntry(settled)))
      this.#sync(this.directory)
    })
  }

  remove(number: number): void {
    this.#unlink(this.#entryPath(number))
  }

  #size(digest: string): number {
    return statSync(join(this.#contents, digest), { throwIfNoEntry: false })?.size ?? 0
  }

  /**
   * Removes the oldest entries beyond the bounds, but neither the newest one whose policy was accepted nor that of the policy
   * before: applies that fail over and over must not push out what a rollback needs.
   */
  #prune(): void {
    const all = this.#numbers().map((number) => this.#entry(number))
    const accepted = all.filter(isAccepted)
    const before = accepted.find(({ config }) => config.sha256 !== accepted[0]?.config.sha256)
    const sizes = new Map<string, number>()
    let total = 0
    for (const [position, entry] of all.entries()) {
      const files: readonly EntryFile[] = isDamaged(entry) ? [] : entry.files
      for (const { sha256: digest } of files) {
        if (sizes.has(digest)) continue
        sizes.set(digest, this.#size(digest))
        total += sizes.get(digest) ?? 0
      }
      const isOver = position >= this.#bounds.entries || (position >= LEAST_ENTRIES && total > this.#bounds.bytes)
      if (isOver && entry !== accepted[0] && entry !== before) this.#unlink(this.#entryPath(entry.number))
    }
    this.#collect()
  }

  /** Removes contents of no entry, and what killed processes left. */
  #collect(): void {
    const used = new Set(
      this.entries().flatMap((entry) => (isDamaged(entry) ? [] : entry.files.map(({ sha256: digest }) => digest))),
    )
    for (const name of readdirSync(this.#contents)) if (!used.has(name)) this.#unlink(join(this.#contents, name))
    for (const name of readdirSync(this.directory)) if (name.endsWith(PART)) this.#unlink(join(this.directory, name))
  }
}

/** The history in a directory; the first apply creates it. `uid`: the required owner. */
export const openHistory = (directory: string, uid: number, bounds = BOUNDS): History =>
  new Directory(directory, uid, bounds)

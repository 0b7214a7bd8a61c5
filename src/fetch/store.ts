// The copies of sources on the disk: NAME is a symbolic link to NAME.DIGEST, which has the content, and NAME.json has what is
// known of the source. The link is replaced at once, so that readers find the old content or the new one, whole; its
// target names the digest, by which they find damage. Only this user may enter the directory.

import { createHash, randomBytes } from 'node:crypto'
import {
  closeSync,
  constants,
  fsyncSync,
  lstatSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  statSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
} from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { codeOf, makeDirectory, objection, writeWhole } from '../cache/directory.ts'
import { fail } from '../diagnostics.ts'
import type { CopyFacts } from '../report/fetch.ts'

/** The present format of NAME.json; fields of others may have other meanings. */
const FORMAT = 1
/** Longest NAME.json. */
const NOTE_BYTES = 64 * 1024
/** Seconds for which the content of an earlier copy stays, for a reader that has followed the link already. */
const GRACE = 3600
/** Seconds after which a copy that no config of this host fetches is removed: 90 days. */
const UNUSED = 90 * 86_400
const PART = '.part'

/** Facts about a source besides its content. */
export interface Note extends Omit<CopyFacts, 'path' | 'goodAt'> {
  /** Of the content that `etag` and `lastModified` are about, as hex. */
  readonly sha256: string | undefined
  readonly etag: string | undefined
  readonly lastModified: string | undefined
}

export interface Store {
  readonly directory: string
  /** The content of a copy; undefined: it is missing or damaged. */
  readonly content: (path: string) => Buffer | undefined
  readonly note: (path: string) => Note | undefined
  readonly replace: (path: string, content: Uint8Array) => void
  /** The source still has this content: sets its time. */
  readonly renew: (path: string) => void
  readonly annotate: (path: string, note: Note) => void
  /** Every copy with a note, by source. */
  readonly all: () => readonly CopyFacts[]
  /** Removes copies that nothing has fetched for a long time, but those with these paths. `now`: Unix time in seconds. */
  readonly forget: (known: ReadonlySet<string>, now: number) => void
}

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

const attempt = <T>(body: () => T): T | undefined => {
  try {
    return body()
  } catch {
    return undefined
  }
}

/** Throws E264: the copies cannot be written. */
function refuse(why: string, hint: string): never {
  throw fail('E264', `the copies of sources cannot be kept: ${why}`, hint)
}

const isText = (value: unknown): value is string => typeof value === 'string'
const optionalText = (value: unknown): string | undefined => (isText(value) ? value : undefined)

function decode(text: string): Note | undefined {
  const value = JSON.parse(text) as Readonly<Record<string, unknown>> | null
  if (value === null || value['format'] !== FORMAT) return undefined
  const { kind, source, checkedAt, failures } = value
  if ((kind !== 'url' && kind !== 'host') || !isText(source)) return undefined
  if (!Number.isSafeInteger(checkedAt) || !Number.isSafeInteger(failures)) return undefined
  return {
    kind,
    source,
    checkedAt: checkedAt as number,
    failures: failures as number,
    problem: optionalText(value['problem']),
    sha256: optionalText(value['sha256']),
    etag: optionalText(value['etag']),
    lastModified: optionalText(value['lastModified']),
  }
}

/** Writes a file, whole or not at all, so that it survives a loss of power. Throws. */
function write(path: string, bytes: Uint8Array): void {
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
    attempt(() => unlinkSync(part))
    throw error
  }
}

function sync(directory: string): void {
  const descriptor = openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY)
  try {
    fsyncSync(descriptor)
  } finally {
    closeSync(descriptor)
  }
}

/** Removes contents that no link leads to any more, and parts that a killed process left. */
function collect(path: string): void {
  const [directory, name] = [dirname(path), basename(path)]
  const target = attempt(() => readlinkSync(path))
  for (const other of readdirSync(directory)) {
    const isOld = other.startsWith(`${name}.`) && !other.endsWith('.json') && other !== target
    const stats = isOld ? attempt(() => lstatSync(join(directory, other))) : undefined
    if (stats && Date.now() / 1000 - stats.ctimeMs / 1000 > GRACE) attempt(() => unlinkSync(join(directory, other)))
  }
}

/** Removes a copy with its content and its note. */
function remove(path: string): void {
  const [directory, name] = [dirname(path), basename(path)]
  for (const other of readdirSync(directory)) {
    if (other === name || other.startsWith(`${name}.`)) attempt(() => unlinkSync(join(directory, other)))
  }
}

/** The copies in a directory, which the first write creates. `uid`: the required owner. */
export function openStore(directory: string, uid: number): Store {
  let isReady = false
  const prepare = (): void => {
    if (isReady) return
    try {
      makeDirectory(directory)
      const stats = lstatSync(directory)
      const wrong = stats.isDirectory() ? objection(directory, stats, uid) : `${directory} is not a directory`
      if (wrong !== undefined) refuse(wrong, `ls -lad ${directory}`)
      isReady = true
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === undefined) throw error
      refuse(`${directory}: ${codeOf(error)}`, 'run it as root')
    }
  }
  const writing = (path: string, body: () => void): void => {
    prepare()
    try {
      body()
    } catch (error) {
      refuse(`${path}: ${codeOf(error)}`, `df ${directory}`)
    }
  }
  const noteOf = (path: string): Note | undefined =>
    attempt(() => {
      const file = `${path}.json`
      return statSync(file).size > NOTE_BYTES ? undefined : decode(readFileSync(file, 'utf8'))
    })
  const all = (): readonly CopyFacts[] => {
    const names = attempt(() => readdirSync(directory)) ?? []
    const found = names.flatMap((name): CopyFacts[] => {
      const path = join(directory, name.slice(0, -'.json'.length))
      const note = name.endsWith('.json') ? noteOf(path) : undefined
      if (note === undefined) return []
      const { kind, source, checkedAt, problem, failures } = note
      const written = attempt(() => statSync(path))
      const goodAt = written && Math.floor(written.mtimeMs / 1000)
      return [{ kind, source, path, goodAt, checkedAt, problem, failures }]
    })
    return found.sort((left, right) => (left.source < right.source ? -1 : 1))
  }
  return {
    directory,
    all,
    note: noteOf,
    content(path) {
      const bytes = attempt(() => readFileSync(path))
      const wanted = /\.([0-9a-f]{16})$/.exec(attempt(() => readlinkSync(path)) ?? '')?.[1]
      return bytes && (wanted === undefined || sha256(bytes).startsWith(wanted)) ? bytes : undefined
    },
    replace(path, content) {
      writing(path, () => {
        const target = `${path}.${sha256(content).slice(0, 16)}`
        write(target, content)
        const link = `${path}.${randomBytes(6).toString('hex')}${PART}`
        symlinkSync(basename(target), link)
        renameSync(link, path)
        sync(directory)
        collect(path)
      })
    },
    renew: (path) =>
      writing(path, () => {
        const now = Date.now() / 1000
        utimesSync(path, now, now)
      }),
    annotate: (path, note) => writing(path, () => write(`${path}.json`, noteBytes(note))),
    forget(known, now) {
      for (const { path, checkedAt } of all()) {
        if (!known.has(path) && now - checkedAt > UNUSED) attempt(() => remove(path))
      }
    },
  }
}

const noteBytes = (note: Note): Buffer => Buffer.from(`${JSON.stringify({ format: FORMAT, ...note }, null, 2)}\n`)

// Files as bytes and text, with a place for every offset. Only this file, trust.ts and glob.ts of the room touch the disk;
// with `Reads.kept` they do not.

import { isUtf8 } from 'node:buffer'
import { createHash } from 'node:crypto'
import { closeSync, constants, fstatSync, openSync, readlinkSync, readSync, type Stats, statSync } from 'node:fs'
import { resolve } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { type Diagnostic, type Location, XdpError } from '../../diagnostics.ts'
import type { KeptFiles, Sources } from '../../model/sources.ts'
import type { OwnHost } from './own-host.ts'
import { type Copies, DEFAULT_COPIES, type Remote } from './remote.ts'
import { withoutSecrets } from './secrets.ts'
import { ANY_FILE, type Trust } from './trust.ts'
import type { Unusable } from './unusable.ts'

export type { Unusable }

/** A config is written by hand, and 4 MiB hold about 100,000 lines. Long lists belong in list files. */
export const CONFIG_LIMIT = 4 * 1024 * 1024
export const LIST_LIMIT = 1024 * 1024 * 1024

/** Every path that reading a config looks at, existing or not, and the result. */
export interface Reads {
  /** The config, then included files, then list files. */
  readonly files: string[]
  /** SHA-256 as hex of each readable file, by path. */
  readonly digests: Map<string, string>
  /** Matches of each pattern. */
  readonly patterns: Map<string, readonly string[]>
  /** By path: when a readable file was written, in Unix seconds, and the content of a config or an included file. */
  readonly found: Map<string, { readonly modifiedAt: number; readonly text: Buffer | undefined }>
  /** Which files may be used. */
  readonly trust: Trust
  /** Read in place of the files on the disk. */
  readonly kept: KeptFiles | undefined
  readonly copies: Copies
  /** Sources in the network that entries name. */
  readonly remotes: Remote[]
  readonly host: OwnHost
}

/** `readHost`: without it, the host has no addresses. */
export const newReads = (
  trust: Trust = ANY_FILE,
  kept?: KeptFiles,
  copies: Copies = DEFAULT_COPIES,
  readHost: OwnHost['read'] = async () => [],
): Reads => ({
  files: [],
  digests: new Map(),
  patterns: new Map(),
  found: new Map(),
  trust,
  kept,
  copies,
  remotes: [],
  host: { read: readHost, addresses: undefined, isNamed: false },
})

/** Forgets all files, so that a config can be read a second time. */
export function forgetFiles({ files, digests, patterns, found, remotes }: Reads): void {
  files.length = 0
  remotes.length = 0
  for (const map of [digests, patterns, found]) map.clear()
}

/** The files and patterns of a config that was read without an error. */
export const sourcesOf = ({ files, digests, found, patterns }: Reads): Sources => ({
  files: files.flatMap((path) => {
    const [sha256, read] = [digests.get(path), found.get(path)]
    return sha256 && read ? [{ path: resolve(path), sha256, ...read }] : []
  }),
  patterns: [...patterns].map(([pattern, matches]) => ({
    pattern: resolve(pattern),
    matches: matches.map((path) => resolve(path)),
  })),
})

export const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

const size = (bytes: number): string => (bytes >= 2 ** 30 ? `${bytes / 2 ** 30} GiB` : `${bytes / 2 ** 20} MiB`)

function kindOf(stats: Stats): string {
  if (stats.isDirectory()) return 'a directory'
  if (stats.isFIFO()) return 'a FIFO'
  if (stats.isSocket()) return 'a socket'
  return 'a device'
}

function unreadable(path: string, cause: unknown): Unusable {
  const code = (cause as NodeJS.ErrnoException).code ?? 'unknown error'
  if (code === 'ENOENT' || code === 'ENOTDIR') return { code: 'E001', message: `${path} does not exist` }
  const why: Readonly<Record<string, string>> = {
    EACCES: 'permission denied',
    EPERM: 'permission denied',
    ELOOP: 'too many symbolic links',
    ENAMETOOLONG: 'the path is too long',
    EIO: 'input/output error',
  }
  const hint = code === 'EACCES' ? `run as root, or let this user read it: setfacl -m u:$(id -u):r ${path}` : undefined
  return { code: 'E002', message: `cannot read ${path}: ${why[code] ?? code}`, ...(hint && { hint }) }
}

/** The content of an open file; undefined if it has more than `limit` bytes, whatever size the kernel reports. */
function readAll(descriptor: number, expected: number, limit: number): Buffer | undefined {
  let buffer = Buffer.allocUnsafe(Math.max(expected, 4096) + 1)
  let length = 0
  for (;;) {
    const count = readSync(descriptor, buffer, length, buffer.length - length, null)
    if (count === 0) return buffer.subarray(0, length)
    length += count
    if (length > limit) return undefined
    if (length === buffer.length) buffer = Buffer.concat([buffer], Math.min(length * 2, limit + 1))
  }
}

/** The content of a regular file on the disk. */
export interface Content {
  readonly bytes: Buffer
  /** Time of the last write; Unix time in seconds. */
  readonly modifiedAt: number
}

/** Reads a regular file. Refuses a FIFO or device before opening it, because opening one can block or have effects. */
export function readFile(path: string, limit: number, trust: Trust = ANY_FILE): Content | Unusable {
  const tooLarge = (): Unusable => ({
    code: 'E003',
    message: `${path} is larger than ${size(limit)}`,
    hint:
      limit === CONFIG_LIMIT
        ? 'move long lists into list files: `{ file: lists/NAME.txt }`'
        : 'split the list into several files',
  })
  try {
    const stats = statSync(path)
    if (!stats.isFile()) {
      return { code: 'E002', message: `${path} is ${kindOf(stats)}`, hint: 'use a regular file' }
    }
    const distrusted = trust.distrust(path)
    if (distrusted) return distrusted
    if (stats.size > limit) return tooLarge()
    const descriptor = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
    try {
      const { size: expected, mtimeMs } = fstatSync(descriptor)
      const bytes = readAll(descriptor, expected, limit)
      return bytes === undefined ? tooLarge() : { bytes, modifiedAt: Math.floor(mtimeMs / 1000) }
    } finally {
      closeSync(descriptor)
    }
  } catch (cause) {
    return unreadable(path, cause)
  }
}

/** Reads a file of a config: a kept one, or a regular file on the disk. */
export function readSource(path: string, limit: number, { trust, kept }: Reads): Content | Unusable {
  if (kept === undefined) return readFile(path, limit, trust)
  const content = kept.read(resolve(path))
  if (content === undefined) return { code: 'E001', message: `${path} is not kept` }
  return { ...content, bytes: Buffer.from(content.bytes.buffer, content.bytes.byteOffset, content.bytes.byteLength) }
}

/** The bytes of a regular file. */
export function readBytes(path: string, limit: number, trust?: Trust): Buffer | Unusable {
  const content = readFile(path, limit, trust)
  return isUnusable(content) ? content : content.bytes
}

/** The content of `bytes`, unpacked if they start like a gzip file; at most `limit` bytes. */
export function unpack(path: string, bytes: Buffer, limit: number): Buffer | Unusable {
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes
  try {
    return gunzipSync(bytes, { maxOutputLength: limit, chunkSize: 1 << 20 })
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    if (code === 'ERR_BUFFER_TOO_LARGE') {
      const message = `${path} unpacks to more than ${size(limit)}`
      return { code: 'E003', message, hint: 'split the list into several files' }
    }
    const why = code === 'Z_BUF_ERROR' ? 'ends too early' : 'is damaged'
    return {
      code: 'E035',
      message: `${path} is a gzip file that ${why}`,
      hint: 'fetch it again; `gzip -t FILE` checks it',
    }
  }
}

/** The path that a symbolic link holds; undefined: there is no link. */
export function linkTarget(path: string): string | undefined {
  try {
    return readlinkSync(path)
  } catch {
    return undefined
  }
}

/** Identifies a file under all of its names, links included; undefined if it does not exist. */
export function identityOf(path: string): string | undefined {
  try {
    const { dev, ino } = statSync(path, { bigint: true })
    return `${dev}:${ino}`
  } catch {
    return undefined
  }
}

/** Like identityOf, for a file of a config. */
export const identityIn = ({ kept }: Pick<Reads, 'kept'>, path: string): string | undefined =>
  kept ? kept.identityOf(resolve(path)) : identityOf(path)

/** Whether a result of `readFile` or `checkText` is a reason and not the content. */
export const isUnusable = (value: object): value is Unusable => 'code' in value && 'message' in value

const NEWLINE = 0x0a

/** The line of `bytes` that starts at `from`, without its line end. */
export function lineAt(bytes: Buffer, from: number): Buffer {
  const newline = bytes.indexOf(NEWLINE, from)
  const end = newline < 0 ? bytes.length : newline
  return bytes.subarray(from, end > from && bytes[end - 1] === 0x0d ? end - 1 : end)
}

/** Longest line that is quoted in an error, in bytes. */
const SHOWN_LINE = 65_536

/** The place of the first byte for which `test` returns an offset into its line; -1 means none in that line. */
function findLine(path: string, bytes: Buffer, test: (line: Buffer) => number): Location | undefined {
  for (let from = 0, line = 1; from <= bytes.length; line++) {
    const content = lineAt(bytes, from)
    const offset = test(content)
    if (offset >= 0) {
      if (content.length > SHOWN_LINE) return { file: path, line, column: offset + 1, length: 1 }
      const column = content.toString('utf8', 0, offset).length + 1
      return { file: path, line, column, length: 1, text: withoutSecrets(content.toString()) }
    }
    const newline = bytes.indexOf(NEWLINE, from)
    if (newline < 0) return undefined
    from = newline + 1
  }
  return undefined
}

/** Whether `bytes` are UTF-8, except for a last character that may be cut off. */
const startsUtf8 = (bytes: Buffer): boolean =>
  [0, 1, 2, 3].some((cut) => cut <= bytes.length && isUtf8(bytes.subarray(0, bytes.length - cut)))

/** Offset of the first byte of `line` that is not UTF-8, or -1. */
function badByte(line: Buffer): number {
  if (isUtf8(line)) return -1
  let good = 0
  let bad = line.length + 1
  while (bad - good > 1) {
    const middle = (good + bad) >>> 1
    if (startsUtf8(line.subarray(0, middle))) good = middle
    else bad = middle
  }
  while (!isUtf8(line.subarray(0, good))) good--
  return good
}

/** Bytes of the UTF-8 byte order mark at the start of `bytes`: 3 or 0. */
export const markLength = (bytes: Buffer): number =>
  bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? 3 : 0

/** Why `bytes` are not text: another encoding, invalid UTF-8, or NUL bytes; undefined if they are text. */
export function checkText(path: string, bytes: Buffer): Unusable | undefined {
  const mark = bytes.length >= 2 ? bytes.readUInt16BE(0) : 0
  if (mark === 0xfffe || mark === 0xfeff) {
    const hint = `convert it: iconv -f UTF-16 -t UTF-8 ${path}`
    return { code: 'E004', message: `${path} is UTF-16, not UTF-8`, hint }
  }
  if (!isUtf8(bytes)) {
    const at = findLine(path, bytes, badByte)
    const hint = 'save the file as UTF-8'
    return { code: 'E004', message: `${path} is not UTF-8`, hint, ...(at && { at }) }
  }
  if (bytes.includes(0)) {
    const at = findLine(path, bytes, (line) => line.indexOf(0))
    return { code: 'E004', message: `${path} is not text: it contains a NUL byte`, ...(at && { at }) }
  }
  return undefined
}

/** Throws the reason as a single error. */
export function refuse({ code, message, hint, at }: Unusable): never {
  const diagnostic: Diagnostic = { code, severity: 'error', message, ...(hint && { hint }), ...(at && { at }) }
  throw new XdpError([diagnostic])
}

/** A text with a place for every offset. */
export interface Source {
  readonly path: string
  readonly text: string
  /** The line (from 1) that holds offset `from`. */
  lineOf(from: number): number
  /** `[from, to)`, cut at the end of its first line and at least one column. */
  locate(from: number, to: number): Location
}

export function createSource(path: string, text: string): Source {
  const starts = [0]
  for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) starts.push(at + 1)
  const lineOf = (offset: number): number => {
    let low = 0
    let high = starts.length
    while (high - low > 1) {
      const middle = (low + high) >>> 1
      if ((starts[middle] as number) <= offset) low = middle
      else high = middle
    }
    return low + 1
  }
  // One line may hold tens of thousands of values, all of which are located.
  let last = { line: 0, shown: '' }
  const shownLine = (line: number): string => {
    if (last.line !== line) {
      const end = starts[line] === undefined ? text.length : (starts[line] as number) - 1
      last = { line, shown: withoutSecrets(text.slice(starts[line - 1], end).replace(/\r$/, '')) }
    }
    return last.shown
  }
  return {
    path,
    text,
    lineOf,
    locate(from, to) {
      const line = lineOf(from)
      const start = starts[line - 1] as number
      const shown = shownLine(line)
      const length = Math.max(1, Math.min(to, start + shown.length) - from)
      return { file: path, line, column: from - start + 1, length, text: shown }
    },
  }
}

// The fetch room: downloads `url:` lists and looks up `host:` names, and replaces the copies on this host. A content becomes the
// copy only if every entry that names the source can read it, and if it did not shrink too much. So whatever a server
// sends, `plan` and `apply` read a copy that was good once.

import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { Remote } from '../config/text/remote.ts'
import { isUnusable } from '../config/text/source.ts'
import type { Diagnostic } from '../diagnostics.ts'
import { formatCount } from '../model/numbers.ts'
import type { Fetched } from '../report/fetch.ts'
import { BOUNDS, type Bounds, download } from './download.ts'
import { Failure } from './failure.ts'
import { type Lookup, openLookup, resolve } from './resolve.ts'
import type { Note, Store } from './store.ts'

/** All entries that name one source. */
export type Group = readonly [Remote, ...Remote[]]

/** Groups entries by their source, in the order of the first ones. */
export function groupsOf(remotes: readonly Remote[]): Group[] {
  const groups = new Map<string, [Remote, ...Remote[]]>()
  for (const remote of remotes) {
    const known = groups.get(remote.path)
    if (known) known.push(remote)
    else groups.set(remote.path, [remote])
  }
  return [...groups.values()]
}

export interface FetchPorts {
  readonly store: Store
  readonly signal?: AbortSignal | undefined
  /** Unix time in milliseconds. */
  readonly clock: () => number
  /** Accept contents that shrank. */
  readonly acceptShrink?: boolean
  readonly lookup?: Lookup
  readonly bounds?: Omit<Bounds, 'maxBytes'>
}

const HOUR = 3_600_000
const MINUTE = 60_000

/** Milliseconds between two fetches of a source that works. */
export function periodOf(group: Group, validMs: number | undefined): number {
  const written = group.flatMap(({ refreshMs }) => refreshMs ?? [])
  if (group[0].kind === 'url') return Math.max(validMs ?? 0, Math.min(...(written.length > 0 ? written : [HOUR])))
  return Math.max(MINUTE, Math.min(validMs ?? MINUTE, ...written))
}

/** A content that a source offers; undefined: it still has that of the copy. */
interface Offer {
  readonly bytes: Buffer | undefined
  readonly etag: string | undefined
  readonly lastModified: string | undefined
  readonly validMs: number | undefined
}

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

function authorities(path: string | undefined): Buffer | undefined {
  if (path === undefined) return undefined
  try {
    return readFileSync(path)
  } catch (error) {
    throw new Failure(`its \`ca\` cannot be read: ${path}: ${(error as NodeJS.ErrnoException).code}`)
  }
}

async function offerOf(
  group: Group,
  before: Buffer | undefined,
  note: Note | undefined,
  ports: FetchPorts,
): Promise<Offer> {
  const [{ kind, name, maxBytes }] = group
  const none = { etag: undefined, lastModified: undefined, validMs: undefined }
  if (kind === 'host') {
    const { text, validMs } = await resolve(name, ports.lookup ?? openLookup(), before?.toString())
    const bytes = Buffer.from(text)
    return { ...none, bytes: before?.equals(bytes) ? undefined : bytes, validMs }
  }
  const bounds = { ...BOUNDS, ...ports.bounds, maxBytes }
  const ca = authorities(group.find((remote) => remote.ca !== undefined)?.ca)
  // The tags are of the content that is there, or of one that was not taken.
  const isOfCopy = before !== undefined && note?.sha256 === sha256(before)
  const [etag, lastModified] = isOfCopy ? [note.etag, note.lastModified] : []
  const answer = await download({ url: name, ca, etag, lastModified, bounds, signal: ports.signal })
  if (answer.kind === 'same') return { bytes: undefined, etag, lastModified, validMs: undefined }
  const isSame = before?.equals(answer.bytes) ?? false
  return { ...none, ...answer, bytes: isSame ? undefined : answer.bytes }
}

/** The result of every entry for a content. Throws Failure if one of them cannot read it. */
function prefixesIn(bytes: Buffer, group: Group): number[] {
  return group.map(({ examine, list }) => {
    const found = examine(bytes)
    if (isUnusable(found)) throw new Failure(`list ${list} cannot read it: ${found.message}`, found.hint)
    return found.prefixes
  })
}

/** Like prefixesIn; undefined without a copy that is still readable. */
function prefixesBefore(bytes: Buffer | undefined, group: Group): number[] | undefined {
  const found = bytes && group.map(({ examine }) => examine(bytes))
  return found?.some(isUnusable) ? undefined : found?.map((one) => (one as { readonly prefixes: number }).prefixes)
}

/** The warning if a content lost too much for one of the entries. */
function shrunken(group: Group, before: readonly number[], after: readonly number[]): Diagnostic | undefined {
  for (const [index, { list, shown, maxShrink, at }] of group.entries()) {
    const [had, has] = [before[index] ?? 0, after[index] ?? 0]
    if (had - has <= had * maxShrink) continue
    const message =
      `${shown} has ${formatCount(has)} prefixes for list ${list}, and the copy has ${formatCount(had)}; ` +
      `max_shrink is ${Math.round(maxShrink * 100)}%, so the copy stays`
    const hint = 'check the source; to accept it: xdp fetch --accept-shrink'
    return { code: 'W263', severity: 'warning', message, hint, at }
  }
  return undefined
}

const sum = (counts: readonly number[] | undefined): number | undefined =>
  counts?.reduce((total, count) => total + count, 0)

/** Fetches one source. Throws XdpError only if the copies cannot be written. */
export async function fetchSource(group: Group, ports: FetchPorts): Promise<Fetched> {
  const { store, clock } = ports
  const [{ kind, shown, path, at }] = group
  const [before, note] = [store.content(path), store.note(path)]
  const had = prefixesBefore(before, group)
  const common = { kind, source: shown, lists: [...new Set(group.map(({ list }) => list))], path }
  const checkedAt = Math.floor(clock() / 1000)
  const noted = { kind, source: shown, checkedAt, problem: undefined, failures: 0 }
  const unsuccessful = (
    outcome: 'kept' | 'failed',
    problem: Diagnostic,
    offered: number | undefined,
    bytes: number,
    validMs: number | undefined,
  ): Fetched => {
    const tags = { sha256: note?.sha256, etag: note?.etag, lastModified: note?.lastModified }
    // The end of this process says nothing about the source.
    if (!ports.signal?.aborted) {
      store.annotate(path, { ...noted, ...tags, problem: problem.message, failures: (note?.failures ?? 0) + 1 })
    }
    return { ...common, outcome, prefixes: sum(had), offered, bytes, problem, validMs }
  }
  try {
    const { bytes, etag, lastModified, validMs } = await offerOf(group, before, note, ports)
    const content = bytes ?? (before as Buffer)
    const after = bytes ? prefixesIn(bytes, group) : had
    const warning = bytes && had && after && !ports.acceptShrink ? shrunken(group, had, after) : undefined
    if (warning) return unsuccessful('kept', warning, sum(after), content.length, validMs)
    if (bytes) store.replace(path, bytes)
    else store.renew(path)
    store.annotate(path, { ...noted, sha256: sha256(content), etag, lastModified })
    const outcome = bytes === undefined ? 'unchanged' : before === undefined ? 'new' : 'updated'
    const prefixes = sum(after)
    return { ...common, outcome, prefixes, offered: prefixes, bytes: bytes?.length ?? 0, problem: undefined, validMs }
  } catch (error) {
    if (!(error instanceof Failure)) throw error
    const { message, hint } = error
    const problem: Diagnostic = {
      code: 'E264',
      severity: 'error',
      message: `${shown}: ${message}${before ? '; the last good copy stays' : ''}`,
      at,
      ...(hint === undefined ? {} : { hint }),
    }
    return unsuccessful('failed', problem, undefined, 0, error.pauseMs)
  }
}

// Remembers applies, and reads what the history says: how each apply stands now, which policy is in force in place of
// that of the file, and the configs of earlier applies.

import { basename, resolve } from 'node:path'
import { confirmationOf, generationOf } from '../abi/paths.ts'
import { fail, XdpError } from '../diagnostics.ts'
import { type History, isDamaged } from '../history/history.ts'
import { entryBefore, type Held, heldOver, inForce, isRepetition, rollbackInForce } from '../history/standing.ts'
import { operator, ownProcess, runs } from '../kernel/host/operator.ts'
import { readReverted } from '../kernel/host/pending.ts'
import { readWatcher } from '../kernel/host/watcher.ts'
import { list } from '../kernel/tools/pins.ts'
import type { Desired } from '../model/desired.ts'
import type { KeptContent, KeptFiles, Overruled } from '../model/sources.ts'
import type { Plan } from '../plan/change.ts'
import { briefOf } from '../plan/summary.ts'
import type { DamagedEntry, EntryResult, HistoryEntry, StoredEntry } from '../report/history.ts'
import { type Host, interruptible, type Session, sessionOf } from './session.ts'

export type { Held }

/**
 * How an apply stands now. Its process makes the marker of a confirmation after the entry. Without a marker the policy was
 * confirmed if its generation is still there, which a revert and a boot remove: `xdp confirm` could not record it.
 */
async function resultNow(host: Host, { result, confirmation, writer, generation }: StoredEntry): Promise<EntryResult> {
  if (result === 'running') return (await runs(writer)) ? 'running' : 'interrupted'
  if (result !== 'pending' || confirmation === undefined) return result
  const { paths } = sessionOf(host)
  const names = await list(paths.instance)
  if (names.some((name) => confirmationOf(name)?.id === confirmation)) return 'pending'
  if ((await readReverted(host).catch(() => undefined))?.id === confirmation) return 'reverted'
  if (generation !== undefined && names.includes(basename(paths.generation(generation)))) return 'confirmed'
  return (await runs(writer)) ? 'pending' : 'reverted'
}

/**
 * Records how confirmations ended, before an apply that may reuse the number of a generation, and forgets the revert. Needs
 * the lock of the instance.
 */
async function settleConfirmations(host: Host): Promise<void> {
  for (const entry of host.history?.entries() ?? []) {
    if (isDamaged(entry) || entry.result !== 'pending') continue
    const result = await resultNow(host, entry)
    if (result === 'confirmed' || result === 'reverted') host.history?.settle(entry.number, result)
  }
}

/** The history; throws E238 where none is kept. */
function historyOf({ history }: Host): History {
  if (history) return history
  throw fail('E238', 'this user keeps no history', 'run it with sudo, or set STATE_DIRECTORY')
}

/** Every entry, newest first. */
async function allEntries(host: Host): Promise<readonly (HistoryEntry | DamagedEntry)[]> {
  const stored = host.history?.entries() ?? []
  return Promise.all(
    stored.map(async (entry) => (isDamaged(entry) ? entry : { ...entry, result: await resultNow(host, entry) })),
  )
}

const isReadable = (entry: HistoryEntry | DamagedEntry): entry is HistoryEntry => 'result' in entry

/** The entries that can be read, newest first. */
export const readableEntries = async (host: Host): Promise<readonly HistoryEntry[]> =>
  (await allEntries(host)).filter(isReadable)

/** Every entry, newest first. Throws E238 if the history cannot be read. */
export const listHistory = (host: Host): Promise<readonly (HistoryEntry | DamagedEntry)[]> =>
  interruptible(host, async () => {
    const history = historyOf(host)
    const entries = await allEntries(host)
    if (history.problem !== undefined) throw unusable(history)
    return entries
  })

const unusable = ({ problem, directory }: History): XdpError =>
  fail('E238', `the history cannot be read: ${problem}`, `ls -l ${directory}`)

/** Whether the kernel has a policy of the instance: a destroy and a boot leave none. */
async function isApplied(host: Host): Promise<boolean> {
  const names = await list(sessionOf(host).paths.instance)
  return names.some((name) => generationOf(name) !== undefined)
}

/** Number of the entry whose policy is in force; undefined: none is. */
export async function currentOf(
  host: Host,
  entries: readonly (HistoryEntry | DamagedEntry)[],
): Promise<number | undefined> {
  return (await isApplied(host)) ? inForce(entries.filter(isReadable))?.number : undefined
}

/** An entry by its number. Throws E235 if there is none, E236 if it is damaged. */
export async function findEntry(host: Host, number: number): Promise<HistoryEntry> {
  const entries = await listHistory(host)
  const entry = entries.find((one) => one.number === number)
  if (entry === undefined) {
    const [newest, oldest] = [entries[0]?.number, entries.at(-1)?.number]
    const what = newest === undefined ? 'the history is empty' : `it has ${oldest} to ${newest}`
    throw fail('E235', `the history has no apply ${number}: ${what}`, '`xdp history` lists the applies')
  }
  if (isReadable(entry)) return entry
  throw fail(
    'E236',
    `the entry ${number} of the history cannot be used: ${entry.problem}`,
    'use another one: `xdp history`',
  )
}

/** The entry of the policy before the one in force; if none is, of the last one that was. Throws E235 if there is none. */
export async function findPrevious(host: Host): Promise<HistoryEntry> {
  const entries = (await listHistory(host)).filter(isReadable)
  const entry = (await isApplied(host)) ? entryBefore(entries) : inForce(entries)
  if (entry) return entry
  const hint = '`xdp history` lists the applies; name one: xdp rollback N'
  throw fail('E235', 'the history has no earlier policy to go back to', hint)
}

/** A kept file of an entry. Throws E236 or E237 if its content is neither kept nor on the disk. */
function contentOf(
  history: History,
  { number, files }: HistoryEntry,
  path: string,
  onDisk: (path: string) => Uint8Array | undefined,
): KeptContent | undefined {
  const file = files.find((one) => one.path === path)
  if (file === undefined) return undefined
  const { sha256, modifiedAt, kind } = file
  const bytes = history.content(sha256) ?? onDisk(path)
  if (bytes) return { bytes, modifiedAt }
  if (kind === 'list' && !history.has(sha256)) {
    const why = `the history does not keep the content of ${path} (too long, or edited during the apply), and the file has changed since`
    throw fail('E237', `the apply ${number} cannot be restored: ${why}`, `restore the file with SHA-256 ${sha256}`)
  }
  throw fail('E236', `the apply ${number} cannot be restored: the kept content of ${path} is missing or damaged`)
}

/**
 * The files of an entry, to read its config from.
 *
 * @param onDisk reads a file that still has the content with this digest; undefined: it has not
 */
export function filesOf(
  host: Host,
  entry: HistoryEntry,
  onDisk: (path: string, sha256: string) => Uint8Array | undefined,
): KeptFiles {
  const history = historyOf(host)
  const digestOf = (path: string): string | undefined => entry.files.find((one) => one.path === path)?.sha256
  return {
    read: (path) => contentOf(history, entry, path, (named) => onDisk(named, digestOf(named) ?? '')),
    identityOf: digestOf,
    matches: (pattern) => entry.patterns.find((one) => one.pattern === pattern)?.matches ?? [],
  }
}

/** Contents of the config and its included files, by path; undefined: not kept. */
export const textsOf = (host: Host, { files }: HistoryEntry): readonly (readonly [string, string | undefined])[] =>
  files
    .filter(({ kind }) => kind === 'config')
    .map(({ path, sha256 }) => {
      const bytes = host.history?.content(sha256)
      return [path, bytes && Buffer.from(bytes).toString()] as const
    })

/** Digests of files of an entry whose content is not kept. */
export const lostOf = (host: Host, { files }: HistoryEntry): readonly string[] =>
  files.filter(({ sha256 }) => !host.history?.has(sha256)).map(({ path }) => path)

/** The policy in force in place of that of this config; undefined: the file decides. Never throws for the history. */
export async function readHeld(host: Host, { config }: Pick<Desired, 'config'>): Promise<Held | undefined> {
  return host.history && heldOver(await readableEntries(host), config.sha256)
}

/**
 * Throws E239 if the history says by now that another config holds than the one that the daemon is about to apply. Needs
 * the lock of the instance.
 */
export async function refuseOverruled(host: Host, { config, restored }: Desired): Promise<void> {
  if (!host.history) return
  const entries = await readableEntries(host)
  const all = (restored ? restored.overrules.sha256 : [config.sha256]).flatMap((one) => heldOver(entries, one) ?? [])
  const held = all.find(({ by }) => by !== undefined)
  if (restored ? held?.by?.config.sha256 === config.sha256 : held === undefined) return
  const { path } = config
  if (held === undefined) throw fail('E239', 'the rollback that the daemon kept is over', `xdp apply -f ${path}`)
  const what = `the policy of apply ${held.by?.number} holds until ${path} changes`
  throw fail('E239', what, `edit ${path}, or apply it all the same: xdp apply -f ${path}`)
}

/** Throws E231 if the config is that of an apply that was not confirmed, and there was no policy before. */
export async function refuseUnconfirmed(host: Host, desired: Pick<Desired, 'config'>): Promise<void> {
  const held = await readHeld(host, desired)
  if (held?.why !== 'unconfirmed' || held.by !== undefined) return
  const { path } = desired.config
  const what = `the apply ${held.over.confirmation} of this config was not confirmed, and no policy was in force before`
  throw fail('E231', what, `edit ${path}, or apply it all the same: xdp apply -f ${path}`)
}

/** The rollback whose policy is in force, or was before the programs were removed. */
export const readRollback = async (host: Host): Promise<HistoryEntry | undefined> =>
  host.history && rollbackInForce(await readableEntries(host))

/**
 * The config file that a rollback overrules: the one that the daemon follows, else that of the last apply.
 *
 * @param digest of a config as it is on the disk now; undefined if it is missing or invalid
 */
export async function overruledBy(
  host: Host,
  entry: HistoryEntry,
  digest: (path: string) => Promise<string | undefined>,
): Promise<Overruled> {
  const watched = (await readWatcher(host))?.config
  const last = inForce(await readableEntries(host)) ?? entry
  const path = watched?.path ?? last.overrules?.path ?? last.config.path
  const now = await digest(path)
  const later = [watched?.sha256, last.config.sha256, ...(last.overrules?.sha256 ?? [])]
  const sha256 = now === undefined ? later.flatMap((one) => one ?? []) : [now]
  return { path, sha256: [...new Set(sha256)].filter((one) => one !== entry.config.sha256) }
}

/** An apply that is to be remembered. */
export interface Remembered {
  /** Runs the apply, and records how it ends. */
  readonly during: <T>(body: () => Promise<T>, generationOf: (result: T) => number) => Promise<T>
}

const UNREMEMBERED: Remembered = { during: (body) => body() }

/** Names of lists that keep other content than that of the config. */
const distrustedIn = ({ state }: Desired, plan: Plan): string[] =>
  [...state.lists].filter(([name, wanted]) => plan.state.lists.get(name) !== wanted).map(([name]) => name)

/**
 * Prepares to remember an apply of this plan: keeps the contents of its files, before a user thinks about the plan and
 * perhaps edits them. Needs the lock of the instance. Never throws for a fault of the history.
 *
 * @param confirmation the id of the confirmation that the apply waits for
 */
export async function remember(
  { host }: Session,
  desired: Desired,
  plan: Plan,
  confirmation: string | undefined,
): Promise<Remembered> {
  const { history } = host
  const { sources, restored, config } = desired
  if (!history || plan.changes.length === 0) return UNREMEMBERED
  await settleConfirmations(host)
  if (!sources) return UNREMEMBERED
  if (isRepetition(await readableEntries(host), config.sha256)) return UNREMEMBERED
  history.bound(desired.history)
  history.keep(sources.files)
  return {
    async during(body, generationOf) {
      const number = history.add({
        at: new Date().toISOString(),
        writer: await ownProcess(),
        action: restored ? 'rollback' : 'apply',
        ...(restored && { restores: restored.entry, overrules: restored.overrules }),
        config: { path: resolve(config.path), sha256: config.sha256 },
        result: confirmation === undefined ? 'running' : 'pending',
        ...(confirmation !== undefined && { confirmation }),
        by: operator(),
        plan: briefOf(plan.changes),
        distrusted: distrustedIn(desired, plan),
        files: sources.files.map(({ path, sha256, modifiedAt, text }) => {
          return { path, sha256, modifiedAt, kind: text === undefined ? 'list' : 'config' }
        }),
        patterns: sources.patterns,
      })
      if (number === undefined) return body()
      try {
        const result = await body()
        history.settle(number, confirmation === undefined ? 'applied' : 'pending', generationOf(result))
        return result
      } catch (error) {
        const isMixed = !(error instanceof XdpError) || error.diagnostics.some(({ code }) => code === 'E111')
        if (isMixed) history.settle(number, 'failed')
        else history.remove(number)
        throw error
      }
    },
  }
}

/** Records that an apply was confirmed. Needs the lock of the instance. */
export function recordConfirmed({ history }: Host, id: string): void {
  const entry = history?.entries().find((one) => !isDamaged(one) && one.confirmation === id)
  if (entry) history?.settle(entry.number, 'confirmed')
}

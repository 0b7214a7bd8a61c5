// Reads configs of the history, and finds the one that is in force in place of that of the file.

import { resolve } from 'node:path'
import { type Loaded, loadConfig } from '../config/load.ts'
import { type Copies, DEFAULT_COPIES } from '../config/text/remote.ts'
import { isUnusable, LIST_LIMIT, newReads, readBytes, sha256 } from '../config/text/source.ts'
import type { Trust } from '../config/text/trust.ts'
import { fail, XdpError } from '../diagnostics.ts'
import { readOwnAddresses } from '../kernel/host/protect.ts'
import type { Overruled } from '../model/sources.ts'
import { filesOf, type Held, overruledBy } from '../pipelines/history.ts'
import type { Host } from '../pipelines/session.ts'
import type { Accepted } from '../plan/feeds.ts'
import type { HistoryEntry } from '../report/history.ts'

/** Only root may read the history, so that no line of it appears in a message. */
const KEPT: Trust = { distrust: () => undefined, isPrivate: () => true }

/** Where the copies of sources in the network are. */
const copiesOf = ({ copies }: Host): Copies => ({ ...DEFAULT_COPIES, ...copies })

/** Reads a list file that the history does not keep, if it still has this content. */
const unchanged =
  (trust: Trust | undefined) =>
  (path: string, digest: string): Uint8Array | undefined => {
    const bytes = readBytes(path, LIST_LIMIT, trust)
    return isUnusable(bytes) || sha256(bytes) !== digest ? undefined : bytes
  }

/**
 * The config of an entry, read from the history as it was read then. Throws E236 or E237 if a part of it is gone, and the
 * errors of a config that this version refuses.
 *
 * @param trust for list files that are not kept
 */
export async function loadEntry(
  host: Host,
  entry: HistoryEntry,
  overrules: Overruled,
  trust: Trust | undefined,
): Promise<Loaded> {
  const reads = newReads(KEPT, filesOf(host, entry, unchanged(trust)), copiesOf(host), readOwnAddresses)
  const { desired, warnings } = await loadConfig(entry.config.path, { reads })
  if (desired.config.sha256 !== entry.config.sha256) {
    throw fail('E236', `the apply ${entry.number} cannot be restored: its files do not make up its config`)
  }
  return { desired: { ...desired, restored: { entry: entry.number, overrules } }, warnings }
}

/** The config that is in force in place of that of the file. Throws like loadEntry. */
export async function loadHeld(
  host: Host,
  { over, by }: Held & { readonly by: HistoryEntry },
  { desired }: Loaded,
  trust: Trust | undefined,
): Promise<Loaded> {
  const { path, sha256: digest } = desired.config
  return loadEntry(host, by, over.overrules ?? { path: resolve(path), sha256: [digest] }, trust)
}

/** The config file that a rollback to the entry overrules. */
export const overruledNow = (host: Host, entry: HistoryEntry, trust: Trust | undefined): Promise<Overruled> =>
  overruledBy(host, entry, (path) =>
    loadConfig(path, { shelf: { cache: host.cache }, reads: newReads(trust, undefined, copiesOf(host)) }).then(
      ({ desired }) => desired.config.sha256,
      (error: unknown) => {
        if (!(error instanceof XdpError)) throw error
        return undefined
      },
    ),
  )

/**
 * The feeds and cuts that the planner accepts for the config of an entry. Its feeds were accepted at the time, unless a
 * guard held some back: then it decides again.
 */
export const acceptedFor = ({ distrusted }: HistoryEntry, accepted: Accepted): Accepted =>
  distrusted.length > 0 ? accepted : { ...accepted, acceptShrink: true, acceptGrowth: true }

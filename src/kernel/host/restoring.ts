// The record of a restore of saved bans that has begun (`bans.persist`): a file in /run/xdp, which ends with the boot. Until
// the restore is complete, writers of bans note in it what they change, so that a restore that goes on later neither lifts nor
// brings back a ban against the operator. The first line names the file; each other line is a change.

import { closeSync, constants, openSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { codeOf, writeWhole } from '../../cache/directory.ts'
import type { Ban, BanLabels } from '../../model/ban.ts'
import { formatAddress, type Prefix } from '../../model/text.ts'
import { explain, instanceFile, runDirectory } from '../tools/exchange.ts'
import type { Host } from './host.ts'

type Which = Pick<Host, 'bpffs' | 'instance'>

/** A change by an operator. `remove` concerns bans that carry the labels, an empty one any; `add` replaces every ban. */
export interface NotedChange {
  readonly op: 'add' | 'remove'
  /** undefined: of every prefix. */
  readonly prefix: Prefix | undefined
  readonly labels: BanLabels
}

/** A change as read. `prefix` is a text; null: every prefix. */
interface Noted extends BanLabels {
  readonly op: string
  readonly prefix: string | null
}

/** The facts of a restore. `boot`: that of this kernel; `of`: that of the saved bans. */
interface Begun {
  readonly boot: string
  readonly of: string
  readonly file: string
}

export interface Restoring extends Begun {
  readonly changes: readonly Noted[]
}

const recordFile = ({ bpffs, instance }: Which): Promise<string> => instanceFile(bpffs, instance, 'restoring.jsonl')

export const textOf = ({ family, start, length }: Prefix): string => `${formatAddress(family, start)}/${length}`

function parseLine(line: string): unknown {
  try {
    return JSON.parse(line)
  } catch {
    // Of a writer that was killed.
    return undefined
  }
}

/** The restore that has begun and is not complete, if one has. */
export async function readRestoring(which: Which): Promise<Restoring | undefined> {
  let text: string
  try {
    text = readFileSync(await recordFile(which), 'utf8')
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined
    throw explain(error)
  }
  const [begun, ...changes] = text.split('\n').map(parseLine)
  if (begun === undefined) return undefined
  return { ...(begun as Begun), changes: changes.filter((change) => change !== undefined) as Noted[] }
}

/** Begins a restore, or goes on with it: changes since its first begin stay noted. Throws E104 or E115. */
export async function beginRestoring(which: Which, begun: Begun): Promise<void> {
  const known = await readRestoring(which)
  if (known?.boot === begun.boot && known.of === begun.of && known.file === begun.file) return
  await runDirectory()
  const file = await recordFile(which)
  try {
    writeFileSync(`${file}.part`, `${JSON.stringify(begun)}\n`, { mode: 0o600 })
    renameSync(`${file}.part`, file)
  } catch (error) {
    throw explain(error)
  }
}

/** Forgets a restore. A record that stays only costs time: its bans are restored, so that nothing reads it. */
export async function endRestoring(which: Which): Promise<void> {
  const file = await recordFile(which)
  try {
    rmSync(file, { force: true })
  } catch {
    // /run is read-only.
  }
}

/** Notes changes, before they are made, if a restore is not complete. */
export async function noteChanges(which: Which, changes: readonly NotedChange[]): Promise<void> {
  if (changes.length === 0) return
  const file = await recordFile(which)
  const lines = changes.map(({ op, prefix, labels: { by, reason } }) =>
    JSON.stringify({ op, prefix: prefix ? textOf(prefix) : null, by, reason }),
  )
  let descriptor: number
  try {
    descriptor = openSync(file, constants.O_WRONLY | constants.O_APPEND)
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return
    throw explain(error)
  }
  try {
    // The line of a writer that was killed may lack its end.
    writeWhole(descriptor, [Buffer.from(`\n${lines.join('\n')}\n`)])
  } catch (error) {
    throw explain(error)
  } finally {
    closeSync(descriptor)
  }
}

/** Whether a saved ban is one that changes concern, so that it is not to be restored. */
export function concernedBy(
  changes: readonly Noted[],
  concerns: (change: Noted) => boolean = () => true,
): (ban: Pick<Ban, 'prefix' | 'by' | 'reason'>) => boolean {
  const wanted = changes.filter(concerns)
  if (wanted.length === 0) return () => false
  const everywhere = wanted.filter(({ prefix }) => prefix === null)
  const byPrefix = new Map<string | null, Noted[]>()
  for (const change of wanted) byPrefix.set(change.prefix, [...(byPrefix.get(change.prefix) ?? []), change])
  return (ban) => {
    const matches = ({ op, by, reason }: Noted): boolean =>
      op === 'add' || ((by === '' || by === ban.by) && (reason === '' || reason === ban.reason))
    return everywhere.some(matches) || (byPrefix.get(textOf(ban.prefix)) ?? []).some(matches)
  }
}

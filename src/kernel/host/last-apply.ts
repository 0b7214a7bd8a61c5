// The record of the last apply of an instance: one JSON file in /run/xdp, replaced in one go. It is for people and
// provisioning tools; nothing of ours decides by it, and no apply fails for it.

import { createHash } from 'node:crypto'
import { readFile, rename, rm, writeFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { CODES } from '../../diagnostics.ts'
import type { LastApply, ProcessIdentity } from '../../report/last-apply.ts'
import { isAlive, ownPrefix, pidNamespace, RUN, runDirectory } from '../tools/exchange.ts'
import type { Host } from './host.ts'

type Which = Pick<Host, 'bpffs' | 'instance'>

/** The mount whose instance `default` has the plain name. */
const USUAL_BPFFS = '/sys/fs/bpf'

/**
 * Where the record is: `last-apply.json` for the instance `default` of the usual bpffs, `last-apply.NAME.json` for its
 * others, `last-apply.NAME.HASH.json` (first 12 hex digits of the SHA-256 of the mount's path) for those of other mounts.
 */
export function lastApplyFile({ bpffs, instance }: Which): string {
  const mount = resolve(bpffs)
  if (mount === USUAL_BPFFS) return `${RUN}/last-apply.${instance === 'default' ? '' : `${instance}.`}json`
  return `${RUN}/last-apply.${instance}.${createHash('sha256').update(mount).digest('hex').slice(0, 12)}.json`
}

/** Replaces the record. Where that is not possible (not permitted, /run full or read-only) the old one stays. */
export async function writeLastApply(which: Which, render: (self: ProcessIdentity) => string): Promise<void> {
  try {
    const directory = await runDirectory()
    const text = render({ pid: process.pid, pid_namespace: await pidNamespace() })
    // A name that the collector of exchange files knows, should we be killed between the two steps.
    const partial = `${directory}/${await ownPrefix(process.pid)}last-apply`
    try {
      await writeFile(partial, text, { mode: 0o600 })
      await rename(partial, lastApplyFile(which))
    } finally {
      await rm(partial, { force: true })
    }
  } catch {
    // The apply itself tells its result.
  }
}

/** Removes the record, as nothing of the instance is left that it could be about. */
export async function removeLastApply(which: Which): Promise<void> {
  await rm(lastApplyFile(which), { force: true }).catch(() => undefined)
}

/** The record, if there is one that can be read. A process that is gone without having ended it was killed. */
export async function readLastApply(which: Which): Promise<LastApply | undefined> {
  try {
    const record = parseLastApply(await readFile(lastApplyFile(which), 'utf8'))
    if (record?.result !== 'running') return record
    const gone = record.pid_namespace === (await pidNamespace()) && !isAlive(record.pid)
    return gone ? { ...record, result: 'killed' } : record
  } catch {
    return undefined
  }
}

const isText = (value: unknown): value is string => typeof value === 'string'

/** undefined where it is not a record that this version can show: damaged, or left by a later version. */
function parseLastApply(text: string): LastApply | undefined {
  // What is absent is null in JSON and undefined in the model.
  const read = JSON.parse(text, (_, value) => value ?? undefined) as Partial<LastApply>
  const { result, instance, bpffs, pid, pid_namespace, started_at, changes = [], config, error } = read
  if (![result, instance, bpffs, pid_namespace, started_at].every(isText)) return undefined
  if (!Number.isInteger(pid) || !Array.isArray(changes) || typeof config !== 'object') return undefined
  if (error && !(Object.hasOwn(CODES, error.code) && isText(error.message))) return undefined
  return { ...(read as LastApply), changes }
}

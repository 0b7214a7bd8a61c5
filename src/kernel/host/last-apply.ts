// The record of the last apply of an instance: one JSON file in /run/xdp, replaced atomically. People and provisioning
// tools read it; xdp decides nothing by it, and an apply does not fail if the record cannot be written.

import { createHash } from 'node:crypto'
import { readFile, rename, rm, writeFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { CODES } from '../../diagnostics.ts'
import type { LastApply, ProcessIdentity } from '../../report/last-apply.ts'
import { isAlive, ownPrefix, pidNamespace, RUN, runDirectory } from '../tools/exchange.ts'
import type { Host } from './host.ts'

type Which = Pick<Host, 'bpffs' | 'instance'>

/** The mount whose file names have no hash. */
const USUAL_BPFFS = '/sys/fs/bpf'

/**
 * Path of the record: `last-apply.json` for the instance `default` of the usual bpffs, `last-apply.NAME.json` for other
 * instances, `last-apply.NAME.HASH.json` (first 12 hex digits of the SHA-256 of the mount point) for other mounts.
 */
export function lastApplyFile({ bpffs, instance }: Which): string {
  const mount = resolve(bpffs)
  if (mount === USUAL_BPFFS) return `${RUN}/last-apply.${instance === 'default' ? '' : `${instance}.`}json`
  return `${RUN}/last-apply.${instance}.${createHash('sha256').update(mount).digest('hex').slice(0, 12)}.json`
}

/** Replaces the record. If that fails (no permission, /run full or read-only), the old record stays. */
export async function writeLastApply(which: Which, render: (self: ProcessIdentity) => string): Promise<void> {
  try {
    const directory = await runDirectory()
    const text = render({ pid: process.pid, pid_namespace: pidNamespace() })
    // The collector of exchange files recognises this name, in case this process is killed before the rename.
    const partial = `${directory}/${ownPrefix(process.pid)}last-apply`
    try {
      await writeFile(partial, text, { mode: 0o600 })
      await rename(partial, lastApplyFile(which))
    } finally {
      await rm(partial, { force: true })
    }
  } catch {
    // The apply reports its result itself.
  }
}

/** Removes the record when nothing of the instance is left. */
export async function removeLastApply(which: Which): Promise<void> {
  await rm(lastApplyFile(which), { force: true }).catch(() => undefined)
}

/** The record, if it exists and is readable. If its process died without recording an end, it was killed. */
export async function readLastApply(which: Which): Promise<LastApply | undefined> {
  try {
    const record = parseLastApply(await readFile(lastApplyFile(which), 'utf8'))
    if (record?.result !== 'running') return record
    const gone = record.pid_namespace === pidNamespace() && !isAlive(record.pid)
    return gone ? { ...record, result: 'killed' } : record
  } catch {
    return undefined
  }
}

const isText = (value: unknown): value is string => typeof value === 'string'

/** Parses the record; undefined if it is damaged, or written by a later version. */
function parseLastApply(text: string): LastApply | undefined {
  // Missing values are null in JSON and undefined in the model.
  const read = JSON.parse(text, (_, value) => value ?? undefined) as Partial<LastApply>
  const { result, instance, bpffs, pid, pid_namespace, started_at, changes = [], config, error } = read
  if (![result, instance, bpffs, pid_namespace, started_at].every(isText)) return undefined
  if (!Number.isInteger(pid) || !Array.isArray(changes) || typeof config !== 'object') return undefined
  if (error && !(Object.hasOwn(CODES, error.code) && isText(error.message))) return undefined
  return { ...(read as LastApply), changes }
}

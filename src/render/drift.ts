// Drift as text and as JSON, in plans, in status and in reports of the daemon.

import type { AttachedProgram, Culprit, Drift } from '../model/live.ts'
import { ownerText } from '../plan/attachments.ts'
import { keyTitle } from './names.ts'
import { seconds } from './numbers.ts'

/** `by program 12 xdp_pass (native, tag …), loaded 2026-11-29T17:40:11Z by uid 0, held by pid 4321 (xdp-loader)`. */
export function culpritText(program: Culprit): string {
  const { id, name, mode, tag, loadedAt } = program
  const loaded = loadedAt === 0 ? 'loaded' : `loaded ${seconds(new Date(loadedAt * 1000).toISOString())}`
  const owner = ownerText(program)
  const identity = `by program ${id}${name && ` ${name}`} (${mode}${tag && `, tag ${tag}`})`
  return owner.startsWith('by ') ? `${identity}, ${loaded} ${owner}` : `${identity}, ${owner}`
}

/** One object, and a line below it for each foreign program that is part of its drift. */
export const driftBlock = ({ key, what, by = [] }: Drift, sign: string): string[] => [
  `${sign}   ${keyTitle(key)}: ${what}`,
  ...by.map((program) => `${sign}     ${culpritText(program)}`),
]

/** All drift in one line. */
export const driftText = (drift: readonly Drift[]): string =>
  drift.map(({ key, what, by = [] }) => [`${keyTitle(key)}: ${what}`, ...by.map(culpritText)].join(', ')).join('; ')

export const programJson = ({ id, name, tag, mode, loadedAt }: Omit<AttachedProgram, 'generation'>) => ({
  id,
  name,
  tag,
  mode,
  loaded_at: loadedAt,
})

/** A drift, with the foreign programs that are part of it. */
export const driftJson = ({ key, what, by = [] }: Drift) => ({
  key,
  what,
  by: by.map(({ id, name, tag, mode, loadedAt, uid, holders }) => ({
    ...programJson({ id, name, tag, mode, loadedAt }),
    uid: uid ?? null,
    holders,
  })),
})

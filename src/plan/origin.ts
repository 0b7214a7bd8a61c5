// Where the changes of a plan come from: the live state differs from the last apply (drift), the config does (an edit), or
// both. The last apply is known by its records in the kernel alone.

import type { Drift, Live, ObjectKey } from '../model/live.ts'
import type { Attachment } from '../model/state.ts'
import { driftOf, foreignPrograms } from './attachments.ts'
import type { Change, Origin } from './change.ts'

/** Whether the config asks for another attachment than the last apply made. */
function isOtherAttachment(last: Attachment | undefined, wanted: Attachment | undefined): boolean {
  if (last === undefined || wanted === undefined) return last !== wanted
  return !last.modes.every((mode) => wanted.modes.includes(mode)) || last.roles.join() !== wanted.roles.join()
}

/** Whether the config has edited an object that drifted; undefined: its record does not say. */
function isEdited(change: Change, { applied, drift }: Live): boolean | undefined {
  const { kind, key, op, reason, before, after } = change
  switch (kind) {
    case 'interface':
      return isOtherAttachment(
        applied.interfaces.get(change.after?.interface ?? change.before?.interface ?? ''),
        change.after,
      )
    case 'program':
      // Its digest is that of the last apply, whatever pins are lost.
      return change.before?.digest !== change.after?.digest || change.before?.abi !== change.after?.abi
    case 'list':
    case 'policy':
    case 'rate_limit':
      return applied.edited.get(key) ?? (op === 'delete' ? true : undefined)
    case 'service':
      if (op === 'delete') return true
      // The network moved under tables that are whole, so the live service is that of the last apply.
      return drift.has(key) || before === undefined || after === undefined ? undefined : reason !== 'drift'
    default:
      return kind satisfies never
  }
}

function originOf(change: Change, live: Live, drift: ReadonlyMap<ObjectKey, string>): Origin {
  const drifted = drift.has(change.key) || change.reason === 'drift'
  return { drifted, edited: drifted ? isEdited(change, live) : true }
}

/** The changes, each with its origin. */
export function withOrigins(changes: readonly Change[], live: Live): Change[] {
  const drift = driftOf(live)
  return changes.map((change): Change => ({ ...change, origin: originOf(change, live, drift) }))
}

/** The foreign programs on an interface. */
export function culpritsOn(key: ObjectKey, { links, owners }: Pick<Live, 'links' | 'owners'>): Pick<Drift, 'by'> {
  if (!key.startsWith('interface:')) return {}
  const foreign = foreignPrograms(links.get(key.slice('interface:'.length)))
  if (foreign.length === 0) return {}
  const by = foreign.map(({ generation: _, ...program }) => {
    const { uid, holders = [] } = owners.get(program.id) ?? {}
    return { ...program, uid, holders }
  })
  return { by }
}

const MOVED = 'facts of this host that it depends on changed since the last apply'

/** Every drift, sorted by key, with the foreign programs that are part of it. */
export function driftList(changes: readonly Change[], live: Live): Drift[] {
  const known = driftOf(live)
  const moved = changes.flatMap(({ key, reason }) =>
    reason === 'drift' && !known.has(key) ? [[key, MOVED] as const] : [],
  )
  return [...known, ...moved]
    .map(([key, what]) => ({ key, what, ...culpritsOn(key, live) }))
    .sort((left, right) => (left.key < right.key ? -1 : 1))
}

// Undo as data: the changes that take a plan back.

import type { Change, ListDelta, Op } from './change.ts'

const INVERSE = { create: 'delete', delete: 'create', update: 'update', replace: 'replace' } as const satisfies Record<
  Op,
  Op
>

const invertDelta = (delta: ListDelta): ListDelta =>
  delta.map(({ scope, added, removed }) => ({ scope, added: removed, removed: added }))

/** The change that undoes `change`. `invert(invert(change))` equals `change`. */
export function invert(change: Change): Change {
  const { op, before, after, delta } = change
  const inverse = { ...change, op: INVERSE[op], before: after, after: before }
  // TypeScript cannot see that swapping before and after together with the op keeps the members of the union apart.
  return (delta === undefined ? inverse : { ...inverse, delta: invertDelta(delta) }) as Change
}

/** Undoes a whole run: the inverse of each change, the last one first. */
export const inverse = (changes: readonly Change[]): Change[] => changes.map(invert).reverse()

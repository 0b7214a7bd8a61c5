// Undo as data: the changes that take a plan back.

import type { Change, ListDelta, Op, ServiceDelta } from './change.ts'

const INVERSE = { create: 'delete', delete: 'create', update: 'update', replace: 'replace' } as const satisfies Record<
  Op,
  Op
>

const invertDelta = (delta: ListDelta): ListDelta =>
  delta.map(({ scope, added, removed }) => ({ scope, added: removed, removed: added }))

const invertBalance = ({ backends, moved }: ServiceDelta): ServiceDelta => ({
  backends: backends.map(({ key, before, after }) => ({ key, before: after, after: before })),
  moved,
})

/** The change that undoes `change`. `invert(invert(change))` equals `change`. */
export function invert(change: Change): Change {
  const { op, before, after, delta, balance } = change
  const inverse = {
    ...change,
    op: INVERSE[op],
    before: after,
    after: before,
    ...(delta === undefined ? {} : { delta: invertDelta(delta) }),
    ...(balance === undefined ? {} : { balance: invertBalance(balance) }),
  }
  // TypeScript cannot see that swapping before and after together with the op keeps the members of the union apart.
  return inverse as Change
}

/** Undoes a whole run: the inverse of each change, the last one first. */
export const inverse = (changes: readonly Change[]): Change[] => changes.map(invert).reverse()

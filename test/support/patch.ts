// The state that changes lead to.

import type { State } from '../../src/model/state.ts'
import type { Change } from '../../src/plan/change.ts'

function put<T>(map: ReadonlyMap<string, T>, name: string, value: T | undefined): ReadonlyMap<string, T> {
  const next = new Map(map)
  if (value === undefined) next.delete(name)
  else next.set(name, value)
  return next
}

function patchOne(state: State, change: Change): State {
  switch (change.kind) {
    case 'program':
      return { ...state, program: change.after }
    case 'policy':
      return { ...state, policy: change.after }
    case 'list':
      return { ...state, lists: put(state.lists, (change.after ?? change.before).name, change.after) }
    case 'interface': {
      const { interface: name } = change.after ?? change.before
      return { ...state, interfaces: put(state.interfaces, name, change.after) }
    }
    case 'service':
      return { ...state, services: put(state.services, (change.after ?? change.before).name, change.after) }
    case 'rate_limit': {
      const limits = put(state.rateLimits ?? new Map(), (change.after ?? change.before).name, change.after)
      return { ...state, rateLimits: limits.size > 0 ? limits : undefined }
    }
    default:
      return change satisfies never
  }
}

/** The state after the changes. `patch(live.state, diff(desired, live))` is the desired state. */
export const patch = (state: State, changes: readonly Change[]): State => changes.reduce(patchOne, state)

// The plan as data: semantic changes with before and after, each with its impact and reason. Rendering and execution
// both read it; neither adds to it.

import type { Diagnostic } from '../diagnostics.ts'
import type { AddressSet } from '../model/address.ts'
import type { AttachedProgram, Drift, ObjectKey, Slots } from '../model/live.ts'
import type { Attachment, List, Policy, Program } from '../model/state.ts'

/** What traffic notices of a change. */
export type Impact = 'hitless' | 'new-flows' | 'link-bounce' | 'traffic-gap'

/** Why a change is planned. */
export type ChangeReason =
  | 'new-in-config'
  | 'config-changed'
  | 'not-in-config'
  | 'drift'
  | 'mode-changed'
  | 'program-changed'
  | 'destroy'

interface Objects {
  program: Program
  policy: Policy
  interface: Attachment
  list: List
}

export type Kind = keyof Objects

interface Common {
  readonly key: ObjectKey
  readonly impact: Impact
  readonly reason: ChangeReason
  /** The address-wise difference, for lists: what apply adds to and removes from each set. */
  readonly delta?: ListDelta
  /** For interfaces: programs of others that this change takes off the interface (`on_conflict: replace`). */
  readonly displaces?: readonly AttachedProgram[]
}

type ChangeOf<K extends Kind> = Common & { readonly kind: K } & (
    | { readonly op: 'create'; readonly before: undefined; readonly after: Objects[K] }
    | { readonly op: 'update' | 'replace'; readonly before: Objects[K]; readonly after: Objects[K] }
    | { readonly op: 'delete'; readonly before: Objects[K]; readonly after: undefined }
  )

export type Change = { [K in Kind]: ChangeOf<K> }[Kind]
export type Op = Change['op']

/** One element per scope that differs. */
export type ListDelta = readonly {
  /** `scopeKey` of the scope. */
  readonly scope: string
  readonly added: AddressSet
  readonly removed: AddressSet
}[]

export interface Plan {
  /** In the order in which they are carried out. */
  readonly changes: readonly Change[]
  readonly drift: readonly Drift[]
  readonly warnings: readonly Diagnostic[]
  /** Counter slots after the plan, for every interface and list that remains. */
  readonly slots: Slots
}

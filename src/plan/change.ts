// The plan as data: semantic changes with before and after, each with its impact and reason. Rendering and execution
// both read it; neither adds to it.

import type { Diagnostic } from '../diagnostics.ts'
import type { AddressSet } from '../model/address.ts'
import type { AttachedProgram, Drift, ObjectKey, Slots } from '../model/live.ts'
import type { Backend, LeavingBackend, Service } from '../model/service.ts'
import type { Attachment, List, Policy, Program, State } from '../model/state.ts'

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
  service: Service
}

export type Kind = keyof Objects

interface Common {
  readonly key: ObjectKey
  readonly impact: Impact
  readonly reason: ChangeReason
  /** The address-wise difference, for lists: what apply adds to and removes from each set. */
  readonly delta?: ListDelta
  /** For services: what becomes of backends and of flows. */
  readonly balance?: ServiceDelta
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

/** A backend that comes (no `before`), goes (no `after`) or changes. */
export interface BackendDelta {
  /** backendKey of it. */
  readonly key: string
  readonly before: Backend | undefined
  readonly after: Backend | undefined
}

export interface ServiceDelta {
  /** Those that differ, sorted by key. */
  readonly backends: readonly BackendDelta[]
  /** Part (0 to 1) of new flows that goes to another backend than before; undefined where there is no before. */
  readonly moved: number | undefined
}

export interface Plan {
  /** Where the plan leads: the file's state on this host, with the live content of feeds that are not believed. */
  readonly state: State
  /** In the order in which they are carried out. */
  readonly changes: readonly Change[]
  readonly drift: readonly Drift[]
  readonly warnings: readonly Diagnostic[]
  /** Counter slots after the plan, for everything that remains. */
  readonly slots: Slots
  /** Backends that are in the file no more and keep their flows for a while. */
  readonly leaving: readonly LeavingBackend[]
  /** By backendSlotKey, when drained backends stop to keep their flows: monotonic time in seconds. */
  readonly deadlines: ReadonlyMap<string, number>
}

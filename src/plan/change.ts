// The plan as data: semantic changes with before and after, each with its impact and reason. Rendering and execution
// read it and add nothing.

import type { Diagnostic } from '../diagnostics.ts'
import type { AddressSet } from '../model/address.ts'
import type { Cuts } from '../model/contact.ts'
import type { AttachedProgram, Drift, ObjectKey, Slots } from '../model/live.ts'
import type { Observed } from '../model/observed.ts'
import type { Policy } from '../model/policy.ts'
import type { RateLimit } from '../model/rate-limit.ts'
import type { Backend, LeavingBackend, Service } from '../model/service.ts'
import type { Attachment, List, Program, State } from '../model/state.ts'

/** Effect of a change on traffic. */
export type Impact = 'hitless' | 'new-flows' | 'cuts' | 'link-bounce' | 'traffic-gap'

/** Why a change is planned. */
export type ChangeReason =
  | 'new-in-config'
  | 'config-changed'
  | 'not-in-config'
  | 'drift'
  | 'mode-changed'
  | 'program-changed'
  | 'destroy'

/** The differences that a change comes from. */
export interface Origin {
  /** The live state differs from the last apply. */
  readonly drifted: boolean
  /** The config, or the build, differs from the last apply; undefined: its record is damaged. */
  readonly edited: boolean | undefined
}

interface Objects {
  program: Program
  policy: Policy
  interface: Attachment
  list: List
  service: Service
  rate_limit: RateLimit
}

export type Kind = keyof Objects

interface Common {
  readonly key: ObjectKey
  readonly impact: Impact
  /** With the impact `cuts`: number of live connections that it cuts; 0: only other peers, such as a gateway. */
  readonly cuts?: number
  readonly reason: ChangeReason
  /** Undefined: everything is removed. */
  readonly origin?: Origin
  /** For lists: the addresses that apply adds to each set and removes from it. */
  readonly delta?: ListDelta
  /** For what observed and is to drop: lists, with all of their observing entries, rate limits, and anomalies of the policy. */
  readonly observed?: Observed
  /** For services: the changes of backends, and the share of flows that moves. */
  readonly balance?: ServiceDelta
  /** For interfaces: foreign programs that this change detaches (`on_conflict: replace`). */
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

/** A backend that is added (no `before`), removed (no `after`) or changed. */
export interface BackendDelta {
  /** Its backendKey. */
  readonly key: string
  readonly before: Backend | undefined
  readonly after: Backend | undefined
}

export interface ServiceDelta {
  /** The backends that differ, sorted by key. */
  readonly backends: readonly BackendDelta[]
  /** Share (0 to 1) of new flows that go to a different backend than before; undefined without a before. */
  readonly moved: number | undefined
}

export interface Plan {
  /** The target: the config's state on this host, with the live content of feeds that a guard rejected. */
  readonly state: State
  /** In the order in which plans list them: see reading-order.ts. */
  readonly changes: readonly Change[]
  readonly drift: readonly Drift[]
  readonly warnings: readonly Diagnostic[]
  /** Counter slots of everything that exists after the plan. */
  readonly slots: Slots
  /** Backends that left the file and keep their flows for a while. */
  readonly leaving: readonly LeavingBackend[]
  /** By backendSlotKey: when a drained backend loses its flows, in seconds of monotonic time. */
  readonly deadlines: ReadonlyMap<string, number>
  /** Kernel memory in bytes of the state of rate limits; undefined: it stays. */
  readonly rateMemory?: { readonly before: number; readonly after: number } | undefined
  /** Live connections and other peers that it cuts; undefined: not judged, because nothing changes. */
  readonly cuts?: Cuts
}

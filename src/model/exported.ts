// The live state of a host as a file: what a plan follows from, for plans that are made elsewhere.

import type { Live } from './live.ts'
import type { PlanBuild, PlanHost } from './saved-plan.ts'

export interface ExportedState {
  /** ISO 8601, UTC. */
  readonly createdAt: string
  readonly host: PlanHost
  /** The build that exported it; that of the live program is `live.state.program`. */
  readonly build: PlanBuild
  /** Its secrets are fingerprints. */
  readonly live: Live
}

/** The other side of a plan that is made without the kernel. */
export type Against =
  | { readonly kind: 'state'; readonly path: string; readonly state: ExportedState }
  | { readonly kind: 'config'; readonly path: string; readonly sha256: string }

/** Something that a plan or a verdict without the kernel cannot know. */
export interface Unknown {
  /** A stable word. */
  readonly what:
    | 'connections'
    | 'counters'
    | 'capabilities'
    | 'since'
    | 'next-hops'
    | 'edits'
    | 'interfaces'
    | 'addresses'
    | 'program'
    | 'drift'
    | 'bans'
    | 'health'
    | 'hash-key'
  /** As a clause. */
  readonly why: string
}

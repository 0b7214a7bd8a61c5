// Steps of an apply, as data.

import type { AttachMode } from '../../model/state.ts'

/** What a rollback puts back on an interface. */
export interface Previous {
  readonly mode: AttachMode
  /** Pin of the program; a foreign one is pinned for the time of the apply. */
  readonly pinned: string
  readonly foreign: boolean
}

/** Attach the target program to one interface, in the first of the modes that the kernel accepts. */
export interface AttachStep {
  readonly interface: string
  readonly modes: readonly AttachMode[]
  /** Programs to detach first, because a change of mode cannot be made in place. */
  readonly detachFirst: readonly AttachMode[]
  /** Mode in which a program is replaced in place. */
  readonly overwrite: AttachMode | undefined
  readonly previous: Previous | undefined
  /** Ids of the programs that were observed on it, for it to be left alone where they are others by then. */
  readonly present: readonly number[]
  readonly slot: number
  readonly ifindex: number
}

export interface DetachStep {
  readonly interface: string
  readonly mode: AttachMode
}

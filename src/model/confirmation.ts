// An apply that waits for its confirmation (commit-confirm): its names, and the facts about it that reports show.

/** A pending confirmation, as its marker among the pins names it. */
export interface Confirmation {
  /** Eight hex digits. */
  readonly id: string
  /** The generation in force, which is not confirmed. */
  readonly generation: number
  /** The generation that returns without a confirmation; 0 = there was none, so the programs are detached. */
  readonly previous: number
}

/** The config of an apply: `path` is absolute. */
export interface AppliedConfig {
  readonly path: string
  readonly sha256: string
}

/** The SSH connections that confirm an apply when they are made: from one of these addresses to one of these ports. */
export interface ConfirmOn {
  readonly addresses: readonly string[]
  readonly ports: readonly number[]
}

/** The confirmation that an apply is to wait for. */
export interface ConfirmTerms extends Confirmation {
  /** From the switch to the deadline. */
  readonly milliseconds: number
  /** Undefined: only `xdp confirm` confirms. */
  readonly on: ConfirmOn | undefined
  readonly config: AppliedConfig
}

/** The request to wait for a confirmation. */
export interface ConfirmRequest {
  readonly milliseconds: number
  /** Whether it also holds for the first apply of an instance, which leaves nothing to return to. */
  readonly evenFirst: boolean
  /** Undefined: only `xdp confirm` confirms. */
  readonly on: ConfirmOn | undefined
}

/** Shortest and longest time to confirm, in milliseconds, and both in words. */
export const CONFIRM = { least: 1000, most: 86_400_000, text: 'from 1s to 24h' } as const

type Before = Pick<Confirmation, 'previous'>

/** The event without a confirmation, as a clause. */
export const returns = ({ previous }: Before): string =>
  previous === 0 ? 'its programs are detached' : `generation ${previous} returns`

/** As a clause about the past. */
export const returned = ({ previous }: Before): string =>
  previous === 0 ? 'its programs were detached' : `generation ${previous} returned`

/** The policy in force then, as a clause. */
export const inForceAgain = ({ previous }: Before): string =>
  previous === 0 ? 'no policy is in force' : `generation ${previous} is in force again`

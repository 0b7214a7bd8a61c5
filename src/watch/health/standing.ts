// What the results of a check make of a backend. Pure.

import type { CheckSchedule } from '../../model/health.ts'

/** What a check found. `unknown`: it could not be made, for a reason that says nothing of the backend. */
export type Result = { readonly outcome: 'good' } | { readonly outcome: 'bad' | 'unknown'; readonly reason: string }

export const GOOD: Result = { outcome: 'good' }
export const bad = (reason: string): Result => ({ outcome: 'bad', reason })
export const unknown = (reason: string): Result => ({ outcome: 'unknown', reason })

export interface Standing {
  readonly up: boolean
  /** Whether a check has said so. Until then the first result decides alone. */
  readonly proven: boolean
  /** Results in a row that say otherwise than `up`. */
  readonly against: number
  /** When it last went up or down; -Infinity: it never did. */
  readonly since: number
}

/** Nothing is known: it gets traffic, because a daemon that has just started must not empty every service. */
export const FRESH: Standing = { up: true, proven: false, against: 0, since: Number.NEGATIVE_INFINITY }

/** The check is another: what it asks is not what was asked, so its first result decides; until then nothing changes. */
export const unproven = (standing: Standing): Standing => ({ ...standing, proven: false, against: 0 })

/** The standing after a result of `now`: a change takes `rise` good or `fall` bad ones in a row. */
export function weigh(
  standing: Standing,
  { outcome }: Result,
  { rise, fall }: Pick<CheckSchedule, 'rise' | 'fall'>,
  now: number,
): Standing {
  if (outcome === 'unknown') return standing
  const up = outcome === 'good'
  if (up === standing.up) return { ...standing, proven: true, against: 0 }
  const against = standing.against + 1
  if (standing.proven && against < (up ? rise : fall)) return { ...standing, against }
  return { up, proven: true, against: 0, since: now }
}

/** Milliseconds from the death of a backend to the last result that takes it out, at most. */
export const detectionMs = ({ fall, intervalMs, timeoutMs }: CheckSchedule): number => fall * intervalMs + timeoutMs

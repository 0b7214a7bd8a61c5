// Derives the standing of a backend from the results of its check. Pure.

import type { CheckSchedule } from '../../model/health.ts'

/** The result of a check. `unknown`: it could not run, for a reason that says nothing about the backend. */
export type Result = { readonly outcome: 'good' } | { readonly outcome: 'bad' | 'unknown'; readonly reason: string }

export const GOOD: Result = { outcome: 'good' }
export const bad = (reason: string): Result => ({ outcome: 'bad', reason })
export const unknown = (reason: string): Result => ({ outcome: 'unknown', reason })

export interface Standing {
  readonly up: boolean
  /** Whether a check has confirmed it. Until then a single result decides. */
  readonly proven: boolean
  /** Results in a row that contradict `up`. */
  readonly against: number
  /** When it last went up or down; -Infinity: never. */
  readonly since: number
}

/** No result yet. The backend gets traffic, because a daemon that just started must not empty every service. */
export const FRESH: Standing = { up: true, proven: false, against: 0, since: Number.NEGATIVE_INFINITY }

/** The standing under a changed check: unchanged until its first result, which decides alone. */
export const unproven = (standing: Standing): Standing => ({ ...standing, proven: false, against: 0 })

/** The standing after a result: it changes after `rise` good or `fall` bad ones in a row. */
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

/** Most milliseconds from the death of a backend to the result that takes it out of use. */
export const detectionMs = ({ fall, intervalMs, timeoutMs }: CheckSchedule): number => fall * intervalMs + timeoutMs

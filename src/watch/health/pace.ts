// Decides when the next check starts. A schedule is a grid of planned starts. A late check keeps its place on the grid,
// so that lateness does not add up, and checks that were late together spread out again.

import type { CheckSchedule } from '../../model/health.ts'

/**
 * Milliseconds of every interval reserved for noticing a result and writing it, so that a dead backend is out of use
 * after fall × interval + timeout, the write included.
 */
const margin = (intervalMs: number): number => Math.max(25, intervalMs / 50)

const most = ({ intervalMs }: CheckSchedule): number => Math.max(1, intervalMs - margin(intervalMs))

/**
 * Milliseconds from one planned start to the next; `random` from 0 to below 1. At most the interval less the margin:
 * jitter only brings starts forward.
 */
export const gapOf = (check: CheckSchedule, random: number): number =>
  Math.max(1, most(check) - check.jitterMs * random)

/** Milliseconds after which a check is abandoned: its timeout, but not beyond the next start. */
export const patienceOf = (check: CheckSchedule): number => Math.min(check.timeoutMs, most(check))

/** One run of a check: its planned start, actual start and end, and the milliseconds after which it is abandoned. */
export interface Run {
  readonly planned: number
  readonly started: number
  readonly ended: number
  readonly patience: number
}

/** Milliseconds by which a run may outlast its patience before the process counts as late. */
const TOLERANCE = 20

/** The least number of gaps, at least 1, that takes `planned` to `earliest` or later. */
const gapsTo = (earliest: number, planned: number, gap: number): number =>
  Math.max(1, Math.ceil((earliest - planned) / gap))

/**
 * The next planned start, and how many places of the grid are skipped because the process was too late for them.
 *
 * A check that took longer than the gap starts again at once, and its grid moves there. Where the process was late by
 * half a gap or more, places are skipped: two starts are never closer than half a gap.
 */
export function nextStart(
  { planned, started, ended, patience }: Run,
  gap: number,
): { readonly planned: number; readonly missed: number } {
  const gaps = gapsTo(started + gap / 2, planned, gap)
  const next = planned + gaps * gap
  if (ended <= next) return { planned: next, missed: gaps - 1 }
  if (ended - started <= patience + TOLERANCE) return { planned: ended, missed: gaps - 1 }
  const more = gapsTo(ended, next, gap)
  return { planned: next + more * gap, missed: gaps - 1 + more }
}

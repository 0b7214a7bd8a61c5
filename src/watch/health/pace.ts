// When the next check starts. A schedule is a grid of planned starts; a check that was late keeps its place on the grid,
// so that lateness does not add up and checks that were late together do not stay together.

import type { CheckSchedule } from '../../model/health.ts'

/**
 * Milliseconds of every interval that are kept back for what the process takes to notice a result and to write it, so
 * that "a backend that died is out fall × interval + timeout later" holds with the writing included.
 */
const margin = (intervalMs: number): number => Math.max(25, intervalMs / 50)

const most = ({ intervalMs }: CheckSchedule): number => Math.max(1, intervalMs - margin(intervalMs))

/**
 * Milliseconds from one planned start to the next, `random` from 0 to below 1. Never more than the interval less what is
 * kept back, whatever is drawn: jitter only brings starts forward.
 */
export const gapOf = (check: CheckSchedule, random: number): number =>
  Math.max(1, most(check) - check.jitterMs * random)

/** Milliseconds after which a check is given up: its timeout, but not beyond the next start. */
export const patienceOf = (check: CheckSchedule): number => Math.min(check.timeoutMs, most(check))

/** One run of a check: when it was to start, did start and ended, and after how long it would have been given up. */
export interface Run {
  readonly planned: number
  readonly started: number
  readonly ended: number
  readonly patience: number
}

/** Milliseconds by which a run may outlast its patience without the process being to blame. */
const TOLERANCE = 20

/** The least number of gaps, from 1 on, after which `planned` is not before `earliest`. */
const gapsTo = (earliest: number, planned: number, gap: number): number =>
  Math.max(1, Math.ceil((earliest - planned) / gap))

/**
 * The next planned start, and how many places of the grid were left out because the process was too late for them.
 *
 * A check that took longer than the gap goes on at once and from there. Where the process itself was late by half a gap
 * or more, places are left out: two starts are never closer than half a gap.
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

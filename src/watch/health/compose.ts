// Computes a service's overlay from the standings of its backends: shares, slow start, and the fallback when too few
// are healthy. Pure.

import type { Fallback, MinHealthy } from '../../model/health.ts'
import type { ServiceMode, ServiceOverlay } from '../../model/overlay.ts'
import { detectionMs, type Standing } from './standing.ts'
import type { BackendTarget, ServiceTarget } from './targets.ts'

export interface Member {
  readonly target: BackendTarget
  /** Up for a backend without a check. */
  readonly standing: Standing
}

export interface Composition {
  readonly overlay: ServiceOverlay
  /** Backends that stay in use though they are down (`fallback: keep_last`); undefined: enough are healthy. */
  readonly kept: ReadonlySet<string> | undefined
  /** Number of healthy active backends other than backups, and of those that must be. */
  readonly healthy: number
  readonly needed: number
  /** A slow start is under way: shares change with time alone, so compose again soon. */
  readonly ramping: boolean
}

/** The share of a backend at the beginning of its slow start. */
const FIRST_SHARE = 0.01
/** The kernel stores a share in one byte. */
const STEPS = 255

const neededOf = ({ kind, value }: MinHealthy, active: number): number =>
  // 0.28 × 25 is 7.000000000000001.
  kind === 'count' ? value : Math.ceil(value * active - 1e-9)

const isUp = ({ standing }: Member): boolean => standing.up
const takes = ({ target }: Member): boolean => target.active && target.reachable
const tableOf = ({ target }: Member): 'ring' | 'backups' => (target.backup ? 'backups' : 'ring')

/** The share of a backend that is up during its slow start, FIRST_SHARE to 1. */
function ramp({ target, standing }: Member, now: number): number {
  const slowStartMs = target.check?.slowStartMs ?? 0
  if (slowStartMs === 0) return 1
  return Math.min(1, Math.max(FIRST_SHARE, (now - standing.since) / slowStartMs))
}

/**
 * Shares while enough are healthy, relative to the largest in the same table, which is always 1. Otherwise a service
 * whose only healthy backend is in slow start would lose flows.
 */
function shareOut(
  members: ReadonlyMap<string, Member>,
  now: number,
): { shares: Map<string, number>; ramping: boolean } {
  const shares = new Map<string, number>()
  const largest = { ring: 0, backups: 0 }
  let ramping = false
  for (const [key, one] of members) {
    const share = isUp(one) ? ramp(one, now) : 0
    shares.set(key, share)
    if (share === 0 || !takes(one)) continue
    const table = tableOf(one)
    largest[table] = Math.max(largest[table], share)
    ramping ||= share < 1
  }
  if (!ramping) return { shares, ramping }
  for (const [key, share] of shares) {
    const most = largest[tableOf(members.get(key) as Member)]
    shares.set(key, most === 0 ? share : Math.round(Math.min(1, share / most) * STEPS) / STEPS)
  }
  return { shares, ramping }
}

/** Counts the active backends and the healthy ones among them, and the healthy backups. */
function tally(members: ReadonlyMap<string, Member>): { active: number; healthy: number; backups: number } {
  const counts = { active: 0, healthy: 0, backups: 0 }
  for (const one of members.values()) {
    const isUsable = takes(one) && isUp(one)
    if (one.target.backup) counts.backups += Number(isUsable)
    else {
      counts.active += Number(one.target.active)
      counts.healthy += Number(isUsable)
    }
  }
  return counts
}

/** The mode of a service without `keep_last`. */
function modeOf(fallback: Fallback, healthy: number, needed: number, backups: number): ServiceMode {
  if (healthy > 0 && healthy >= needed) return 'well'
  const hasBackups = fallback === 'backup' || fallback === 'sorry'
  if (hasBackups && backups > 0) return 'backup'
  if (healthy < needed && (fallback === 'sorry' || fallback === 'drop')) return fallback
  // A few healthy backends are better than no backup.
  return fallback === 'backup' && healthy > 0 ? 'well' : 'empty'
}

/**
 * The backends that `keep_last` keeps in use: those that were healthy one detection time before too few were. Checks
 * notice a common failure one backend after the other, so all of these count as healthy.
 */
function lastHealthy(members: ReadonlyMap<string, Member>, now: number): ReadonlySet<string> {
  const wasUp = ({ target, standing }: Member): boolean =>
    target.check !== undefined && !standing.up && standing.since > now - detectionMs(target.check)
  return new Set([...members].filter(([, one]) => isUp(one) || wasUp(one)).map(([key]) => key))
}

/** `kept`: from the composition before. */
export function compose(
  { minHealthy, fallback }: Pick<ServiceTarget, 'minHealthy' | 'fallback'>,
  members: ReadonlyMap<string, Member>,
  kept: ReadonlySet<string> | undefined,
  now: number,
): Composition {
  const { active, healthy, backups } = tally(members)
  const needed = neededOf(minHealthy, active)
  const common = { healthy, needed }
  if (healthy < needed && fallback === 'keep_last') {
    const keep = kept ?? lastHealthy(members, now)
    const shares = new Map([...members].map(([key, one]) => [key, isUp(one) || (keep.has(key) && takes(one)) ? 1 : 0]))
    const isUsed = [...members].some(([key, one]) => takes(one) && shares.get(key) === 1)
    return { ...common, overlay: { mode: isUsed ? 'well' : 'empty', shares }, kept: keep, ramping: false }
  }
  const { shares, ramping } = shareOut(members, now)
  const mode = modeOf(fallback, healthy, needed, backups)
  return { ...common, overlay: { mode, shares }, kept: undefined, ramping }
}

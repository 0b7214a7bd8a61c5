// Plans without the kernel: the live state of a file in place of that of this host, or another config. Such a plan says
// what it does not know.

import type { Diagnostic } from '../diagnostics.ts'
import type { Desired } from '../model/desired.ts'
import type { ExportedState, Unknown } from '../model/exported.ts'
import type { Live } from '../model/live.ts'
import { plural } from '../model/numbers.ts'
import type { PlanBuild } from '../model/saved-plan.ts'
import { addressTextsOf } from '../model/service.ts'
import { some } from './words.ts'

/** Age from which a warning says that a state is old: one day, in seconds. */
const OLD = 24 * 3600

const unknown = (what: Unknown['what'], why: string): Unknown => ({ what, why })

/** Backends whose next hops the host was not asked for: those that its live policy does not have. */
export const strangers = ({ state }: Desired, { nextHops }: Pick<Live, 'nextHops'>): string[] =>
  [...new Set([...state.services.values()].flatMap(addressTextsOf))].filter((address) => !nextHops.has(address)).sort()

const CONNECTIONS = unknown('connections', 'which live connections and peers apply would cut, or refuse to cut')
const COUNTERS = unknown('counters', 'what entries with `action: observe`, rate limits and services have counted')

/** The facts that a plan against an exported state lacks. */
export function unknownToState(desired: Desired, { host, live }: Pick<ExportedState, 'host' | 'live'>): Unknown[] {
  const added = strangers(desired, live)
  return [
    unknown('since', `what has changed on ${host.name} since the export`),
    CONNECTIONS,
    COUNTERS,
    unknown('capabilities', `whether the kernel, drivers and tools of ${host.name} can load and attach the programs`),
    unknown('addresses', `whether a list gains an address that ${host.name} has on an interface`),
    ...(added.length > 0 ? [unknown('next-hops', `the next hops of ${some(added)}, which were no backends`)] : []),
    ...(live.drift.size > 0 ? [unknown('edits', 'whether objects that have drifted were edited as well')] : []),
  ]
}

/** The facts that a plan against another config lacks. */
export function unknownToConfig({ state }: Desired): Unknown[] {
  return [
    unknown('drift', 'what is live, and whether other tools have changed it'),
    unknown('interfaces', 'which interfaces exist, and which programs run on them'),
    CONNECTIONS,
    COUNTERS,
    unknown('capabilities', 'whether a kernel, its drivers and tools can load and attach the programs'),
    unknown('addresses', 'the addresses of a host, and whether a list gains one of them'),
    unknown('program', 'whether another build of the program is live'),
    ...(state.services.size > 0 ? [unknown('next-hops', 'the next hops of backends')] : []),
  ]
}

/** The warnings of a plan against a state that hold there: a next hop that was not asked for is not missing. */
export function warningsAgainst(warnings: readonly Diagnostic[], desired: Desired, live: Live): Diagnostic[] {
  const added = strangers(desired, live)
  return warnings.filter(({ code, message }) => code !== 'W211' || !added.some((address) => message.includes(address)))
}

function span(seconds: number): string {
  return seconds < 72 * 3600
    ? plural(Math.floor(seconds / 3600), 'hour')
    : plural(Math.floor(seconds / (24 * 3600)), 'day')
}

/** The warning about an old state. `now`: Unix time in seconds. */
export function warnAge({ createdAt, host }: ExportedState, now: number): Diagnostic[] {
  const age = now - Date.parse(createdAt) / 1000
  const old: Diagnostic = {
    code: 'W281',
    severity: 'warning',
    message: `the state of ${host.name} is ${span(age)} old`,
    hint: 'export it again on the host: xdp status --state FILE',
  }
  return age > OLD ? [old] : []
}

/** Warnings about a state itself. `now`: Unix time in seconds. */
export function warnState(exported: ExportedState, own: PlanBuild, now: number): Diagnostic[] {
  const { build, host } = exported
  const other: Diagnostic = {
    code: 'W280',
    severity: 'warning',
    message: `the state was exported by xdp ${build.version} with other BPF programs than those of this xdp ${own.version}: if ${host.name} keeps its xdp, its plan has no change of the program`,
    hint: 'plan with the version of xdp that applies',
  }
  return [...warnAge(exported, now), ...(build.digest === own.digest ? [] : [other])]
}

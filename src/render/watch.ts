// Renders the daemon's events, as one line of JSON each (schemas/watch.schema.json) or as text for a terminal, and the
// daemon's state as one line for the service manager and for `xdp status`.

import { CODES, type Diagnostic } from '../diagnostics.ts'
import { plural } from '../model/numbers.ts'
import type { ServiceMode } from '../model/overlay.ts'
import type { HealthSummary, Trigger, WatchEvent, WatchState } from '../report/watch.ts'
import { diagnosticsJson, renderDiagnostics } from './diagnostic.ts'
import { driftJson, driftText } from './drift.ts'
import { formatDuration } from './duration.ts'
import { FORMAT_VERSION } from './json.ts'
import { type Paint, paint } from './paint.ts'

export type Level = 'info' | 'warning' | 'error'

const WHY: Readonly<Record<Trigger, string>> = {
  start: 'at the start',
  edit: 'after an edit',
  addresses: 'after a change of the addresses of this machine',
  reload: 'after a reload',
  kernel: 'after a kernel event',
  resync: 'at the resync',
  retry: 'on a retry',
}

const short = (sha256: string): string => sha256.slice(0, 12)

const after = (ms: number): string => (ms < 1000 ? `${Math.round(ms)} ms` : `${Math.round(ms / 1000)} s`)

/** The first error in one line: `xdp.yaml:3:1: E010 unknown-key: …`. */
function firstOf(errors: readonly Diagnostic[], omitted = 0): string {
  const [first] = errors
  if (!first) return 'nothing'
  const { code, message, at } = first
  const place = at ? `${at.file}:${at.line}:${at.column}: ` : ''
  const more = errors.length - 1 + omitted
  return `${place}${code} ${CODES[code].name}: ${message.split('\n')[0]}${more > 0 ? ` (and ${more} more)` : ''}`
}

function prefixText({ added, removed }: { readonly added: number; readonly removed: number }): string {
  return added + removed === 0 ? '' : `, +${added} -${removed} prefixes`
}

function driftMessage({ drift, action, retryMs }: Extract<WatchEvent, { event: 'drift' }>): string {
  const what = driftText(drift)
  switch (action) {
    case 'repair':
      return `drift, repairing it: ${what}`
    case 'report':
      return `drift, left in place (on_drift: report): ${what}`
    case 'hold':
      return `drift again after a repair, next repair in ${after(retryMs ?? 0)}: ${what}`
    default:
      return action satisfies never
  }
}

const MODES: Readonly<Record<ServiceMode, string>> = {
  well: 'go to backends',
  empty: 'find no backend',
  backup: 'go to the backups',
  drop: 'are dropped (fallback: drop)',
  sorry: 'go to the sorry backend (fallback: sorry)',
}

function serviceMessage(event: Extract<WatchEvent, { event: 'service-health' }>): string {
  const { service, mode, isFallback, healthy, needed } = event
  const count = `${healthy} healthy, ${needed} needed`
  const kept =
    isFallback && mode === 'well' ? 'go to the backends that were healthy before (fallback: keep_last)' : MODES[mode]
  return `service ${service}: new flows ${kept}; ${count}`
}

/** Level and message of an event, without its errors and warnings. */
function lead(event: WatchEvent): readonly [Level, string] {
  switch (event.event) {
    case 'started':
      return ['info', `watching ${event.config}, instance ${event.instance}, pid ${event.pid}`]
    case 'ready':
      return ['info', 'the policy is in force']
    case 'applied': {
      const { changes, prefixes, trigger, durationMs, sha256 } = event
      const done = changes.length === 0 ? 'removed leftovers' : `applied ${plural(changes.length, 'change')}`
      return ['info', `${done}${prefixText(prefixes)} ${WHY[trigger]} in ${durationMs} ms (sha256 ${short(sha256)})`]
    }
    case 'in-sync':
      return ['info', `no changes ${WHY[event.trigger]} (sha256 ${short(event.sha256)})`]
    case 'bad-config':
      return ['error', 'invalid config, the policy in force stays']
    case 'config-fixed':
      return ['info', 'the config is valid again']
    case 'refused':
      return ['error', `refused, nothing was changed; next attempt in ${after(event.retryMs)}`]
    case 'failed':
      return ['error', `failed; next attempt in ${after(event.retryMs)}`]
    case 'recovered':
      return ['info', 'recovered: the reconcile succeeded']
    case 'drift':
      return ['warning', driftMessage(event)]
    case 'drift-gone':
      return ['info', 'the drift is gone']
    case 'overruled': {
      const why = event.why === 'rolled-back' ? 'after a rollback' : `because ${event.config} was not confirmed`
      return ['warning', `the policy of apply ${event.apply} holds until ${event.config} changes, ${why}`]
    }
    case 'backend-down':
      return ['warning', `service ${event.service}: ${event.backend} is down${event.reason ? `: ${event.reason}` : ''}`]
    case 'backend-up':
      return ['info', `service ${event.service}: ${event.backend} is up`]
    case 'service-health':
      return [event.isFallback || event.mode !== 'well' ? 'warning' : 'info', serviceMessage(event)]
    case 'fetched': {
      const { source, lists, outcome, prefixes = 0 } = event
      const what = `${source} is ${outcome}: ${plural(prefixes, 'prefix', 'prefixes')}`
      return ['info', `${what} for ${plural(lists.length, 'list')} (${lists.join(', ')})`]
    }
    case 'banned': {
      const { limit, prefixes, count, forMs, observe } = event
      const others = count - prefixes.length
      const who = `${prefixes.join(', ')}${others > 0 ? ` and ${plural(others, 'other')}` : ''}`
      const what = observe ? 'would ban' : 'banned'
      return ['info', `rate limit ${limit}: ${what} ${who} for ${formatDuration(forMs)}`]
    }
    case 'warning':
      return ['warning', '']
    case 'reload':
      return ['info', 'reloading the config']
    case 'trouble':
      return ['warning', event.what]
    case 'stopping':
      return ['info', `stopping: ${event.reason}`]
    case 'stopped':
      return ['info', event.attached ? 'stopped; the programs stay attached' : 'stopped; the programs are detached']
    default:
      return event satisfies never
  }
}

/** Level and message of an event, with the first of its errors or warnings. */
function explain(event: WatchEvent): readonly [Level, string] {
  const [level, text] = lead(event)
  if ('errors' in event) return [level, `${text}: ${firstOf(event.errors, event.omitted)}`]
  return event.event === 'warning' ? [level, firstOf(event.warnings)] : [level, text]
}

/** The JSON fields of an event besides its message. */
function fieldsOf(event: WatchEvent): Readonly<Record<string, unknown>> {
  switch (event.event) {
    case 'started': {
      const { pid, instance, config } = event
      return { pid, instance, config }
    }
    case 'applied': {
      const { trigger, changes, prefixes, sha256, durationMs, probes } = event
      const counts = { prefixes_added: prefixes.added, prefixes_removed: prefixes.removed }
      return { trigger, changes, ...counts, sha256, duration_ms: durationMs, probes }
    }
    case 'fetched': {
      const { source, lists, outcome, prefixes } = event
      return { source, lists, outcome, prefixes: prefixes ?? null }
    }
    case 'in-sync':
      return { trigger: event.trigger, sha256: event.sha256, duration_ms: event.durationMs }
    case 'bad-config':
      return { errors: diagnosticsJson(event.errors), omitted: event.omitted }
    case 'refused':
    case 'failed':
      return { errors: diagnosticsJson(event.errors), omitted: event.omitted, retry_in_ms: Math.round(event.retryMs) }
    case 'drift': {
      const { drift, action, retryMs } = event
      return { drift: drift.map(driftJson), action, retry_in_ms: retryMs === undefined ? null : Math.round(retryMs) }
    }
    case 'backend-down':
      return { service: event.service, backend: event.backend, reason: event.reason ?? null }
    case 'backend-up':
      return { service: event.service, backend: event.backend }
    case 'service-health': {
      const { service, mode, isFallback, healthy, needed } = event
      return { service, mode, fallback: isFallback, healthy, needed }
    }
    case 'banned': {
      const { limit, prefixes, count, forMs, observe } = event
      return { limit, prefixes, count, for_ms: forMs, observe }
    }
    case 'warning':
      return { warnings: diagnosticsJson(event.warnings) }
    case 'stopping':
      return { reason: event.reason }
    case 'stopped':
      return { attached: event.attached }
    case 'overruled':
      return { why: event.why, apply: event.apply, config: event.config }
    case 'ready':
    case 'config-fixed':
    case 'recovered':
    case 'drift-gone':
    case 'reload':
    case 'trouble':
      return {}
    default:
      return event satisfies never
  }
}

/** The time of an event, and how many equal ones were left out before it. */
interface EventView {
  readonly time: Date
  readonly repeated: number
}

export function renderEventJson(event: WatchEvent, { time, repeated }: EventView): string {
  const [level, message] = explain(event)
  const head = { format_version: FORMAT_VERSION, time: time.toISOString(), level, event: event.event, message }
  return `${JSON.stringify({ ...head, ...fieldsOf(event), repeated })}\n`
}

const LEVELS: Readonly<Record<Level, (style: Paint) => (text: string) => string>> = {
  info: ({ dim }) => dim,
  warning: ({ yellow }) => yellow,
  error: ({ red }) => red,
}

const two = (value: number): string => String(value).padStart(2, '0')

/** Priorities of syslog, which the journal takes from the beginning of a line: `<4>`. */
const PRIORITIES: Readonly<Record<Level, number>> = { info: 6, warning: 4, error: 3 }

/** The journal stores each line by itself, so that each needs the priority. */
const withPriority = (text: string, level: Level): string => text.replace(/^(?=.)/gm, `<${PRIORITIES[level]}>`)

/**
 * One line with the local time, and under it the diagnostics with their config lines; for the journal, which has the time,
 * with its priority instead.
 */
export function renderEvent(
  event: WatchEvent,
  view: EventView & { readonly color: boolean; readonly journal?: boolean },
): string {
  const { time, repeated, color, journal = false } = view
  const [level, message] = lead(event)
  const clock = [time.getHours(), time.getMinutes(), time.getSeconds()].map(two).join(':')
  const often = repeated > 0 ? ` (and ${plural(repeated, 'time')} before)` : ''
  const line = `${journal ? '' : `${LEVELS[level](paint(color))(clock)} `}${message}${often}`
  const details = detailsOf(event, often, color)
  const text = details === '' ? `${line}\n` : `${line}${details}`
  return journal ? withPriority(text, level) : text
}

/** The errors or warnings that follow the line of an event. */
function detailsOf(event: WatchEvent, often: string, color: boolean): string {
  if ('errors' in event) return `:\n${renderDiagnostics(event.errors, { color, omitted: event.omitted })}`
  return event.event === 'warning' ? `${often && ' '}${renderDiagnostics(event.warnings, { color })}` : ''
}

/** The state of a daemon, in one line. */
export function describeWatch({ config, ready, errors, drift }: WatchState): string {
  const policy = config === undefined ? 'no policy' : `${config.path} (sha256 ${short(config.sha256)})`
  if (errors.length > 0) return `${firstOf(errors)}; ${ready ? `${policy} stays in force` : 'nothing is applied yet'}`
  if (drift.length > 0) return `drift: ${driftText(drift)}`
  return ready ? `${policy} is in force` : `applying ${policy}`
}

const healthJson = ({ checked, down, backends }: HealthSummary) => ({
  checked,
  down,
  backends: backends.map(({ since, reason, ...backend }) => ({
    ...backend,
    since: since ?? null,
    reason: reason ?? null,
  })),
})

export const watchJson = ({ config, last, failingSince, errors, ...rest }: WatchState) => ({
  pid: rest.pid,
  since: rest.since,
  config: config === undefined ? null : { path: config.path, sha256: config.sha256, loaded_at: config.loadedAt },
  ready: rest.ready,
  last:
    last === undefined
      ? null
      : { at: last.at, trigger: last.trigger, outcome: last.outcome, duration_ms: last.durationMs },
  reconciles: rest.reconciles,
  errors: diagnosticsJson(errors),
  failing_since: failingSince ?? null,
  drift: rest.drift.map(driftJson),
  health: rest.health === undefined ? null : healthJson(rest.health),
})

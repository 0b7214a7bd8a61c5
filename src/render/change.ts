// The lines under a change, with its details.

import { diffArrays } from 'diff'
import type { Provenance } from '../model/desired.ts'
import type { AttachedProgram } from '../model/live.ts'
import { formatCount, plural } from '../model/numbers.ts'
import { changedSettings, DEFAULT_POLICY, type Policy, SETTING_NAMES, settingOf } from '../model/policy.ts'
import { type Attachment, type List, type Program, scopeKey } from '../model/state.ts'
import { chainedText } from '../plan/chain.ts'
import type { Change } from '../plan/change.ts'
import { type ScopeSummary, summarizeList } from './list-summary.ts'
import { formatBytes } from './numbers.ts'
import type { Paint } from './paint.ts'
import { shownPolicy } from './policy.ts'
import { rateLimitLines } from './rate-limit.ts'
import { serviceLines } from './service.ts'
import { SAME, setting } from './setting.ts'
import type { Sample, Samples } from './typed.ts'

function programLines(before: Program | undefined, after: Program | undefined): string[] {
  const digest = (program: Program | undefined) => program?.digest.slice(0, 16)
  return [
    setting('digest', digest(before), digest(after)),
    setting('abi', before && String(before.abi), after && String(after.abi)),
  ]
}

const modesText = (attachment: Attachment | undefined): string | undefined => attachment?.modes.join(', else ')

const foreignText = ({ id, name, tag, mode }: AttachedProgram): string =>
  `replaces foreign program ${id}${name && ` ${name}`} (${mode}${tag && `, tag ${tag}`})`

/** The change of the program behind ours. */
function chainLines(before: Attachment | undefined, after: Attachment | undefined): string[] {
  const [had, has] = [before?.chain, after?.chain]
  if (after === undefined) return had === undefined ? [] : [`puts ${chainedText(had)} back in place of ours`]
  if (had?.id === has?.id)
    return had && had.pin !== has?.pin ? [`keeps ${chainedText(had)} running behind ours without that pin`] : []
  return [
    ...(had === undefined ? [] : [`ends ${chainedText(had)} behind ours`]),
    ...(has === undefined ? [] : [`keeps ${chainedText(has)} running behind ours: it gets the packets that pass`]),
  ]
}

function interfaceLines({ op, before, after, displaces = [] }: Extract<Change, { kind: 'interface' }>): string[] {
  const mode =
    op === 'update'
      ? setting('mode', modesText(before), undefined)
      : setting('mode', modesText(before), modesText(after))
  const [had, has] = [before?.roles.join(', '), after?.roles.join(', ')]
  const changed = had !== undefined && has !== undefined && had !== has
  const limited = has !== undefined && before === undefined && after?.roles.length === 1
  const roles = changed || limited ? [setting('roles', had, has)] : []
  const chain = chainLines(before, after)
  const again =
    op === 'update' && displaces.length === 0 && chain.length === 0 && !changed
      ? ['re-attached; it does not run the committed program']
      : []
  return [mode, ...roles, ...chain, ...again, ...displaces.map(foreignText)]
}

/** The scopes of a list as a text diff, if the set of scopes changes. */
function scopeLines(before: List | undefined, after: List | undefined, { green, red }: Paint): string[] {
  if (before === undefined || after === undefined) return []
  const keys = (list: List) => list.sets.map(({ scope }) => scopeKey(scope))
  const parts = diffArrays(keys(before), keys(after))
  if (parts.every(({ added, removed }) => !added && !removed)) return []
  const lines = parts.flatMap(({ added, removed, value }) =>
    value.map((scope) => (added ? `  ${green('+')} ${scope}` : removed ? `  ${red('-')} ${scope}` : `    ${scope}`)),
  )
  return ['applies to:', ...lines]
}

/** The place of a sample, and its relation to the rest of the edit. */
function noteOf({ at, within, stays }: Sample): string {
  const note = within === undefined ? (stays ? 'stays' : undefined) : `within ${within}`
  return [at, note].filter((one) => one !== undefined).join(', ')
}

function sampleLines({ samples, rest }: Samples, sign: string, style: Paint): string[] {
  const width = samples.reduce((most, { prefix }) => Math.max(most, prefix.length), 0)
  const lines = samples.map((sample) => {
    const note = noteOf(sample)
    return note === ''
      ? `  ${sign} ${sample.prefix}`
      : `  ${sign} ${sample.prefix.padEnd(width)}  ${style.dim(`# ${note}`)}`
  })
  return rest > 0 ? [...lines, `  ${sign} ... and ${formatCount(rest)} more (--full shows them)`] : lines
}

function summaryLines(summary: ScopeSummary, style: Paint): string[] {
  const { scope, before, after, added, removed } = summary
  const label = scope === 'any' ? '' : `${scope}: `
  const counts = `+${formatCount(added)} -${formatCount(removed)} prefixes`
  return [
    `${label}${counts} (before ${formatCount(before)} -> after ${formatCount(after)})`,
    ...sampleLines(summary.addedSamples, style.green('+'), style),
    ...sampleLines(summary.removedSamples, style.red('-'), style),
  ]
}

/** Packets that would have been dropped while only observed. */
function observedLines({ observed }: Change): string[] {
  if (observed === undefined) return []
  return (observed.anomalies ?? [{ ...observed, name: undefined }]).map(({ packets, bytes, sources, name }) => {
    const about = sources === undefined || sources < 20 ? '' : 'about '
    const from = sources === undefined || packets === 0 ? '' : ` from ${about}${plural(sources, 'source')}`
    const count = `${plural(packets, 'packet')} (${formatBytes(bytes)})${from}`
    return `while ${name ?? 'it'} ${name ? 'was only observed' : 'observed'}, it would have dropped ${count}`
  })
}

/** Places of entries in the config, and in the one before if that is known. */
export interface Places {
  readonly provenance: Provenance | undefined
  readonly earlier?: Provenance | undefined
}

function listLines(
  change: Extract<Change, { kind: 'list' }>,
  { provenance, earlier }: Places,
  most: number,
  style: Paint,
): string[] {
  const { before, after, delta = [] } = change
  const kind = before && after && before.kind !== after.kind ? [setting('kind', before.kind, after.kind)] : []
  const summaries = summarizeList(change, provenance, most, earlier).flatMap((summary) => summaryLines(summary, style))
  const same = kind.length === 0 && delta.length === 0 ? [before && after ? SAME : 'no entries'] : []
  return [...kind, ...scopeLines(before, after, style), ...observedLines(change), ...summaries, ...same]
}

/** Settings of a new policy that a file sets to something else than they are without it. */
const setSettings = (after: Policy): readonly string[] =>
  changedSettings(DEFAULT_POLICY, after).filter((name) => !settingOf(name).follows)

function policyLines(before: Policy | undefined, after: Policy | undefined): string[] {
  const changed = before && after ? changedSettings(before, after) : []
  const [left, right] = [before && shownPolicy(before), after && shownPolicy(after)]
  const set = after && !before ? setSettings(after) : []
  // The default verdict gives context, whatever changed.
  const shown = SETTING_NAMES.filter((name) => name === 'default' || changed.includes(name) || set.includes(name))
  const lines = shown.flatMap((name) => {
    const { text = String, consequence } = settingOf(name)
    const line = setting(name, left && text(left[name]), right && text(right[name]))
    return consequence !== undefined && changed.includes(name) ? [line, consequence] : [line]
  })
  return before && after && changed.length === 0 ? [...lines, SAME] : lines
}

/** The lines under the title of a change, not indented. `most`: most samples per direction of a list. */
export function changeLines(change: Change, places: Places, most: number, style: Paint): string[] {
  const { provenance } = places
  switch (change.kind) {
    case 'program':
      return programLines(change.before, change.after)
    case 'policy':
      return [...policyLines(change.before, change.after), ...observedLines(change)]
    case 'interface':
      return interfaceLines(change)
    case 'list':
      return listLines(change, places, most, style)
    case 'rate_limit':
      return [...rateLimitLines(change, provenance, most, style), ...observedLines(change)]
    case 'service':
      return serviceLines(change, provenance, most, style)
    default:
      return change satisfies never
  }
}

// Renders a plan as text. This room turns results into text or JSON; it decides nothing and prints nothing. A sign
// always shows what apply will do to the kernel. Signs are plain ASCII (serial consoles), and colour only repeats them.

import type { Provenance } from '../model/desired.ts'
import type { Drift } from '../model/live.ts'
import { formatCount, plural } from '../model/numbers.ts'
import type { Change, Op, Plan } from '../plan/change.ts'
import { causeText, contactText, cutsTitle } from '../plan/cuts.ts'
import { countDelta } from '../plan/delta.ts'
import { changeLines } from './change.ts'
import { renderDiagnostics } from './diagnostic.ts'
import { driftBlock } from './drift.ts'
import { SAMPLES } from './list-summary.ts'
import { changeTitle } from './names.ts'
import { formatBytes } from './numbers.ts'
import { type OfflineView, offlineLines, sameText } from './offline.ts'
import { type Paint, paint } from './paint.ts'
import { rateText } from './rate-limit.ts'
import { serviceNote } from './service.ts'

export interface PlanView {
  /** undefined: the plan of `xdp destroy`, which reads no file. */
  readonly config: { readonly path: string; readonly sha256: string } | undefined
  readonly provenance: Provenance | undefined
  /** Of the config that a plan without the kernel starts from. */
  readonly earlier?: Provenance | undefined
  readonly detail: 'normal' | 'full' | 'summary'
  readonly color: boolean
  /** Equivalent command lines, with --commands. */
  readonly commands: readonly string[] | undefined
  /** Count of changes in the whole plan; --target may leave some out of `plan`. */
  readonly total: number
  /** The plan was made without the kernel. */
  readonly offline?: OfflineView | undefined
  /** `plan` holds drift and the changes that revert it alone. */
  readonly isDriftOnly?: boolean
  /** The file that the plan was saved to. */
  readonly saved?: { readonly path: string; readonly sha256: string; readonly accepted: readonly string[] } | undefined
}

/** The parts of a plan that are shown. */
type Shown = Pick<Plan, 'changes' | 'drift' | 'warnings' | 'cuts' | 'rateMemory'>

const SIGNS = { create: '+', update: '~', delete: '-', replace: '-/+' } as const satisfies Record<Op, string>
const OPS = ['create', 'update', 'delete', 'replace'] as const

function sign(op: Op, { green, yellow, red }: Paint): string {
  switch (op) {
    case 'create':
      return green('+')
    case 'update':
      return yellow('~')
    case 'delete':
      return red('-')
    case 'replace':
      return `${red('-')}/${green('+')}`
    default:
      return op satisfies never
  }
}

/** The signs in use. */
export const legendOf = (changes: readonly Change[], style: Paint): string[] =>
  OPS.filter((op) => changes.some((change) => change.op === op)).map((op) => `${sign(op, style)} ${op}`)

function header({ changes, drift }: Shown, { config }: PlanView, style: Paint): string[] {
  const title = config
    ? `Plan for ${config.path} (sha256 ${config.sha256.slice(0, 12)})`
    : 'Plan to remove everything of this instance from the kernel'
  const legend = legendOf(changes, style)
  if (drift.length > 0) legend.push(`${style.cyan('!')} drift`)
  return [style.bold(title), `Signs: ${legend.join('   ')}`, '']
}

function driftLines(drift: readonly Drift[], { cyan }: Paint): string[] {
  if (drift.length === 0) return []
  const sign = cyan('!')
  return [`${sign} Drift since the last apply:`, ...drift.flatMap((one) => driftBlock(one, sign)), '']
}

/** A change that only reverts drift: the config asks for what the last apply did. */
const isRevert = ({ origin }: Change): boolean => origin?.drifted === true && origin.edited !== true

function titleLine(change: Change, width: number, style: Paint, note: string): string {
  const indent = ' '.repeat(4 - SIGNS[change.op].length)
  const impact = change.impact === 'hitless' ? change.impact : style.yellow(impactText(change))
  const tail = `${impact} ${style.dim(`(${reasonText(change)})`)}`
  return `${indent}${sign(change.op, style)} ${changeTitle(change).padEnd(width)}  ${tail}${note}`
}

/** `drift`, `config-changed`, or both where the object drifted and was edited. */
function reasonText({ reason, origin }: Change): string {
  if (!origin?.drifted || !origin.edited) return reason
  return `${reason === 'drift' ? 'config-changed' : reason}, drift`
}

/** `cuts 3 connections`; the other impacts in their own words. */
function impactText({ impact, cuts = 0 }: Change): string {
  if (impact !== 'cuts') return impact
  return cuts > 0 ? `cuts ${plural(cuts, 'connection')}` : 'cuts a peer'
}

/** The live connections and other peers that the plan would cut. */
function cutLines({ cuts }: Shown, { detail, provenance }: PlanView, style: Paint): string[] {
  const title = cuts && cutsTitle(cuts)
  if (cuts === undefined || title === undefined) return []
  const shown = cuts.cut.slice(0, { full: Number.POSITIVE_INFINITY, normal: SAMPLES, summary: 0 }[detail])
  const lines = shown.map((cut) => `  ${contactText(cut)} ${style.dim(causeText(cut, provenance))}`)
  const rest = cuts.cut.length - shown.length
  const more = rest > 0 && detail === 'normal' ? [`  ... and ${formatCount(rest)} more (--full shows them)`] : []
  const omitted = cuts.omitted > 0 ? ` (${formatCount(cuts.omitted)} more were not judged)` : ''
  return [style.yellow(`${title}${omitted}${shown.length > 0 ? ':' : ''}`), ...lines, ...more, '']
}

function summaryNote(change: Change): string {
  if (change.kind === 'service') return `  ${serviceNote(change)}`
  if (change.kind === 'rate_limit') return `  ${rateText(change.after ?? change.before)}`
  if (change.kind !== 'list') return ''
  const { added, removed } = countDelta([change])
  return `  +${formatCount(added)} -${formatCount(removed)} prefixes`
}

function changeBlock(change: Change, width: number, view: PlanView, style: Paint): string[] {
  if (view.detail === 'summary') {
    return [titleLine(change, width, style, summaryNote(change))]
  }
  const most = view.detail === 'full' ? Number.POSITIVE_INFINITY : SAMPLES
  const lines = changeLines(change, view, most, style).map((line) => `      ${line}`)
  return [titleLine(change, width, style, ''), ...lines]
}

/** The changes, those that only revert drift apart from the edits of the config. */
export function changeBlocks(changes: readonly Change[], view: PlanView, style: Paint): string[] {
  const width = Math.max(...changes.map((change) => changeTitle(change).length), 28)
  const blocksOf = (some: readonly Change[]): string[] =>
    some.flatMap((change) => changeBlock(change, width, view, style))
  const [reverts, edits] = [changes.filter(isRevert), changes.filter((change) => !isRevert(change))]
  if (reverts.length === 0 || edits.length === 0) return blocksOf(changes)
  return ['Apply reverts the drift:', ...blocksOf(reverts), '', 'Apply follows the config:', ...blocksOf(edits)]
}

/** With --drift-only. */
function driftFooter({ drift }: Shown): string {
  if (drift.length === 0) return 'No drift. The live state is as the last apply left it.'
  const count = drift.length === 1 ? '1 object differs' : `${formatCount(drift.length)} objects differ`
  return `Drift: ${count} from the last apply.`
}

/** `1 to create, 2 to update, 0 to delete`. */
export function countsOf(changes: readonly Change[]): string {
  const count = (op: Op): string => formatCount(changes.filter((change) => change.op === op).length)
  const replaced = changes.some(({ op }) => op === 'replace') ? `, ${count('replace')} to replace` : ''
  return `${count('create')} to create, ${count('update')} to update, ${count('delete')} to delete${replaced}`
}

function footer(plan: Shown, { config, total, isDriftOnly, offline }: PlanView): string[] {
  if (isDriftOnly) return [driftFooter(plan)]
  const { changes } = plan
  const partial =
    changes.length === total
      ? []
      : [`Partial view: ${changes.length} of ${plural(total, 'change')}; apply makes all of them.`]
  if (changes.length > 0) return [...partial, `Plan: ${countsOf(changes)}.`]
  if (total > 0) return [...partial, 'Plan: no changes for the selected targets.']
  if (offline && config) return [sameText(offline, config.path)]
  return [
    config
      ? `No changes. Live XDP state matches ${config.path}.`
      : 'Nothing to remove: this instance has nothing in the kernel.',
  ]
}

/** Kernel memory of rate limits, where tables are made, resized or removed. */
function memoryLines({ rateMemory }: Pick<Plan, 'rateMemory'>, { isDriftOnly }: PlanView): string[] {
  if (rateMemory === undefined || isDriftOnly) return []
  const { before, after } = rateMemory
  const was = before > 0 ? ` (before ${formatBytes(before)})` : ''
  return [`Rate limits take ${formatBytes(after)} of kernel memory${was}.`, '']
}

const savedLines = ({ saved }: PlanView): string[] => {
  if (!saved) return []
  const { path, accepted } = saved
  const flags = accepted.length > 0 ? `It accepts: ${accepted.join(', ')}. ` : ''
  return [`Saved to ${path}. ${flags}To apply exactly this plan: xdp apply ${path}`]
}

/** The plan as text that ends with a newline; 80 columns wherever names allow. */
export function renderPlan(plan: Shown, view: PlanView): string {
  const style = paint(view.color)
  const blocks = changeBlocks(plan.changes, view, style)
  const warnings =
    plan.warnings.length > 0 ? [renderDiagnostics(plan.warnings, { color: view.color }).trimEnd(), ''] : []
  const commands =
    view.commands === undefined || plan.changes.length === 0
      ? []
      : [style.bold('Equivalent commands:'), ...view.commands.map((command) => `  ${command}`), '']
  const lines = [
    ...(plan.changes.length > 0 ? header(plan, view, style) : []),
    ...driftLines(plan.drift, style),
    ...blocks,
    ...(blocks.length > 0 ? [''] : []),
    ...memoryLines(plan, view),
    ...cutLines(plan, view, style),
    ...commands,
    ...warnings,
    ...(view.offline ? offlineLines(view.offline) : []),
    ...footer(plan, view),
    ...savedLines(view),
  ]
  return `${lines.join('\n')}\n`
}

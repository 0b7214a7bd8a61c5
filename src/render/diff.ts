// Renders the difference of two policies, as text like a plan and as JSON (schemas/plan.schema.json).

import type { Change } from '../plan/change.ts'
import { jsonDocument } from './json.ts'
import { paint } from './paint.ts'
import { changeBlocks, countsOf, legendOf, type PlanView } from './plan.ts'
import { planFields } from './plan-json.ts'

export interface DiffView extends Pick<PlanView, 'config' | 'provenance' | 'earlier' | 'detail' | 'color'> {
  /** The two policies, in words. */
  readonly from: string
  readonly to: string
}

export function renderDiff(changes: readonly Change[], { from, to, ...rest }: DiffView): string {
  if (changes.length === 0) return `No difference: ${from} and ${to} are the same policy.\n`
  const style = paint(rest.color)
  const view = { ...rest, commands: undefined, total: changes.length }
  return `${[
    style.bold(`Difference from ${from} to ${to}`),
    `Signs: ${legendOf(changes, style).join('   ')}`,
    '',
    ...changeBlocks(changes, view, style),
    '',
    `Difference: ${countsOf(changes)}.`,
  ].join('\n')}\n`
}

export function renderDiffJson(changes: readonly Change[], { from, to, ...rest }: DiffView): string {
  const plan = { changes, drift: [], warnings: [] }
  return jsonDocument({
    ...planFields(plan, { ...rest, commands: undefined, total: changes.length }),
    compared: { from, to },
  })
}

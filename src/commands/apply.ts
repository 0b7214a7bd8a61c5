// xdp apply

import { EXIT, type Exit } from '../diagnostics.ts'
import type { Plan } from '../plan/change.ts'
import { reconcileApply } from '../reconcile.ts'
import { renderApply, renderApplyJson } from '../render/apply.ts'
import { renderPlan } from '../render/plan.ts'
import { approver, declined } from './approve.ts'
import { load } from './config.ts'
import type { Context } from './context.ts'
import type { APPROVE_FLAGS } from './flags.ts'
import type { Arguments } from './specification.ts'

export async function run(context: Context, { options }: Arguments<typeof APPROVE_FLAGS>): Promise<Exit> {
  const { desired, warnings } = await load(context)
  const { config, provenance } = desired
  const show = (plan: Plan, color: boolean): string =>
    renderPlan(
      { ...plan, warnings: [...warnings, ...plan.warnings] },
      { config, provenance, detail: 'normal', color, commands: undefined, total: plan.changes.length },
    )
  const approval = { command: 'apply', question: 'Apply these changes?', auto: options['auto-approve'], show } as const
  const applied = await reconcileApply(context.host, desired, approver(context, approval))
  if (applied === 'declined') throw declined()
  const { plan, result } = applied
  if (context.flags.json) context.stdout(renderApplyJson(result))
  else if (!result.changed) context.stdout(show(plan, context.color.stdout))
  else context.stdout(renderApply(result, { path: config.path, color: context.color.stdout }))
  return result.rolled_back ? EXIT.failed : EXIT.ok
}

// xdp destroy

import { EXIT, type Exit } from '../../diagnostics.ts'
import { destroyInstance } from '../../pipelines/destroy.ts'
import { withTools } from '../../pipelines/tools.ts'
import { refuseWatched } from '../../pipelines/watched.ts'
import type { Plan } from '../../plan/change.ts'
import { renderApply, renderApplyJson } from '../../render/apply.ts'
import { renderPlan } from '../../render/plan.ts'
import type { Context } from '../cli/context.ts'
import type { Arguments } from '../cli/flag.ts'
import type { APPROVE_FLAGS } from '../cli/flags.ts'
import { approver, declined } from './approve.ts'

export async function run(context: Context, { options }: Arguments<typeof APPROVE_FLAGS>): Promise<Exit> {
  const show = (plan: Plan, color: boolean): string => {
    const total = plan.changes.length
    return renderPlan(plan, {
      config: undefined,
      provenance: undefined,
      detail: 'summary',
      color,
      commands: undefined,
      total,
    })
  }
  const approval = { command: 'destroy', question: 'Remove all of this?', auto: options['auto-approve'], show } as const
  const destroyed = await withTools(async () => {
    await refuseWatched(context.host, undefined)
    return destroyInstance(context.host, approver(context, approval))
  })
  if (destroyed === 'declined') throw declined()
  const view = { path: undefined, color: context.color.stdout }
  context.stdout(context.flags.json ? renderApplyJson(destroyed.result) : renderApply(destroyed.result, view))
  return EXIT.ok
}

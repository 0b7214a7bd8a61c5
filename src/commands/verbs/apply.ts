// xdp apply

import { EXIT, type Exit } from '../../diagnostics.ts'
import type { Desired } from '../../model/desired.ts'
import { applyDesired } from '../../pipelines/apply.ts'
import { withTools } from '../../pipelines/tools.ts'
import { refuseWatched } from '../../pipelines/watched.ts'
import type { Plan } from '../../plan/change.ts'
import { renderApply, renderApplyJson } from '../../render/apply.ts'
import { renderPlan } from '../../render/plan.ts'
import type { Context } from '../cli/context.ts'
import type { Arguments, Options } from '../cli/flag.ts'
import type { APPLY_FLAGS } from '../cli/flags.ts'
import { acceptedBy } from './accepted.ts'
import { approver, declined } from './approve.ts'
import { load, showWarnings } from './config.ts'
import { type Findings, recorded } from './record.ts'
import { afterInterfaces } from './wait.ts'

const reclaiming = (desired: Desired): Desired => ({
  ...desired,
  options: new Map([...desired.options].map(([name, one]) => [name, { ...one, reclaims: true }])),
})

async function apply(context: Context, options: Options<typeof APPLY_FLAGS>, findings: Findings): Promise<Exit> {
  const { desired: loaded, warnings } = await load(context)
  const desired = options.reclaim ? reclaiming(loaded) : loaded
  const { config, provenance } = desired
  await refuseWatched(context.host, config.path)
  findings.sha256 = config.sha256
  const show = (plan: Plan, color: boolean): string =>
    renderPlan(
      { ...plan, warnings: [...warnings, ...plan.warnings] },
      { config, provenance, detail: 'normal', color, commands: undefined, total: plan.changes.length },
    )
  const approval = { command: 'apply', question: 'Apply these changes?', auto: options['auto-approve'], show } as const
  const approve = approver(context, approval)
  const applied = await afterInterfaces(context, desired, options['wait-interfaces'], () =>
    applyDesired(context.host, desired, approve, acceptedBy(options)),
  )
  if (applied === 'declined') throw declined()
  const { plan, result } = applied
  findings.result = result
  // The prompt shows warnings, but there was none, and the JSON result has no place for them.
  if (context.flags.json && options['auto-approve']) showWarnings(context, [...warnings, ...plan.warnings])
  if (context.flags.json) context.stdout(renderApplyJson(result))
  else if (!result.changed) context.stdout(show(plan, context.color.stdout))
  else context.stdout(renderApply(result, { path: config.path, color: context.color.stdout }))
  return result.rolled_back ? EXIT.failed : EXIT.ok
}

export const run = (context: Context, { options }: Arguments<typeof APPLY_FLAGS>): Promise<Exit> =>
  withTools(() => recorded(context, options['auto-approve'], (findings) => apply(context, options, findings)))

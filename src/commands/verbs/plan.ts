// xdp plan

import { EXIT, type Exit, fail } from '../../diagnostics.ts'
import { planDesired } from '../../pipelines/plan.ts'
import { withTools } from '../../pipelines/tools.ts'
import { renderPlan } from '../../render/plan.ts'
import { renderPlanJson, savedPlanJson } from '../../render/plan-json.ts'
import type { Context } from '../cli/context.ts'
import type { Arguments, Options } from '../cli/flag.ts'
import type { PLAN_FLAGS } from '../cli/flags.ts'
import { acceptedBy } from './accepted.ts'
import { load } from './config.ts'
import { checkTarget, savePlan } from './saved-plan.ts'
import { onlyTargets } from './targets.ts'

type PlanOptions = Options<typeof PLAN_FLAGS>

/** Throws E300 for flags that exclude each other. */
function checkFlags({ full, summary, out, target }: PlanOptions): void {
  if (full && summary) throw fail('E300', '--full and --summary exclude each other', 'xdp plan --full')
  if (out !== undefined && target.length > 0)
    throw fail(
      'E300',
      '--out and --target exclude each other: apply makes all changes of a plan',
      `xdp plan --out ${out}`,
    )
}

export async function run(context: Context, { options }: Arguments<typeof PLAN_FLAGS>): Promise<Exit> {
  checkFlags(options)
  if (options.out !== undefined) checkTarget(options.out)
  return withTools(() => plan(context, options))
}

async function plan(context: Context, options: PlanOptions): Promise<Exit> {
  const loaded = await load(context)
  const { desired, warnings } = loaded
  const accepted = acceptedBy(options)
  const made = await planDesired(context.host, desired, accepted, options.out !== undefined)
  const shown = onlyTargets(made.plan, options.target, desired.state, made.live)
  const base = {
    config: desired.config,
    provenance: desired.provenance,
    detail: options.full ? 'full' : options.summary ? 'summary' : 'normal',
    commands: options.commands ? made.commands : undefined,
    total: made.plan.changes.length,
  } as const
  const noted = { ...shown, warnings: [...warnings, ...shown.warnings] }
  const saved =
    options.out === undefined
      ? undefined
      : savePlan({ path: options.out, loaded, planned: made, accepted }, savedPlanJson(noted, base))
  const changes = { ...noted, warnings: [...noted.warnings, ...(saved?.warnings ?? [])] }
  const view = { ...base, color: context.color.stdout, saved }
  context.stdout(context.flags.json ? renderPlanJson(changes, view) : renderPlan(changes, view))
  return options['detailed-exitcode'] && changes.changes.length > 0 ? EXIT.changesPending : EXIT.ok
}

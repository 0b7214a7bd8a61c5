// xdp plan

import { EXIT, type Exit, fail } from '../../diagnostics.ts'
import { planDesired } from '../../pipelines/plan.ts'
import { withTools } from '../../pipelines/tools.ts'
import { renderPlan } from '../../render/plan.ts'
import { renderPlanJson } from '../../render/plan-json.ts'
import type { Context } from '../cli/context.ts'
import type { Arguments, Options } from '../cli/flag.ts'
import type { PLAN_FLAGS } from '../cli/flags.ts'
import { acceptedBy } from './accepted.ts'
import { load } from './config.ts'
import { withHeld } from './held.ts'
import { onlyTargets } from './targets.ts'

export async function run(context: Context, { options }: Arguments<typeof PLAN_FLAGS>): Promise<Exit> {
  if (options.full && options.summary) throw fail('E300', '--full and --summary exclude each other', 'xdp plan --full')
  return withTools(() => plan(context, options))
}

async function plan(context: Context, options: Options<typeof PLAN_FLAGS>): Promise<Exit> {
  const { desired, warnings } = await withHeld(context, await load(context))
  const made = await planDesired(context.host, desired, acceptedBy(options))
  const shown = onlyTargets(made.plan, options.target, desired.state, made.live)
  const changes = { ...shown, warnings: [...warnings, ...shown.warnings] }
  const view = {
    config: desired.config,
    provenance: desired.provenance,
    detail: options.full ? 'full' : options.summary ? 'summary' : 'normal',
    color: context.color.stdout,
    commands: options.commands ? made.commands : undefined,
    total: made.plan.changes.length,
  } as const
  context.stdout(context.flags.json ? renderPlanJson(changes, view) : renderPlan(changes, view))
  return options['detailed-exitcode'] && changes.changes.length > 0 ? EXIT.changesPending : EXIT.ok
}

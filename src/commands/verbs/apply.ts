// xdp apply

import { resolve } from 'node:path'
import { type Diagnostic, EXIT, type Exit } from '../../diagnostics.ts'
import type { Desired } from '../../model/desired.ts'
import { acceptedFlags, type SavedPlan } from '../../model/saved-plan.ts'
import { applyDesired } from '../../pipelines/apply.ts'
import { heldTo, refuseElsewherePlan } from '../../pipelines/saved-plan.ts'
import { withTools } from '../../pipelines/tools.ts'
import { refuseWatched } from '../../pipelines/watched.ts'
import type { Plan } from '../../plan/change.ts'
import { renderApply, renderApplyJson } from '../../render/apply.ts'
import { pendingLines } from '../../render/confirmation.ts'
import { renderPlan } from '../../render/plan.ts'
import type { ApplyResult } from '../../report/result.ts'
import type { Context } from '../cli/context.ts'
import type { Arguments, Options } from '../cli/flag.ts'
import type { APPLY_FLAGS } from '../cli/flags.ts'
import { acceptedBy } from './accepted.ts'
import { approver, declined } from './approve.ts'
import { type Chosen, chosenAtBoot } from './boot.ts'
import { load, showWarnings } from './config.ts'
import { confirmOn, requestOf } from './confirm-request.ts'
import { countDown } from './countdown.ts'
import { withHeld } from './held.ts'
import { type Findings, recorded } from './record.ts'
import { acceptedWith, checkPlanFlags, loadPlanned, readPlan } from './saved-plan.ts'
import { afterInterfaces } from './wait.ts'

type ApplyOptions = Options<typeof APPLY_FLAGS>

const reclaiming = (desired: Desired): Desired => ({
  ...desired,
  options: new Map([...desired.options].map(([name, one]) => [name, { ...one, reclaims: true }])),
})

/** The confirmation that the live policy waits for since an earlier apply. */
export const waiting = ({ pending }: ApplyResult): string => (pending ? pendingLines(pending) : '')

/** A saved plan, if the command line names one. */
async function plannedBy(context: Context, path: string | undefined): Promise<SavedPlan | undefined> {
  if (path === undefined) return undefined
  const planned = readPlan(context, path)
  await refuseElsewherePlan(context.host, planned)
  return planned
}

/** The config to apply: of the saved plan, of the last confirmed apply at boot, or the file. */
async function chosenBy(context: Context, planned: SavedPlan | undefined, options: ApplyOptions): Promise<Chosen> {
  const loaded = await (planned ? loadPlanned(context, planned) : load(context))
  await refuseWatched(context.host, loaded.desired.config.path)
  const accepted = planned ? acceptedWith(planned, acceptedBy(options)) : acceptedBy(options)
  if (options.boot) return chosenAtBoot(context, loaded, accepted)
  return { ...(planned ? loaded : await withHeld(context, loaded)), accepted }
}

/** Whether a warning says only that the boot is not over: `xdp watch` starts behind the unit of the boot. */
const isOfBoot = ({ code }: Diagnostic, { boot }: ApplyOptions): boolean => boot && code === 'W265'

async function apply(
  context: Context,
  file: string | undefined,
  options: ApplyOptions,
  findings: Findings,
): Promise<Exit> {
  const on = await confirmOn(options)
  const planned = await plannedBy(context, file)
  if (planned) findings.path = resolve(context.flags.file ?? planned.config.path)
  const { desired: loaded, warnings, accepted } = await chosenBy(context, planned, options)
  const desired = options.reclaim ? reclaiming(loaded) : loaded
  const { config, provenance } = desired
  findings.sha256 = config.sha256
  const warningsOf = (plan: Plan): Diagnostic[] =>
    [...warnings, ...plan.warnings].filter((one) => !isOfBoot(one, options))
  const show = (plan: Plan, color: boolean): string =>
    renderPlan(
      { ...plan, warnings: warningsOf(plan) },
      { config, provenance, detail: 'normal', color, commands: undefined, total: plan.changes.length },
    )
  const request = requestOf(options, desired, on)
  // The review of a saved plan was its approval.
  const auto = options['auto-approve'] || planned !== undefined
  const approval = { command: 'apply', question: 'Apply these changes?', auto, show } as const
  const approve = approver(context, approval)
  const applied = await afterInterfaces(context, desired, options['wait-interfaces'], () =>
    applyDesired(context.host, desired, approve, accepted, undefined, request, planned && heldTo(planned)),
  )
  if (applied === 'declined') throw declined()
  const { plan, result, late = [] } = applied
  findings.result = result
  // The prompt shows warnings, but there was none, and the JSON result has no place for them.
  if (context.flags.json && auto) showWarnings(context, warningsOf(plan))
  else showWarnings(context, late)
  const saved = planned && { path: file as string, sha256: planned.sha256, accepted: acceptedFlags(planned.accepted) }
  if (context.flags.json) context.stdout(renderApplyJson(result, saved))
  else if (!result.changed) {
    const warnings = plan.warnings.filter((warning) => !late.includes(warning))
    context.stdout(show({ ...plan, warnings }, context.color.stdout) + waiting(result))
  } else context.stdout(renderApply(result, { path: config.path, color: context.color.stdout }, saved))
  return result.rolled_back ? EXIT.failed : EXIT.ok
}

export async function run(
  context: Context,
  { positionals: [file], options }: Arguments<typeof APPLY_FLAGS>,
): Promise<Exit> {
  if (file !== undefined) checkPlanFlags(options)
  let result: ApplyResult | undefined
  const exit = await withTools(() =>
    recorded(context, options['auto-approve'] || file !== undefined, file !== undefined, async (findings) => {
      const end = await apply(context, file, options, findings)
      result = findings.result
      return end
    }),
  )
  const mayAsk = context.interactive && !context.flags.json
  return result?.pending && mayAsk ? countDown(context, result.pending) : exit
}

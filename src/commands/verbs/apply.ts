// xdp apply

import { EXIT, type Exit } from '../../diagnostics.ts'
import type { ConfirmRequest } from '../../model/confirmation.ts'
import type { Desired } from '../../model/desired.ts'
import { applyDesired } from '../../pipelines/apply.ts'
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
import { load, showWarnings } from './config.ts'
import { confirmTime } from './confirm.ts'
import { countDown } from './countdown.ts'
import { chosenAtBoot, withHeld } from './held.ts'
import { type Findings, recorded } from './record.ts'
import { afterInterfaces } from './wait.ts'

const reclaiming = (desired: Desired): Desired => ({
  ...desired,
  options: new Map([...desired.options].map(([name, one]) => [name, { ...one, reclaims: true }])),
})

/** The confirmation that the live policy waits for since an earlier apply. */
export const waiting = ({ pending }: ApplyResult): string => (pending ? pendingLines(pending) : '')

/** The confirmation to wait for: the flag holds for every apply, the config not for the first one of an instance. */
export function requestOf(
  { confirm }: Pick<Options<typeof APPLY_FLAGS>, 'confirm'>,
  { confirmMs }: Desired,
): ConfirmRequest | undefined {
  if (confirm === 'off') return undefined
  if (confirm !== undefined) return { milliseconds: confirmTime('confirm', confirm), evenFirst: true }
  return confirmMs === undefined ? undefined : { milliseconds: confirmMs, evenFirst: false }
}

async function apply(context: Context, options: Options<typeof APPLY_FLAGS>, findings: Findings): Promise<Exit> {
  const file = await load(context)
  await refuseWatched(context.host, file.desired.config.path)
  const chosen = options.boot
    ? await chosenAtBoot(context, file, acceptedBy(options))
    : { ...(await withHeld(context, file)), accepted: acceptedBy(options) }
  const { desired: loaded, warnings, accepted } = chosen
  const desired = options.reclaim ? reclaiming(loaded) : loaded
  const { config, provenance } = desired
  findings.sha256 = config.sha256
  const show = (plan: Plan, color: boolean): string =>
    renderPlan(
      { ...plan, warnings: [...warnings, ...plan.warnings] },
      { config, provenance, detail: 'normal', color, commands: undefined, total: plan.changes.length },
    )
  const request = requestOf(options, desired)
  const approval = { command: 'apply', question: 'Apply these changes?', auto: options['auto-approve'], show } as const
  const approve = approver(context, approval)
  const applied = await afterInterfaces(context, desired, options['wait-interfaces'], () =>
    applyDesired(context.host, desired, approve, accepted, undefined, request),
  )
  if (applied === 'declined') throw declined()
  const { plan, result } = applied
  findings.result = result
  // The prompt shows warnings, but there was none, and the JSON result has no place for them.
  if (context.flags.json && options['auto-approve']) showWarnings(context, [...warnings, ...plan.warnings])
  if (context.flags.json) context.stdout(renderApplyJson(result))
  else if (!result.changed) context.stdout(show(plan, context.color.stdout) + waiting(result))
  else context.stdout(renderApply(result, { path: config.path, color: context.color.stdout }))
  return result.rolled_back ? EXIT.failed : EXIT.ok
}

export async function run(context: Context, { options }: Arguments<typeof APPLY_FLAGS>): Promise<Exit> {
  let result: ApplyResult | undefined
  const exit = await withTools(() =>
    recorded(context, options['auto-approve'], async (findings) => {
      const end = await apply(context, options, findings)
      result = findings.result
      return end
    }),
  )
  const mayAsk = context.interactive && !context.flags.json
  return result?.pending && mayAsk ? countDown(context, result.pending) : exit
}

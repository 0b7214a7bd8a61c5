// xdp rollback

import { EXIT, type Exit } from '../../diagnostics.ts'
import { applyDesired } from '../../pipelines/apply.ts'
import { findEntry, findPrevious } from '../../pipelines/history.ts'
import { withTools } from '../../pipelines/tools.ts'
import { refuseWatched } from '../../pipelines/watched.ts'
import type { Plan } from '../../plan/change.ts'
import { renderApply, renderApplyJson } from '../../render/apply.ts'
import { renderPlan } from '../../render/plan.ts'
import type { ApplyResult } from '../../report/result.ts'
import { acceptedFor, loadEntry, overruledNow } from '../../watch/restore.ts'
import type { Context } from '../cli/context.ts'
import type { Arguments, Options } from '../cli/flag.ts'
import type { ROLLBACK_FLAGS } from '../cli/flags.ts'
import { acceptedBy } from './accepted.ts'
import { waiting } from './apply.ts'
import { approver, declined } from './approve.ts'
import { showWarnings, trustOf } from './config.ts'
import { confirmOn, requestOf } from './confirm-request.ts'
import { countDown } from './countdown.ts'
import { entryNumber } from './history.ts'
import { type Findings, recorded } from './record.ts'

async function rollBack(
  context: Context,
  word: string | undefined,
  options: Options<typeof ROLLBACK_FLAGS>,
  findings: Findings,
): Promise<Exit> {
  const { host, flags, stdout, color } = context
  const on = await confirmOn(options)
  const trust = trustOf(context)
  const entry = word === undefined ? await findPrevious(host) : await findEntry(host, entryNumber(word))
  const overrules = await overruledNow(host, entry, trust)
  await refuseWatched(host, overrules.path)
  const { desired, warnings } = await loadEntry(host, entry, overrules, trust)
  const { provenance } = desired
  Object.assign(findings, { sha256: desired.config.sha256, path: entry.config.path })
  const path = `apply ${entry.number} of ${entry.config.path}`
  const config = { ...desired.config, path }
  const show = (plan: Plan, painted: boolean): string =>
    renderPlan(
      { ...plan, warnings: [...warnings, ...plan.warnings] },
      { config, provenance, detail: 'normal', color: painted, commands: undefined, total: plan.changes.length },
    )
  const question = 'Go back to that policy?'
  const approve = approver(context, { command: 'rollback', question, auto: options['auto-approve'], show })
  const accepted = acceptedFor(entry, acceptedBy(options))
  const request = requestOf(options, desired, on)
  const applied = await applyDesired(host, desired, approve, accepted, undefined, request)
  if (applied === 'declined') throw declined()
  const { plan, result } = applied
  findings.result = result
  if (flags.json && options['auto-approve']) showWarnings(context, [...warnings, ...plan.warnings])
  if (flags.json) stdout(renderApplyJson(result))
  else if (!result.changed) stdout(show(plan, color.stdout) + waiting(result))
  else {
    stdout(renderApply(result, { path, color: color.stdout }))
    if (overrules.sha256.length > 0) stdout(`${overrules.path} is as it was; \`xdp plan\` shows how it differs.\n`)
  }
  return result.rolled_back ? EXIT.failed : EXIT.ok
}

export async function run(context: Context, { options, positionals }: Arguments<typeof ROLLBACK_FLAGS>): Promise<Exit> {
  let result: ApplyResult | undefined
  const exit = await withTools(() =>
    recorded(context, options['auto-approve'], false, async (findings) => {
      const end = await rollBack(context, positionals[0], options, findings)
      result = findings.result
      return end
    }),
  )
  const mayAsk = context.interactive && !context.flags.json
  return result?.pending && mayAsk ? countDown(context, result.pending) : exit
}

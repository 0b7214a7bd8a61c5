// xdp plan

import { EXIT, type Exit, fail } from '../../diagnostics.ts'
import type { Desired } from '../../model/desired.ts'
import { planDesired, reportDrift } from '../../pipelines/plan.ts'
import { withTools } from '../../pipelines/tools.ts'
import type { Plan } from '../../plan/change.ts'
import { type PlanView, renderPlan } from '../../render/plan.ts'
import type { Context } from '../cli/context.ts'
import type { Arguments, Options } from '../cli/flag.ts'
import type { PLAN_FLAGS } from '../cli/flags.ts'
import { acceptedBy } from './accepted.ts'
import { load } from './config.ts'
import { withHeld } from './held.ts'
import type { Saved, Saving } from './saved-plan.ts'
import { onlyTargets } from './targets.ts'

type PlanOptions = Options<typeof PLAN_FLAGS>
type Shown = Parameters<typeof renderPlan>[0]
type View = Omit<PlanView, 'color'>

const excludeEachOther = (left: string, right: string, hint: string) =>
  fail('E300', `${left} and ${right} exclude each other`, hint)

/** Throws E300 for flags that exclude each other. */
function checkFlags({ full, summary, out, target, commands, 'drift-only': isDriftOnly }: PlanOptions): void {
  if (full && summary) throw excludeEachOther('--full', '--summary', 'xdp plan --full')
  // Apply makes all changes of a plan.
  if (out !== undefined && target.length > 0) throw excludeEachOther('--out', '--target', `xdp plan --out ${out}`)
  if (out !== undefined && isDriftOnly) throw excludeEachOther('--out', '--drift-only', `xdp plan --out ${out}`)
  if (commands && isDriftOnly) throw excludeEachOther('--commands', '--drift-only', 'xdp plan --commands')
}

export async function run(context: Context, { options }: Arguments<typeof PLAN_FLAGS>): Promise<Exit> {
  checkFlags(options)
  if (options.against !== undefined) return offline(context, options, options.against)
  if (options.out !== undefined) (await import('./saved-plan.ts')).checkTarget(options.out)
  return withTools(() => (options['drift-only'] ? drift(context, options) : plan(context, options)))
}

const viewOf = ({ config, provenance }: Desired, { full, summary }: PlanOptions, total: number) => ({
  config,
  provenance,
  detail: full ? ('full' as const) : summary ? ('summary' as const) : ('normal' as const),
  total,
})

// Code for JSON, saved plans and --against is loaded where it is asked for: most plans do without.

/** Prints a plan. */
async function show({ flags, stdout, color }: Context, plan: Shown, view: View): Promise<void> {
  if (!flags.json) return stdout(renderPlan(plan, { ...view, color: color.stdout }))
  const { renderPlanJson } = await import('../../render/plan-json.ts')
  stdout(renderPlanJson(plan, view))
}

async function save(saving: Saving, plan: Plan, view: Pick<View, 'provenance' | 'detail'>): Promise<Saved> {
  const [{ savePlan }, { savedPlanJson }] = await Promise.all([
    import('./saved-plan.ts'),
    import('../../render/plan-json.ts'),
  ])
  return savePlan(saving, savedPlanJson(plan, view))
}

const exitOf = (options: PlanOptions, differences: readonly unknown[]): Exit =>
  options['detailed-exitcode'] && differences.length > 0 ? EXIT.changesPending : EXIT.ok

async function plan(context: Context, options: PlanOptions): Promise<Exit> {
  const loaded = await withHeld(context, await load(context))
  const { desired, warnings } = loaded
  const accepted = acceptedBy(options)
  const made = await planDesired(context.host, desired, accepted, options.out !== undefined)
  const shown = onlyTargets(made.plan, options.target, desired.state, made.live)
  const base = viewOf(desired, options, made.plan.changes.length)
  const noted = { ...shown, warnings: [...warnings, ...shown.warnings] }
  const saved =
    options.out === undefined
      ? undefined
      : await save({ path: options.out, loaded, planned: made, accepted }, noted, base)
  const changes = { ...noted, warnings: [...noted.warnings, ...(saved?.warnings ?? [])] }
  const commands = options.commands ? await made.commands() : undefined
  await show(context, changes, { ...base, commands, saved })
  return exitOf(options, changes.changes)
}

/** Shows drift, and the changes that revert it. Guards refuse nothing: a foreign program in place of ours is what to show. */
async function drift(context: Context, options: PlanOptions): Promise<Exit> {
  const { desired } = await load(context)
  const made = await reportDrift(context.host, desired, acceptedBy(options))
  const shown = onlyTargets(made.plan, options.target, desired.state, made.live)
  const found = { ...shown, changes: shown.changes.filter(({ origin }) => origin?.drifted), warnings: [] }
  const base = viewOf(desired, options, made.plan.changes.length)
  await show(context, found, { ...base, commands: undefined, isDriftOnly: true })
  return exitOf(options, found.drift)
}

/** The plan against a file, without the kernel. */
async function offline(context: Context, options: PlanOptions, path: string): Promise<Exit> {
  const { checkAgainst, planAgainst } = await import('./against.ts')
  checkAgainst(options)
  const { loaded, plan: made, before, ...sides } = await planAgainst(context, path, acceptedBy(options))
  const { desired, warnings } = loaded
  const shown = onlyTargets(made, options.target, desired.state, before)
  const plan = { ...shown, warnings: [...warnings, ...shown.warnings] }
  const base = viewOf(desired, options, made.changes.length)
  await show(context, plan, { ...base, commands: undefined, offline: sides, earlier: before.provenance })
  return exitOf(options, plan.changes)
}

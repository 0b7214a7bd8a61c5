// Saved plans: `xdp plan --out FILE` writes one, and `xdp apply FILE` reads it.

import { statSync } from 'node:fs'
import { resolve } from 'node:path'
import { inputsNow } from '../../config/inputs.ts'
import { isUnusable, readBytes, refuse } from '../../config/text/source.ts'
import { type Diagnostic, fail, XdpError } from '../../diagnostics.ts'
import { bothAllowed, readAllowedCuts, reviewable, wordsOfAllowed } from '../../model/contact.ts'
import type { Desired } from '../../model/desired.ts'
import { acceptedFlags, type PlanAccepted, type PlanBasis, type SavedPlan } from '../../model/saved-plan.ts'
import type { Planned } from '../../pipelines/plan.ts'
import { guardCuts } from '../../plan/cuts.ts'
import type { Accepted } from '../../plan/feeds.ts'
import { movedInputs, refuseMoved } from '../../plan/stale.ts'
import { openPlan, PLAN_LIMIT, sealPlan, wasPlan } from '../../saved/saved-plan.ts'
import type { Context } from '../cli/context.ts'
import type { Options } from '../cli/flag.ts'
import type { APPLY_FLAGS } from '../cli/flags.ts'
import { type Loaded, loadFrom, trustOf } from './config.ts'
import { PRIVATE, writeWhole } from './write-file.ts'

/** Reads a saved plan. Throws E001, E002, E003 or E132 for a file that must not be read, else like openPlan. */
export function readPlan(context: Context, path: string): SavedPlan {
  const bytes = readBytes(path, PLAN_LIMIT, trustOf(context))
  if (!isUnusable(bytes)) return openPlan(path, bytes)
  const hint = 'a plan is what `xdp plan --out FILE` writes; to apply a config: xdp apply -f FILE'
  return refuse(bytes.code === 'E132' ? bytes : { ...bytes, hint })
}

/** The flags of `xdp apply` that a saved plan decides itself. */
const DECIDED = {
  'accept-shrink': 'write it at `xdp plan --out`',
  'accept-growth': 'write it at `xdp plan --out`',
  'accept-removed': 'write it at `xdp plan --out`',
  'accept-blocked': 'write it at `xdp plan --out`',
  'accept-wide': 'write it at `xdp plan --out`',
  reclaim: 'a plan cannot be saved on a host whose pins are lost: xdp apply --reclaim',
  boot: 'a saved plan says what to apply: xdp apply --boot',
  'wait-interfaces': 'a saved plan names the interfaces that were there',
} as const satisfies Partial<Record<keyof typeof APPLY_FLAGS, string>>

/** The part of the accepted things that a saved plan carries. */
const savedOf = (accepted: Accepted): PlanAccepted => ({
  shrink: accepted.acceptShrink,
  growth: accepted.acceptGrowth,
  removed: accepted.acceptRemoved,
  blocked: accepted.acceptBlocked,
  wide: accepted.acceptWide,
  cuts: wordsOfAllowed(reviewable(accepted.allowedCuts)),
})

/** The things to accept for a saved plan: those of its review, and on the command line further cuts. */
export function acceptedWith({ accepted }: SavedPlan, { allowedCuts }: Accepted): Accepted {
  const { shrink, growth, removed, blocked, wide, cuts } = accepted
  const reviewed = readAllowedCuts(cuts, false)
  return {
    ...{ acceptShrink: shrink, acceptGrowth: growth },
    ...{ acceptRemoved: removed, acceptBlocked: blocked, acceptWide: wide },
    // A plan whose words this build does not know allows less.
    allowedCuts: typeof reviewed === 'string' ? allowedCuts : bothAllowed(reviewed, allowedCuts),
  }
}

/** Throws E300 for a flag that does not go with a saved plan. */
export function checkPlanFlags(options: Options<typeof APPLY_FLAGS>): void {
  for (const [flag, hint] of Object.entries(DECIDED)) {
    const value = options[flag as keyof typeof DECIDED]
    if (value !== false && value !== undefined) throw fail('E300', `--${flag} does not go with a saved plan`, hint)
  }
}

/** Loads the config of a saved plan. Throws E244 if one of its files is no longer as it was. */
export async function loadPlanned(context: Context, { config, inputs }: SavedPlan): Promise<Loaded> {
  const path = context.flags.file ?? config.path
  let loaded: Loaded
  try {
    loaded = await loadFrom(context, path)
  } catch (error) {
    // A file that is gone or broken now has changed.
    if (error instanceof XdpError) refuseMoved(movedInputs(inputs, inputsNow(path, inputs)))
    throw error
  }
  refuseMoved(movedInputs(inputs, loaded.inputs()))
  return loaded
}

/**
 * Throws E402 for a file that is no saved plan and not empty: most likely the name is a slip, and the config would be lost.
 */
export function checkTarget(path: string): void {
  const found = statSync(path, { throwIfNoEntry: false })
  if (!found?.isFile() || found.size === 0) return
  const bytes = readBytes(path, PLAN_LIMIT)
  if (!isUnusable(bytes) && wasPlan(bytes)) return
  throw fail('E402', `${path} exists and is not a saved plan`, 'name another file, or remove that one')
}

/** Warns of a plan that no apply would accept. */
function warningsOf({ plan, live }: Planned, { provenance }: Desired, { allowedCuts }: Accepted): Diagnostic[] {
  const pending: Diagnostic[] = live.pending
    ? [
        {
          code: 'W249',
          severity: 'warning',
          message: `the saved plan cannot be applied: the end of confirmation ${live.pending.id} changes the live state`,
          hint: 'xdp confirm, then make the plan again',
        },
      ]
    : []
  const cuts = plan.cuts ? guardCuts(plan.cuts, reviewable(allowedCuts), provenance) : []
  const refused = cuts.map(({ message, hint }): Diagnostic => {
    const warning = {
      code: 'W250',
      severity: 'warning',
      message: `apply would refuse the saved plan: ${message}`,
    } as const
    return { ...warning, ...(hint === undefined ? {} : { hint }) }
  })
  return [...pending, ...refused]
}

/** A plan that is to be saved. */
export interface Saving {
  readonly path: string
  readonly loaded: Pick<Loaded, 'desired' | 'inputs'>
  readonly planned: Planned
  readonly accepted: Accepted
}

export interface Saved {
  /** As on the command line. */
  readonly path: string
  readonly sha256: string
  readonly accepted: readonly string[]
  readonly warnings: readonly Diagnostic[]
}

/**
 * Writes the file of a saved plan. Throws E402 as checkTarget, E405 if it cannot be written.
 *
 * @param shown the plan as JSON
 */
export function savePlan(
  { path, loaded: { desired, inputs }, planned, accepted }: Saving,
  shown: Readonly<Record<string, unknown>>,
): Saved {
  const saved = savedOf(accepted)
  const { text, sha256 } = sealPlan(
    {
      ...(planned.basis as PlanBasis),
      createdAt: new Date().toISOString(),
      config: { path: resolve(desired.config.path), sha256: desired.config.sha256 },
      inputs: inputs(),
      accepted: saved,
    },
    shown,
  )
  checkTarget(path)
  writeWhole(path, text, PRIVATE)
  return { path, sha256, accepted: acceptedFlags(saved), warnings: warningsOf(planned, desired, accepted) }
}

// The policy to apply at boot.

import { resolve } from 'node:path'
import { type Diagnostic, fail } from '../../diagnostics.ts'
import { readConfirmation } from '../../pipelines/confirm.ts'
import { readHeld } from '../../pipelines/history.ts'
import type { Accepted } from '../../plan/feeds.ts'
import { acceptedFor, loadHeld } from '../../watch/restore.ts'
import type { Context } from '../cli/context.ts'
import { type Loaded, trustOf } from './config.ts'
import { reasonOf } from './held.ts'

/** A config with what the planner accepts for it. */
export interface Chosen extends Loaded {
  readonly accepted: Accepted
}

/**
 * The config to apply at boot: that of the file, or the last confirmed one in place of it. Throws E231 if there is no
 * confirmed one, E236 and E237 if it is not kept: then nothing is applied, so that the host can be reached.
 */
export async function chosenAtBoot(context: Context, loaded: Loaded, accepted: Accepted): Promise<Chosen> {
  const { host } = context
  const held = await readHeld(host, loaded.desired)
  if (!held) return { ...loaded, accepted }
  const { by, over, why } = held
  // Not a boot: the policy waits for its confirmation.
  if (over.confirmation !== undefined && (await readConfirmation(host, over.confirmation)))
    return { ...loaded, accepted }
  const { path } = loaded.desired.config
  if (by === undefined) {
    throw fail(
      'E231',
      `${reasonOf(held, path)}, and no policy was in force before`,
      `apply it all the same: xdp apply -f ${path}`,
    )
  }
  const restored = await loadHeld(host, { ...held, by }, loaded, trustOf(context))
  const warning: Diagnostic = {
    code: 'W248',
    severity: 'warning',
    message: `${reasonOf(held, path)}: applying ${why === 'unconfirmed' ? `apply ${by.number}, the last confirmed one` : 'that one'} in place of the file`,
    hint: `edit ${resolve(path)}, or apply it all the same: xdp apply -f ${path}`,
  }
  return { ...loaded, ...restored, warnings: [warning, ...restored.warnings], accepted: acceptedFor(by, accepted) }
}

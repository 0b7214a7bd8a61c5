// The policy in force in place of that of the file: after a rollback, or an apply that was not confirmed.

import { resolve } from 'node:path'
import { type Diagnostic, fail } from '../../diagnostics.ts'
import { readConfirmation } from '../../pipelines/confirm.ts'
import { type Held, readHeld } from '../../pipelines/history.ts'
import type { Accepted } from '../../plan/feeds.ts'
import { seconds } from '../../render/numbers.ts'
import { acceptedFor, loadHeld } from '../../watch/restore.ts'
import type { Context } from '../cli/context.ts'
import { type Loaded, trustOf } from './config.ts'

/** Why the policy of the file is not in force. */
function reasonOf({ why, over }: Held, path: string): string {
  const { number, at, restores } = over
  return why === 'rolled-back'
    ? `${path} has not changed since \`xdp rollback\` went back to apply ${restores} at ${seconds(at)} (apply ${number})`
    : `${path} is the config of apply ${number} at ${seconds(at)}, which was not confirmed`
}

/** The config with a warning if another policy is in force in place of it. */
export async function withHeld({ host }: Context, loaded: Loaded): Promise<Loaded> {
  const held = await readHeld(host, loaded.desired)
  if (!held) return loaded
  const { path } = loaded.desired.config
  const warning: Diagnostic = {
    code: 'W247',
    severity: 'warning',
    message: `${reasonOf(held, path)}, so file and kernel differ because of that`,
    hint: `\`xdp apply\` puts the policy of ${path} in force; \`xdp watch\` holds until the file changes`,
  }
  return { ...loaded, warnings: [...loaded.warnings, warning] }
}

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

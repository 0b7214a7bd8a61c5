// The policy in force in place of that of the file: after a rollback, or an apply that was not confirmed.

import type { Diagnostic } from '../../diagnostics.ts'
import { type Held, readHeld } from '../../pipelines/history.ts'
import { seconds } from '../../render/numbers.ts'
import type { Context } from '../cli/context.ts'
import type { Loaded } from './config.ts'

/** Why the policy of the file is not in force. */
export function reasonOf({ why, over }: Held, path: string): string {
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

// xdp plan --against, and the state of xdp why --against: without the kernel.

import { isUnusable, readBytes, refuse } from '../../config/text/source.ts'
import { fail } from '../../diagnostics.ts'
import type { Desired } from '../../model/desired.ts'
import type { Against, ExportedState, Unknown } from '../../model/exported.ts'
import type { Live } from '../../model/live.ts'
import type { State } from '../../model/state.ts'
import { planAgainstConfig, planAgainstState, type Shown } from '../../pipelines/offline.ts'
import type { Accepted } from '../../plan/feeds.ts'
import { unknownToConfig, unknownToState } from '../../plan/offline.ts'
import { withSecretsOf } from '../../render/policy.ts'
import { openState, STATE_LIMIT } from '../../saved/state.ts'
import type { Context } from '../cli/context.ts'
import type { Options } from '../cli/flag.ts'
import type { PLAN_FLAGS } from '../cli/flags.ts'
import { addressesIfAny, type Loaded, load, loadFile } from './config.ts'

/** Flags of a plan that need the kernel. */
const NEED_KERNEL = ['out', 'drift-only', 'commands', 'allow-cut', 'force-cut'] as const

/** Throws E300 for a flag that does not go with --against. */
export function checkAgainst(options: Options<typeof PLAN_FLAGS>): void {
  const isGiven = (flag: (typeof NEED_KERNEL)[number]): boolean => {
    const value = options[flag]
    return Array.isArray(value) ? value.length > 0 : value !== undefined && value !== false
  }
  const wrong = options.against === undefined ? undefined : NEED_KERNEL.find(isGiven)
  if (wrong === undefined) return
  throw fail(
    'E300',
    `--${wrong} needs the kernel, and a plan with --against has none`,
    'leave one of the two flags out',
  )
}

/** A plan that was made against a file. */
export interface Offline {
  readonly loaded: Loaded
  readonly against: Against
  readonly unknown: readonly Unknown[]
  readonly plan: Shown
  /** The live state of the file, or the other config's. */
  readonly before: { readonly state: State; readonly provenance?: Desired['provenance'] }
}

/** The live state of a file. Secrets are compared by their fingerprints. */
export function liveOf({ live }: ExportedState, desired: Desired | undefined): Live {
  const policy = desired?.state.policy
  const own = live.state.policy
  return own && policy ? { ...live, state: { ...live.state, policy: withSecretsOf(own, policy) } } : live
}

async function againstState(
  { host }: Context,
  loaded: Loaded,
  path: string,
  state: ExportedState,
  accepted: Accepted,
): Promise<Offline> {
  const { desired } = loaded
  const live = liveOf(state, desired)
  const plan = await planAgainstState(host, desired, state, live, accepted)
  const unknown = unknownToState(desired, state)
  return { loaded, against: { kind: 'state', path, state }, unknown, plan, before: { state: live.state } }
}

async function againstConfig(context: Context, loaded: Loaded, path: string, accepted: Accepted): Promise<Offline> {
  const { desired } = loaded
  const other = (await loadFile(context, path, { readHost: addressesIfAny })).desired
  const plan = await planAgainstConfig(context.host, desired, other.state, accepted)
  const against = { kind: 'config', path, sha256: other.config.sha256 } as const
  return { loaded, against, unknown: unknownToConfig(desired), plan, before: other }
}

const LARGE_HINT = 'name a state (xdp status --state FILE) or a config'

/** The file of --against, or stdin for `-`. `state` is undefined where it is no exported state. */
async function readOther(context: Context, path: string) {
  const isStdin = path === '-'
  const bytes = isStdin ? await context.readInput() : readBytes(path, STATE_LIMIT)
  if (isUnusable(bytes)) return refuse(bytes.code === 'E003' ? { ...bytes, hint: LARGE_HINT } : bytes)
  const name = isStdin ? 'stdin' : path
  return { name, isStdin, state: openState(name, bytes) }
}

/** Reads an exported state. Throws E300 for any other file. */
export async function readState(context: Context, path: string): Promise<{ name: string; state: ExportedState }> {
  const { name, state } = await readOther(context, path)
  if (state) return { name, state }
  const hint = 'export one on the host: xdp status --state FILE. By a config alone: xdp why ADDRESS -f FILE --offline'
  throw fail('E300', `${name} is not an exported state, and the verdict of a host needs one`, hint)
}

/** Makes the plan against a file: an exported state, or a config. */
export async function planAgainst(context: Context, path: string, accepted: Accepted): Promise<Offline> {
  const { name, isStdin, state } = await readOther(context, path)
  if (isStdin && !state) {
    const hint = 'name the file of a config, or write a state: xdp status --state - | xdp plan --against -'
    throw fail('E300', 'stdin holds no state of a host, and no config is read from there', hint)
  }
  const loaded = await load(context, { readHost: state ? async () => state.live.ownAddresses : addressesIfAny })
  return state ? againstState(context, loaded, name, state, accepted) : againstConfig(context, loaded, path, accepted)
}

// Plans without the kernel. They need no permission, no tool and no bpffs.

import { readOwnAddresses } from '../kernel/host/protect.ts'
import { observe } from '../kernel/observe/observe.ts'
import { loadObject } from '../kernel/tools/object.ts'
import type { Desired } from '../model/desired.ts'
import type { ExportedState } from '../model/exported.ts'
import type { Live } from '../model/live.ts'
import type { State } from '../model/state.ts'
import { changesBetween } from '../plan/between.ts'
import type { Plan } from '../plan/change.ts'
import { type Accepted, settle } from '../plan/feeds.ts'
import { guard } from '../plan/guard.ts'
import { warningsAgainst, warnState } from '../plan/offline.ts'
import { plan } from '../plan/plan.ts'
import { guardRadius } from '../plan/radius.ts'
import { computing } from './computing.ts'
import { planBuild, planHost } from './saved-plan.ts'
import { type Host, interruptible, now, openSession, reading, refuse } from './session.ts'

/** The parts of a plan that are shown. */
export type Shown = Pick<Plan, 'changes' | 'drift' | 'warnings' | 'rateMemory'>

/** Reads everything that a plan of this host follows from. Takes no lock. */
export const exportState = (host: Host): Promise<ExportedState> =>
  interruptible(host, async () => {
    const { paths } = await openSession(host, 'pins')
    // Without services observe reads no addresses, and a config may name them.
    const [live, ownAddresses, { program }, of] = await Promise.all([
      reading(paths, () => observe(paths, host)),
      readOwnAddresses(),
      loadObject(),
      planHost(host),
    ])
    return { createdAt: new Date().toISOString(), host: of, build: planBuild(program), live: { ...live, ownAddresses } }
  })

/**
 * The plan of the host of a state. Throws XdpError if a guard refuses, as on that host.
 *
 * @param live its live state, with the secrets that the config has too
 */
export async function planAgainstState(
  host: Host,
  desired: Desired,
  exported: ExportedState,
  live: Live,
  accepted: Accepted,
): Promise<Plan> {
  const terms = { now: now(), ...accepted }
  const { program } = await loadObject()
  refuse(guard(desired, live))
  const made = await computing(host, () => plan(desired, live, program, terms))
  refuse(guardRadius(desired, made, live.state, terms))
  const about = warnState(exported, planBuild(program), terms.now)
  return { ...made, warnings: [...about, ...warningsAgainst(made.warnings, desired, live)] }
}

/** The changes from one config to another. Throws XdpError if a limit of the second one refuses them. */
export async function planAgainstConfig(
  host: Host,
  desired: Desired,
  before: State,
  accepted: Accepted,
): Promise<Shown> {
  const terms = { now: now(), ...accepted }
  return computing(host, () => {
    const { lists, warnings } = settle(desired, { state: before }, terms)
    const state = { ...desired.state, lists }
    const changes = changesBetween(before, state)
    refuse(guardRadius(desired, { changes, state }, before, terms))
    return { changes, drift: [], warnings }
  })
}

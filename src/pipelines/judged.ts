// Judges a plan that changes something: contacts of this host that it would cut, and packets that it would drop.

import type { Target } from '../features/feature.ts'
import { readOwnOnInterfaces } from '../kernel/host/protect.ts'
import { readTimeServers } from '../kernel/host/time-servers.ts'
import { modelJudge } from '../kernel/live/answers.ts'
import { findCutPartners, findCuts } from '../kernel/live/cuts.ts'
import { readWouldDrop } from '../kernel/live/observed.ts'
import type { Observation } from '../kernel/observe/observe.ts'
import type { BpfObject } from '../kernel/tools/object.ts'
import type { Desired } from '../model/desired.ts'
import type { Plan } from '../plan/change.ts'
import { withCuts } from '../plan/cuts.ts'
import type { Terms } from '../plan/feeds.ts'
import { beginningToDrop, withObserved } from '../plan/observed.ts'
import { partnersOf } from '../plan/partners.ts'
import { warnOwnAddresses } from '../plan/warn-own-addresses.ts'
import { witnessesOf } from '../plan/witnesses.ts'
import { isAskable, presentJudge } from './present.ts'
import type { Session } from './session.ts'

type Contacts = NonNullable<Target['contacts']>

/** The terms on which the contacts of this host are judged. */
export function contactsOf(
  made: Plan,
  { protect, provenance }: Desired,
  live: Observation,
  { program }: BpfObject,
  { allowedCuts }: Terms,
): Contacts {
  const { state, slots, links } = live
  return {
    witnesses: witnessesOf(protect, { before: state, after: made.state }),
    allowed: allowedCuts,
    provenance,
    links,
    before: { state, slots },
    after: { state: made.state, slots: made.slots },
    isAsked: isAskable(live, program),
  }
}

/** The plan with the contacts that it would cut. The model judges, because the programs do not exist yet. */
export async function judgedPlan(
  session: Session,
  desired: Desired,
  made: Plan,
  live: Observation,
  { program }: BpfObject,
  contacts: Contacts,
): Promise<Plan> {
  const { links, before, after, witnesses } = contacts
  const judge = presentJudge(session, live, program)
  const judged = { before: { ...before, judge }, after: { ...after, judge: modelJudge(after.state) } }
  const [own, timeServers] = await Promise.all([readOwnOnInterfaces(), readTimeServers()])
  const cuts = await findCuts({ links, witnesses, ...judged })
  const partners = partnersOf({ health: desired.health, state: made.state }, live, timeServers)
  const cut = [...cuts.cut, ...(await findCutPartners(partners, { links, before, after }))]
  const warnings = [...made.warnings, ...warnOwnAddresses(own, made, desired.provenance)]
  return withCuts({ ...(await observedPlan(session, made, live)), warnings }, { ...cuts, cut })
}

/** The plan with what would have been dropped that is to be dropped now. */
async function observedPlan({ paths }: Session, made: Plan, live: Observation): Promise<Plan> {
  const beginning = beginningToDrop(made)
  if (live.instance.missing.length > 0 || !live.committed?.meta) return made
  return withObserved(made, await readWouldDrop(paths, live, beginning))
}

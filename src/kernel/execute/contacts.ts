// The last guard before the switch: the new programs themselves judge whom they would cut.

import { XdpError } from '../../diagnostics.ts'
import type { StepOf } from '../../features/step.ts'
import { guardCuts } from '../../plan/cuts.ts'
import { modelJudge, programJudge } from '../live/answers.ts'
import { findCuts } from '../live/cuts.ts'

/** Throws E226 to E229 if guarded contacts would be cut that the command line does not allow to cut. */
export async function requireContacts(step: StepOf<'prove-contacts'>): Promise<void> {
  const { explain, present, before, after, links, witnesses, allowed, provenance } = step
  const judge = present === undefined ? modelJudge(before.state) : programJudge(present, before.state, before.slots)
  const cuts = await findCuts({
    links,
    witnesses,
    before: { ...before, judge },
    after: { ...after, judge: programJudge(explain, after.state, after.slots) },
  })
  const refused = guardCuts(cuts, allowed, provenance)
  if (refused.length > 0) throw new XdpError(refused)
}

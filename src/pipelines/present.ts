// The judge of the present: the loaded program, or the model where another build is loaded.

import { FILTER } from '../features/filter.ts'
import { type Judge, modelJudge, programJudge } from '../kernel/live/answers.ts'
import type { Observation } from '../kernel/observe/observe.ts'
import type { Program } from '../model/state.ts'
import type { Session } from './session.ts'

/** Whether the live program can be asked about many packets: an older build judges one in a run. */
export const isAskable = ({ committed, state }: Observation, { digest }: Program): boolean =>
  committed?.meta !== undefined && !committed.unpinned.has(FILTER.programs.explain) && state.program?.digest === digest

/** Judges by the live policy. `program`: of this build. */
export function presentJudge({ paths }: Pick<Session, 'paths'>, live: Observation, program: Program): Judge {
  const { generation, state, slots } = live
  if (!isAskable(live, program)) return modelJudge(state)
  return programJudge(paths.program(generation, FILTER.programs.explain), state, slots)
}

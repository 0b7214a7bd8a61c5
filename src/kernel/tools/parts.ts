// The optional parts of the programs, and which of them a policy needs. A part is a line here, a line in
// bpf/include/parts.h, and code under `if (PART(name))`.

import type { State } from '../../model/state.ts'

type Needs = Pick<State, 'services'>

/** Each part with whether a state needs it. */
const PARTS = {
  balancer: ({ services }) => services.size > 0,
} as const satisfies Readonly<Record<string, (state: Needs) => boolean>>

export type Part = keyof typeof PARTS

export const ALL_PARTS = Object.keys(PARTS) as readonly Part[]

/** The parts that the programs for a state have; always in the same order. */
export const partsFor = (state: Needs): readonly Part[] => ALL_PARTS.filter((part) => PARTS[part](state))

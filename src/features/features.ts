// Every feature of the data plane, and their maps and programs together. To add one: write its record and name it here.

import type { ProgramParts } from '../abi/object.ts'
import type { MapShape } from '../abi/paths.ts'
import type { State } from '../model/state.ts'
import { BALANCER } from './balancer.ts'
import { BANS } from './bans.ts'
import type { Feature } from './feature.ts'
import { FILTER } from './filter.ts'
import { HEALTH } from './health.ts'

/** In the order of their steps and rows. */
export const FEATURES: readonly Feature[] = [FILTER, BANS, BALANCER, HEALTH]

/** Maps that programs use and that outlive generations. */
export const PROGRAM_MAPS: readonly MapShape[] = FEATURES.flatMap(({ maps }) => Object.values(maps))

/** All maps that outlive generations. */
export const SHARED_MAPS: readonly MapShape[] = FEATURES.flatMap(({ maps, records = {} }) => [
  ...Object.values(maps),
  ...Object.values(records),
])

/** Names of the maps that belong to one generation, besides its policy. */
export const OWN_MAPS: readonly string[] = FEATURES.flatMap(({ ownMaps }) => ownMaps?.names ?? [])

/** Names of the programs of a generation. */
export const PROGRAMS: readonly string[] = FEATURES.flatMap(({ programs }) => Object.values(programs))

/** Programs without which a generation is incomplete. */
export const CORE_PROGRAMS: readonly string[] = FEATURES.flatMap(({ core = [] }) => core)

const PARTS = FEATURES.flatMap(({ parts = {} }) => Object.entries(parts))

export const ALL_PARTS: ProgramParts = new Map(PARTS.map(([name]) => [name, true]))

export const NO_PARTS: ProgramParts = new Map(PARTS.map(([name]) => [name, false]))

/** The parts that the programs for a state have. */
export const partsFor = (state: State): ProgramParts =>
  new Map(PARTS.map(([name, isNeeded]) => [name, isNeeded(state)]))

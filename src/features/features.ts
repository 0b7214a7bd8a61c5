// Every feature of the data plane, and their maps and programs together. A new feature needs
//
// - a record in this directory, and its name in FEATURES below. Lowering, observation, status, stats, metrics and doctor
//   take everything else from the record, and the build makes the tables of docs/metrics.md and the names in
//   `xdp schema stats` from it.
// - a header in bpf/include with its code, its maps and the variable of its part (parts.h); a call in filter.h under
//   PART(); and a program in bpf/xdp.bpf.c for each name under `programs` of the record.
// - its shared bytes in bpf/include/abi.h, or in a header abi_*.h that abi.h includes: the build makes src/abi/generated.ts
//   from the structs, enums and numeric macros there.
// - its reasons in the list of bpf/include/abi.h, from which the build makes names and verdicts, and rows in
//   docs/filter.md.
// - its config: keys in schemas/xdp.schema.json, from which the build makes docs/config.md, xdp.yaml(5) and errors, and an
//   example in xdp.yaml.example. A setting of the policy has a record in src/model/policy.ts and, if it is a number, a
//   field of its name in `struct settings` (abi.h), else a flag in src/tables/image/settings.ts; other keys need a reader
//   in src/config.
// - tests in test/bpf, and a sentence in CHANGELOG.md.

import type { ProgramParts } from '../abi/object.ts'
import type { MapShape } from '../abi/paths.ts'
import type { State } from '../model/state.ts'
import type { Memory } from '../report/stats.ts'
import { ANOMALIES } from './anomalies.ts'
import { BALANCER } from './balancer.ts'
import { BANS } from './bans.ts'
import { CHAIN } from './chain.ts'
import { ESTABLISHED } from './established.ts'
import type { Feature } from './feature.ts'
import { FILTER } from './filter.ts'
import { HEALTH } from './health.ts'
import { MATCH } from './match.ts'
import { OBSERVE } from './observe.ts'
import { RATES } from './rates.ts'
import { SOCKETLESS } from './socketless.ts'
import { SYN } from './syn.ts'

/** In the order of their steps and rows. */
export const FEATURES: readonly Feature[] = [
  FILTER,
  BANS,
  BALANCER,
  HEALTH,
  ESTABLISHED,
  SOCKETLESS,
  MATCH,
  OBSERVE,
  ANOMALIES,
  RATES,
  SYN,
  CHAIN,
]

/** Maps that outlive generations. */
export const SHARED_MAPS: readonly MapShape[] = FEATURES.flatMap(({ maps }) => Object.values(maps))

/** Names of the maps that belong to one generation, besides its policy. */
export const OWN_MAPS: readonly string[] = FEATURES.flatMap(({ ownMaps }) => ownMaps?.names ?? [])

/** Those of them that are filled with random bytes when they are made. */
export const SECRET_MAPS: readonly string[] = FEATURES.flatMap(({ ownMaps }) => ownMaps?.secret ?? [])

/** Names of the programs of a generation. */
export const PROGRAMS: readonly string[] = FEATURES.flatMap(({ programs }) => Object.values(programs))

/** Programs without which a generation is incomplete. */
export const CORE_PROGRAMS: readonly string[] = FEATURES.flatMap(({ core = [] }) => core)

const USES: ReadonlyMap<MapShape, keyof Memory> = new Map(
  FEATURES.flatMap(({ memory = {} }) =>
    Object.entries(memory).flatMap(([use, maps]) => maps.map((map) => [map, use as keyof Memory] as const)),
  ),
)

/** The use under which stats show the kernel memory of a map that outlives generations. */
export const memoryUse = (map: MapShape): keyof Memory => USES.get(map) ?? 'counters'

const OWN_USES: ReadonlyMap<string, keyof Memory> = new Map(
  FEATURES.flatMap(({ ownMemory = {} }) =>
    Object.entries(ownMemory).flatMap(([use, names]) => names.map((name) => [name, use as keyof Memory] as const)),
  ),
)

/** The use under which stats show the kernel memory of a map of a generation. */
export const ownMemoryUse = (name: string): keyof Memory => OWN_USES.get(name) ?? 'policy'

const PARTS = FEATURES.flatMap(({ parts = {} }) => Object.entries(parts))

export const ALL_PARTS: ProgramParts = new Map(PARTS.map(([name]) => [name, true]))

export const NO_PARTS: ProgramParts = new Map(PARTS.map(([name]) => [name, false]))

/** The parts that the programs for a state have. */
export const partsFor = (state: State): ProgramParts =>
  new Map(PARTS.map(([name, isNeeded]) => [name, isNeeded(state)]))

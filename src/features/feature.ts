// A feature of the data plane as one record: its maps, programs and reasons, the steps that an apply takes for it, what it
// adds to status, stats and metrics, and what it needs of the kernel. Lowering, observation, reports, metrics and doctor
// iterate over the records; the code that reads and writes a feature's maps while it is live is in src/kernel/live.
// features.ts lists all places of a feature.

import type { Part } from '../abi/command.ts'
import type { Generation, Instance } from '../abi/instance.ts'
import type { ObjectFile, ProgramParts } from '../abi/object.ts'
import type { Probe } from '../abi/packet.ts'
import type { MapShape, Paths } from '../abi/paths.ts'
import type { ConfirmTerms } from '../model/confirmation.ts'
import type { Live, Slots } from '../model/live.ts'
import type { State } from '../model/state.ts'
import type { Plan } from '../plan/change.ts'
import type { Metric } from '../report/metric.ts'
import type { ReasonName } from '../report/reason.ts'
import type { RateStatus, ServiceStatus } from '../report/result.ts'
import type { Fill, Memory } from '../report/stats.ts'
import type { LineChange, Previous as PreviousImage } from '../tables/layout/difference.ts'
import type { Image } from '../tables/layout/layout.ts'
import type { ContactTerms, Step } from './step.ts'

/** The live state, with the pins that it was read from. */
export interface Observed extends Live {
  readonly instance: Instance
  /** The generation the live state was read from. */
  readonly committed: Generation | undefined
}

/** The target of a plan: the generation, and its content if that changes. */
export interface Target {
  readonly generation: number
  /** undefined if the content stays, or everything is removed. */
  readonly image: Image | undefined
  /** Lines of the live generation that are rewritten for the image; undefined: another generation is built for it. */
  readonly rewrite: readonly LineChange[] | undefined
  /** Facts about the live image, if its lines can be taken over. */
  readonly previous: PreviousImage | undefined
  /** The objects with the programs of a generation, and the parts that these get. */
  readonly objects: readonly ObjectFile[]
  readonly parts: ProgramParts
  readonly carryObject: string
  readonly kindsObject: string
  /** Whether its maps and programs exist already. */
  readonly isStaged: boolean
  /** Unix time in seconds. */
  readonly now: number
  /** Whether health stays as it is, because a daemon maintains it. */
  readonly keepsHealth: boolean
  readonly probes: readonly Probe[]
  /** Undefined: nothing is judged. `isAsked`: the live `explain` can judge many packets. */
  readonly contacts?: (ContactTerms & { readonly isAsked: boolean }) | undefined
  /** The new generation waits for it, and the previous one stays loaded. */
  readonly confirmation: ConfirmTerms | undefined
}

/** The input of lowering. */
export interface Lowering {
  readonly paths: Paths
  readonly plan: Plan
  readonly live: Observed
  readonly target: Target
}

/** A lowering to a new generation. */
export interface NewGeneration extends Lowering {
  readonly target: Target & { readonly image: Image }
}

export const isNewGeneration = (lowering: Lowering): lowering is NewGeneration =>
  lowering.target.image !== undefined && lowering.target.rewrite === undefined

/** The pins of an instance that a reading may rely on. */
export interface Readable {
  readonly paths: Paths
  /** Shared maps that are pinned. */
  readonly present: readonly MapShape[]
  /** Its generations, ascending, with the names of their pinned maps beside the policy. */
  readonly generations: readonly { readonly number: number; readonly ownMaps: readonly string[] }[]
}

/** A generation whose programs a reading may run. */
export interface ReadableGeneration extends Pick<Readable, 'paths' | 'present'> {
  readonly generation: number
  /** Names of the programs that are pinned. */
  readonly programs: ReadonlySet<string>
}

/** Facts for gauges besides their own reading. */
export interface GaugeFacts {
  readonly generation: Generation
  readonly services: readonly ServiceStatus[]
  readonly slots: Pick<Slots, 'pools'>
  readonly rateLimits: readonly Pick<RateStatus, 'per'>[]
}

/** The fill of a feature's maps. `R`: the type of its reading; `N`: the names of its rows. */
export interface Gauges<R, N extends string = string> {
  /** Every row that `fill` may return, with its description in Markdown: see rows.ts. */
  readonly rows: Readonly<Record<N, string>>
  /** undefined if the generation lacks a program or map for it. */
  readonly part: (from: ReadableGeneration) => Part<R> | undefined
  readonly fill: (read: R, facts: GaugeFacts) => readonly Fill<NoInfer<N>>[]
}

/** Gauges without the type of their reading, which only the record itself knows. */
export const gauges = <R, N extends string>(own: Gauges<R, N>): Gauges<unknown> => own as Gauges<unknown, string>

/** A part of the kernel that a feature needs, and the version that introduced it (tags in torvalds/linux). */
export interface KernelNeed {
  readonly since: readonly [major: number, minor: number]
  readonly what: string
}

export interface Feature {
  readonly name: string
  /** Maps that outlive generations. */
  readonly maps: Readonly<Record<string, MapShape>>
  /** Maps of one generation: their names, and their shapes, which depend on the image. */
  readonly ownMaps?: {
    readonly names: readonly string[]
    readonly shapes: (image: Pick<Image, 'settings' | 'balance' | 'sections'>) => readonly MapShape[]
    /** Whether a map with this many entries can serve as one of this shape. */
    readonly fits: (shape: MapShape, entries: number) => boolean
    /** Names of those with one value, which is random from the start. */
    readonly secret?: readonly string[]
  }
  /** Names of programs, and of their pins in a generation. */
  readonly programs: Readonly<Record<string, string>>
  /** Optional parts of the programs, and whether a state needs them. NAME is `part_NAME` in bpf/include. */
  readonly parts?: Readonly<Record<string, (state: State) => boolean>>
  /** Programs without which a generation is incomplete; an apply repairs one that lacks others. */
  readonly core?: readonly string[]
  /** Reasons of the verdicts that this feature gives; each belongs to one feature (src/report/reason.ts). */
  readonly reasons: readonly ReasonName[]
  /** For doctor. */
  readonly needs: readonly KernelNeed[]

  /** Steps after a generation is filled and verified, before it gets packets. */
  readonly beside?: (lowering: NewGeneration) => readonly Step[]
  /** Steps just before the switch. */
  readonly prepare?: (lowering: Lowering) => readonly Step[]
  /** Steps after the switch, before the commit. */
  readonly switched?: (lowering: NewGeneration) => readonly Step[]
  /** Steps after the commit, which are not undone. */
  readonly committed?: (lowering: Lowering) => readonly Step[]

  /**
   * Steps that undo, for the return of the previous generation, what the others changed outside of generations. They may
   * run just before the switch back.
   */
  readonly reverting?: (lowering: Lowering) => readonly Step[]
  /** Such steps that must follow the switch back. */
  readonly reverted?: (lowering: NewGeneration) => readonly Step[]

  /** Facts that every observation reads into Instance.features. */
  readonly observe?: (from: Readable) => Part<unknown> | undefined
  readonly gauges?: Gauges<unknown>
  /** Its maps whose kernel memory stats show under another use than `counters`. */
  readonly memory?: Readonly<Partial<Record<keyof Memory, readonly MapShape[]>>>
  /** Names of its maps of a generation whose kernel memory stats show under another use than `policy`. */
  readonly ownMemory?: Readonly<Partial<Record<keyof Memory, readonly string[]>>>
  /** Listed in docs/metrics.md with their help texts. */
  readonly metrics: readonly Metric[]
}

/** A map of the live generation; undefined if there is none. */
export function liveMap(paths: Paths, { committed }: Observed, name: string) {
  const known = committed?.meta && committed.ownMaps.get(name)
  return committed && known && { pin: paths.ownMap(committed.number, { name }), entries: known.entries }
}

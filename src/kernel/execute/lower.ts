// Lowering: Plan → Step[], the one list that execution, rollback and `plan --commands` go through. Pure.
//
// The order of the steps, in traffic terms: everything before the first record works on objects that no packet meets; each
// attach or replace changes one interface from the old policy to the new in one kernel operation; detaching interfaces
// that left the file and freeing the old generation come last, when nothing depends on them.

import { LINE_SIZE, metaCodec } from '../../abi/generated.ts'
import type { ObjectFile, ProgramParts } from '../../abi/object.ts'
import { isForeignPin, type MapShape, type Paths, policyMap } from '../../abi/paths.ts'
import { carriesBans } from '../../features/bans.ts'
import { isNewGeneration, type Lowering, liveMap, type NewGeneration } from '../../features/feature.ts'
import { FEATURES, PROGRAMS, SECRET_MAPS, SHARED_MAPS } from '../../features/features.ts'
import { COPY_PROGRAM, FILTER } from '../../features/filter.ts'
import type { ChainLink, MapBinding, Step, StepOf } from '../../features/step.ts'
import type { Confirmation } from '../../model/confirmation.ts'
import type { Live } from '../../model/live.ts'
import type { Attachment } from '../../model/state.ts'
import { wordsFor } from '../../plan/chain.ts'
import type { Change } from '../../plan/change.ts'
import { type LineChange, transferOf } from '../../tables/layout/difference.ts'
import type { Image } from '../../tables/layout/layout.ts'
import { revertSteps } from './lower-revert.ts'
import { attachSteps, replaceSteps } from './lower-switch.ts'
import { forgetSteps, recordSteps, slotOf } from './records.ts'

type InterfaceChange = Extract<Change, { kind: 'interface' }>

/** A new generation without content. */
export interface Blank {
  readonly generation: number
  readonly lines: number
  readonly objects: readonly ObjectFile[]
  readonly parts: ProgramParts
  /** Generation whose lines can be copied. */
  readonly previous: number | undefined
  /** The bans of the previous generation, if they must be carried over. */
  readonly bansBefore?: string | undefined
  readonly ownMaps: readonly OwnMap[]
}

/** A map beside the policy: made with this shape, or handed on from this pin of the previous generation. */
type OwnMap =
  | { readonly shape: MapShape; readonly handedOn: undefined }
  | { readonly shape: Pick<MapShape, 'name'>; readonly handedOn: string }

/** The maps of a generation beside its policy, and which of them are handed on from the live one. */
function ownMapsOf({ paths, live, target: { image } }: NewGeneration): OwnMap[] {
  return FEATURES.flatMap(({ ownMaps }) =>
    (ownMaps?.shapes(image) ?? []).map((shape): OwnMap => {
      const existing = liveMap(paths, live, shape.name)
      const isFit = existing !== undefined && ownMaps?.fits(shape, existing.entries)
      return isFit ? { shape, handedOn: existing.pin } : { shape, handedOn: undefined }
    }),
  )
}

/** Whether a generation with this image takes over all maps of the one before. */
export const handsOnAll = (lowering: NewGeneration): boolean =>
  ownMapsOf(lowering).every((map) => map.handedOn !== undefined)

function ownMapSteps(paths: Paths, generation: number, map: OwnMap): Step[] {
  const pin = paths.ownMap(generation, map.shape)
  if (map.handedOn !== undefined) return [{ kind: 'hand-on-map', from: map.handedOn, to: pin }]
  const made: Step = { kind: 'make-map', pin, shape: map.shape }
  const isSecret = SECRET_MAPS.includes(map.shape.name)
  return isSecret ? [made, { kind: 'fill-random', map: pin, size: map.shape.valueSize }] : [made]
}

/** The maps of a generation: the policy, all zeros, and those beside it. */
export const mapSteps = (paths: Paths, { generation, lines, ownMaps }: Blank): Step[] => [
  { kind: 'make-map', pin: paths.policy(generation), shape: policyMap(lines) },
  ...ownMaps.flatMap((map) => ownMapSteps(paths, generation, map)),
]

/** The programs over these maps; all objects but the first are loaded concurrently with later steps. */
export function loadSteps(
  paths: Paths,
  { generation, objects, parts, previous, bansBefore, ownMaps }: Blank,
  hasChain = false,
): Step[] {
  const maps: MapBinding[] = [
    { name: 'policy', pin: paths.policy(generation) },
    ...(previous === undefined ? [] : [{ name: 'previous', pin: paths.policy(previous) }]),
    ...SHARED_MAPS.map((map) => ({ name: map.name, pin: paths.sharedMap(map) })),
    ...ownMaps.map(({ shape }) => ({ name: shape.name, pin: paths.ownMap(generation, shape) })),
  ]
  const directory = paths.programs(generation)
  // The filter is in the first object.
  const { filter } = FILTER.programs
  const [chained, chains] = hasChain ? [[{ name: 'chain', pin: paths.chainMap(generation) }], filter] : [[], undefined]
  const carried = bansBefore === undefined ? [] : [{ name: 'bans_before', pin: bansBefore }]
  return objects
    .flatMap((object, i): Step[] => {
      const first = i === 0
      return [
        { kind: 'prepare-object', object, parts, ...(first && chains !== undefined ? { chains } : {}) },
        { kind: 'load', object, directory, maps: first ? [...maps, ...chained, ...carried] : maps, isBeside: !first },
      ]
    })
    .sort((left, right) => (left.kind === right.kind ? 0 : left.kind === 'prepare-object' ? -1 : 1))
}

/** Everything that later commands and packets need of a generation. */
const pinsOf = (paths: Paths, { generation, ownMaps }: Blank): string[] => [
  paths.policy(generation),
  ...ownMaps.map(({ shape }) => paths.ownMap(generation, shape)),
  ...PROGRAMS.map((name) => paths.program(generation, name)),
  ...SHARED_MAPS.map((map) => paths.sharedMap(map)),
]

const chainPins = ({ map, links }: StepOf<'fill-chain'>): string[] => [map, ...links.map(({ pin }) => pin)]

/** Puts programs of others behind ours, if there are any. */
function chainSteps(lowering: NewGeneration): Step[] {
  const { paths, plan, live, target } = lowering
  const { generation, kindsObject: kinds } = target
  const links = [...plan.state.interfaces.values()].flatMap(({ interface: name, chain }): ChainLink[] => {
    const link = live.links.get(name)
    if (!chain || !link) return []
    const words = wordsFor(name, chain, live)
    const pin = paths.chained(generation, link.ifindex)
    return [{ interface: name, slot: slotOf(lowering, name), id: chain.id, words, pin, owner: chain.pin }]
  })
  if (links.length === 0) return []
  return [{ kind: 'fill-chain', directory: paths.chain(generation), map: paths.chainMap(generation), kinds, links }]
}

/** Makes, fills and proves the new generation. */
function generationSteps(lowering: NewGeneration): Step[] {
  const { paths, live, target } = lowering
  const { generation, image, objects, parts, isStaged, previous, probes } = target
  const program = (name: string): string => paths.program(generation, name)
  const { filter, explain, write, read, digest } = FILTER.programs
  const { missing } = live.instance
  const chained = chainSteps(lowering)
  const blank: Blank = {
    generation,
    lines: image.lines,
    objects,
    parts,
    previous: previous && live.committed?.number,
    bansBefore: carriesBans(lowering),
    ownMaps: ownMapsOf(lowering),
  }
  return [
    ...(missing.length > 0 ? [{ kind: 'make-directory', path: paths.shared } as const] : []),
    { kind: 'make-generation', path: paths.generation(generation), isStaged },
    ...live.instance.generations.flatMap(({ lost }) => lost.map((one): Step => ({ kind: 'pin-again', ...one }))),
    ...missing.map((shape): Step => ({ kind: 'make-map', pin: paths.sharedMap(shape), shape })),
    ...chained,
    ...(isStaged ? [] : [...mapSteps(paths, blank), ...loadSteps(paths, blank, chained.length > 0)]),
    {
      kind: 'fill',
      image,
      transfer: transferOf(image, previous),
      copy: program(COPY_PROGRAM),
      write: program(write),
    },
    { kind: 'prove-tables', image, read: program(read), digest: program(digest) },
    { kind: 'prove-verdicts', program: program(filter), explain: program(explain), probes },
    { kind: 'identify', program: program(filter) },
    { kind: 'unpin', path: program(COPY_PROGRAM) },
    {
      kind: 'prove-pins',
      pins: [
        ...pinsOf(paths, blank),
        ...chained.flatMap((step) => (step.kind === 'fill-chain' ? chainPins(step) : [])),
      ],
    },
    ...FEATURES.flatMap(({ beside }) => beside?.(lowering) ?? []),
  ]
}

/** Writes the line of the policy map with the time of the commit. */
function commitStep({ paths, target: { generation, image, now } }: NewGeneration): Step {
  const meta = new Uint8Array(LINE_SIZE)
  metaCodec.encode({ ...image.meta, committed_at: BigInt(now) }, new DataView(meta.buffer))
  return { kind: 'commit', policy: paths.policy(generation), meta }
}

/** Puts the program of the target on every interface that is to run it. */
function switchSteps(lowering: Lowering, changes: readonly InterfaceChange[]): Step[] {
  const { paths, target } = lowering
  const attached = attachSteps(lowering, changes)
  const replaced = replaceSteps(lowering, changes)
  const steps = [...attached, ...replaced]
  const program = (name: string): string => paths.program(target.generation, name)
  const { filter, explain } = FILTER.programs
  return [
    ...FEATURES.flatMap(({ prepare }) => prepare?.(lowering) ?? []),
    ...attached.flatMap(({ interface: name, present, previous }): Step[] =>
      previous?.foreign
        ? [{ kind: 'keep-foreign', interface: name, id: present[0] as number, pin: previous.pinned }]
        : [],
    ),
    ...recordSteps(lowering, steps),
    {
      kind: 'check-interfaces',
      expected: steps.map(({ interface: name, ifindex, present }) => ({ interface: name, ifindex, present })),
      isEarly: target.isStaged,
    },
    ...steps,
    {
      kind: 'verify',
      program: program(filter),
      explain: program(explain),
      interfaces: steps.map(({ interface: name }) => name),
      probes: target.probes,
    },
  ]
}

/** Pins that are unused once the new policy is in force. The previous generation stays until it is confirmed. */
function obsolete({ paths, live, target }: Lowering): string[] {
  const { committed, instance } = live
  return [
    ...(target.image && committed && !target.confirmation ? [paths.generation(committed.number)] : []),
    ...live.leftovers.filter((path) => path !== paths.generation(target.generation) && path !== paths.shared),
    ...(committed && !committed.meta ? instance.others.map((name) => `${paths.instance}/${name}`) : []),
  ]
}

/** Detaches interfaces that left the file; frees their records and unused pins. */
function tidySteps(lowering: Lowering, changes: readonly InterfaceChange[], switched: readonly Step[]): Step[] {
  const kept = lowering.target.confirmation ? [] : foreignPins(switched)
  return [
    ...FEATURES.flatMap(({ committed }) => committed?.(lowering) ?? []),
    ...detachSteps(changes, lowering.live),
    ...forgetSteps(lowering, switched),
    ...[...kept, ...obsolete(lowering)].map((path): Step => ({ kind: 'free', path })),
  ]
}

/** Pins of foreign programs that the steps replace. */
const foreignPins = (switched: readonly Step[]): string[] =>
  switched.flatMap((step) => (step.kind === 'keep-foreign' ? [step.pin] : []))

/** Takes our program off interfaces: the program behind it gets its place back. */
const detachSteps = (changes: readonly InterfaceChange[], live: Live): Step[] =>
  changes.flatMap((change) => (change.op === 'delete' ? detachStepsOf(change.before, live) : []))

function detachStepsOf({ interface: name, modes }: Attachment, live: Live): Step[] {
  const link = live.links.get(name)
  const next = live.chains.get(name)?.next
  const own = link?.programs.find(({ generation }) => generation !== undefined)
  if (!link || !next || !own) return modes.map((mode): Step => ({ kind: 'detach', interface: name, mode }))
  const { ifindex } = link
  const words = wordsFor(name, next, live)
  return [{ kind: 'give-back', interface: name, ifindex, mode: own.mode, ours: [own.id], id: next.id, words }]
}

/** Judges the contacts of the host by the programs of the target, which no interface runs with this policy yet. */
function contactSteps({ paths, live, target: { contacts, generation } }: Lowering): Step[] {
  if (!contacts) return []
  const { isAsked, ...terms } = contacts
  const explain = (of: number): string => paths.program(of, FILTER.programs.explain)
  const present = isAsked && live.committed ? explain(live.committed.number) : undefined
  return [{ kind: 'prove-contacts', explain: explain(generation), present, ...terms }]
}

const interfaceChanges = (changes: readonly Change[]): InterfaceChange[] =>
  changes.filter((change): change is InterfaceChange => change.kind === 'interface')

/** Changes next hops in the live tables, whose programs stay: see tables/services/edit-hops.ts. */
function rewriteSteps(lowering: Lowering, image: Image, lines: readonly LineChange[]): Step[] {
  const { generation, probes } = lowering.target
  const program = (name: string): string => lowering.paths.program(generation, name)
  const { filter, explain, write, read, digest } = FILTER.programs
  const health = FEATURES.flatMap(({ committed }) => committed?.(lowering) ?? [])
  return [
    { kind: 'rewrite', lines, write: program(write) },
    { kind: 'prove-tables', image, read: program(read), digest: program(digest) },
    { kind: 'verify', program: program(filter), explain: program(explain), interfaces: [], probes },
    // No other generation could write health.
    ...health.filter((step) => step.kind !== 'claim-health' || step.bytes.size > 0),
  ]
}

/** The steps of a plan. Throws XdpError E205 if the interface index overflows (see buildIndex). */
export function lower(lowering: Lowering): Step[] {
  const { paths, plan, target } = lowering
  if (target.image && target.rewrite) return rewriteSteps(lowering, target.image, target.rewrite)
  const changes = interfaceChanges(plan.changes)
  const made: Step[] = isNewGeneration(lowering)
    ? generationSteps(lowering)
    : [{ kind: 'identify', program: paths.program(target.generation, FILTER.programs.filter) }]
  const switched = switchSteps(lowering, changes)
  const committed: Step[] = isNewGeneration(lowering)
    ? [...FEATURES.flatMap((feature) => feature.switched?.(lowering) ?? []), commitStep(lowering)]
    : []
  const tidied = tidySteps(lowering, changes, switched)
  const guarded = isNewGeneration(lowering) ? guardSteps(lowering, changes, [...switched, ...tidied]) : []
  return [...made, ...contactSteps(lowering), ...guarded, ...switched, ...committed, ...tidied]
}

/** Marks the new generation as unconfirmed, and starts the guardian that reverts it. */
function guardSteps(lowering: NewGeneration, changes: readonly InterfaceChange[], steps: readonly Step[]): Step[] {
  const { paths, target } = lowering
  const { confirmation } = target
  if (!confirmation) return []
  return [
    { kind: 'make-directory', path: paths.confirmation(confirmation) },
    { kind: 'guard', terms: confirmation, steps: revertSteps(lowering, confirmation, changes, steps) },
  ]
}

/** The steps that end the wait for a confirmation, and free the previous generation. `names`: of the instance directory. */
export const lowerConfirm = (paths: Paths, confirmation: Confirmation, names: readonly string[]): Step[] =>
  [
    paths.confirmation(confirmation),
    ...(confirmation.previous === 0 ? [] : [paths.generation(confirmation.previous)]),
    ...names.filter(isForeignPin).map((name) => `${paths.instance}/${name}`),
  ].map((path) => ({ kind: 'free', path }))

/** The steps that remove the instance. */
export const lowerDestroy = ({
  paths,
  plan,
  live,
}: Pick<Lowering, 'paths' | 'plan'> & { readonly live: Live }): Step[] => [
  ...detachSteps(interfaceChanges(plan.changes), live),
  { kind: 'free', path: paths.instance },
]

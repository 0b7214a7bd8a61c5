// Lowering: Plan → the bpftool commands that carry it out, grouped by step. Pure. `plan --commands` prints what
// execute.ts runs.
//
// The order of the steps, in traffic terms: everything up to `attach` works on objects that no packet meets; each
// attach or switch replaces one interface's program in one kernel operation, from the old policy to the new; detaching
// what left the file and freeing the old generation come last, when nothing depends on them.

import { bpftool, type Command, commandLine, updateCommand } from '../../abi/command.ts'
import { REASON, REASON_SLOTS } from '../../abi/generated.ts'
import { type MapShape, mapWords, type Paths, PROGRAM_MAPS, policyMap, SHARED_MAPS } from '../../abi/paths.ts'
import type { AttachMode, Attachment, State } from '../../model/state.ts'
import type { Change, Plan } from '../../plan/change.ts'
import { lineCount, type Previous as PreviousImage, type Transfer, transferOf } from '../../tables/layout/difference.ts'
import { type Image, META_LINE } from '../../tables/layout/layout.ts'
import type { Observation } from '../observe/observe.ts'
import type { BpfObject } from '../tools/object.ts'
import { type Part, partsFor } from '../tools/parts.ts'
import { packChunks } from '../tools/transfer.ts'
import { type BalanceSteps, balanceSteps } from './balance-maps.ts'
import { type Carrying, carryLines, loadCarryCommand } from './carry.ts'
import { type HealthSteps, healthSteps } from './health-rest.ts'
import { forgetSteps, recordSteps, undoRecordSteps } from './recording.ts'
import type { AttachStep, DetachStep } from './steps.ts'

/** Content of a new generation's policy map, and how it gets there. */
export interface Fill {
  readonly image: Image
  readonly transfer: Transfer
}

export interface Steps {
  /** The pinned program that every interface runs afterwards; undefined: none (destroy). */
  readonly program: string | undefined
  /** Directories to make in the bpffs. */
  readonly directories: readonly string[]
  readonly create: readonly Command[]
  /** undefined: nothing is loaded. */
  readonly load: Loading | undefined
  /** Undefined: the generation stays. */
  readonly fill: Fill | undefined
  readonly generation: number
  /** Zero the counters of slots that get a new owner, keep foreign programs for a rollback, record new attachments. */
  readonly prepare: readonly Command[]
  /** The inverse of the records in `prepare`. */
  readonly undoPrepare: readonly Command[]
  /** What moves from the balancer's maps that have become too small to new ones. */
  readonly carrying: readonly Carrying[]
  readonly carryObject: string
  readonly health: HealthSteps | undefined
  /** Pins and directories that `create` and `load` make, for a rollback to remove. */
  readonly made: readonly string[]
  readonly attach: readonly AttachStep[]
  /** Interfaces that keep their mode and only change to the new generation, in one batch. */
  readonly switchOver: readonly (AttachStep & { readonly command: Command })[]
  readonly detach: readonly DetachStep[]
  readonly forget: readonly Command[]
  /** Pins and directories to remove in the end. */
  readonly remove: readonly string[]
}

/** Programs that are loaded, once their objects are prepared. */
export interface Loading {
  readonly object: BpfObject
  readonly parts: readonly Part[]
  /** Given the paths of the objects: a command for each, which may run beside the others. */
  readonly commands: (objects: readonly string[]) => readonly Command[]
}

/** Where the plan leads: which generation, and with what content if it is a new one. */
export interface Target {
  readonly generation: number
  readonly image: Image | undefined
  /** What is known of the live image, where its lines can be taken over. */
  readonly previous?: PreviousImage | undefined
  /** What the image holds. */
  readonly state: State
  /** undefined: nothing is loaded. */
  readonly object: BpfObject | undefined
  /** Its map and its programs are there already. */
  readonly isStaged?: boolean
  /** Unix time in seconds. */
  readonly now: number
  /** Health stays as it is found, because a daemon knows it. */
  readonly keepsHealth: boolean
}

const ATTACH_WORDS: Readonly<Record<AttachMode, string>> = {
  native: 'xdpdrv',
  generic: 'xdpgeneric',
  offload: 'xdpoffload',
}

export const attachCommand = (mode: AttachMode, pinned: string, device: string, overwrite: boolean): Command =>
  bpftool('net', 'attach', ATTACH_WORDS[mode], 'pinned', pinned, 'dev', device, ...(overwrite ? ['overwrite'] : []))

export const detachCommand = (mode: AttachMode, device: string): Command =>
  bpftool('net', 'detach', ATTACH_WORDS[mode], 'dev', device)

const createCommand = (pin: string, shape: MapShape): Command => bpftool('map', 'create', pin, ...mapWords(shape))

/** The line of the image that `committed_at` is written into after the switch. */
export const commitCommand = (policyPin: string, meta: Uint8Array): Command => updateCommand(policyPin, META_LINE, meta)

/** A generation that is to be made. */
export interface Blank {
  readonly generation: number
  readonly lines: number
  readonly object: BpfObject
  readonly parts: readonly Part[]
  /** Generation whose lines can be copied. */
  readonly previous: number | undefined
  /** The balancer's maps. */
  readonly balance: Pick<BalanceSteps, 'create' | 'words'>
}

/** Makes its map, all zeros, and the programs over it. */
export function blankSteps(
  paths: Paths,
  { generation, lines, object, parts, previous, balance }: Blank,
): { readonly create: readonly Command[]; readonly load: Loading } {
  const maps = [
    ...['map', 'name', 'policy', 'pinned', paths.policy(generation)],
    ...(previous === undefined ? [] : ['map', 'name', 'previous', 'pinned', paths.policy(previous)]),
    ...PROGRAM_MAPS.flatMap((map) => ['map', 'name', SHARED_MAPS[map].name, 'pinned', paths.sharedMap(map)]),
    ...balance.words,
  ]
  const loadCommand = (path: string): Command => bpftool('prog', 'loadall', path, paths.programs(generation), ...maps)
  return {
    create: [createCommand(paths.policy(generation), policyMap(lines)), ...balance.create],
    load: { object, parts, commands: (objects) => objects.map(loadCommand) },
  }
}

function generationSteps(
  paths: Paths,
  live: Observation,
  target: Target,
  balance: BalanceSteps | undefined,
): Pick<Steps, 'directories' | 'create' | 'load' | 'made'> {
  const { generation, object } = target
  const nothing = { directories: [], create: [], load: undefined } as const
  if (!target.image || !balance || !object) return { ...nothing, made: [] }
  if (target.isStaged) return { ...nothing, made: [paths.generation(generation)] }
  const { missing } = live.instance
  const previous = target.previous && live.committed?.number
  const parts = partsFor(target.state)
  const blank = { generation, lines: target.image.lines, object, parts, previous, balance }
  const { create, load } = blankSteps(paths, blank)
  return {
    directories: [...(missing.length > 0 ? [paths.shared] : []), paths.generation(generation)],
    create: [...missing.map((map) => createCommand(paths.sharedMap(map), SHARED_MAPS[map])), ...create],
    load,
    made: [paths.generation(generation), ...missing.map((map) => paths.sharedMap(map))],
  }
}

/** Counters start at zero for a new owner of a slot. A per-CPU value given once is written for every CPU. */
function zeroSteps(paths: Paths, plan: Plan, live: Observation): Command[] {
  // Maps that are only now made hold zeros.
  if (live.instance.missing.length === Object.keys(SHARED_MAPS).length) return []
  const zero = new Uint8Array(16)
  const fresh = <T>(after: ReadonlyMap<string, T>, before: ReadonlyMap<string, T>): T[] =>
    [...after].filter(([name, slot]) => before.get(name) !== slot).map(([, slot]) => slot)
  return [
    ...fresh(plan.slots.lists, live.slots.lists).map((slot) => updateCommand(paths.sharedMap('listStats'), slot, zero)),
    ...fresh(plan.slots.interfaces, live.slots.interfaces).flatMap((slot) =>
      Object.values(REASON).map((reason) =>
        updateCommand(paths.sharedMap('verdictStats'), slot * REASON_SLOTS + reason, zero),
      ),
    ),
  ]
}

/** Where a foreign program is kept while it may have to be put back. */
const foreignPin = (paths: Paths, ifindex: number): string => `${paths.instance}/foreign-${ifindex}`

function attachStep(paths: Paths, live: Observation, name: string, wanted: Attachment, slot: number): AttachStep {
  const link = live.links.get(name)
  if (!link) throw new Error(`no interface ${name}: a guard should have refused the plan`)
  const present = link.programs.find(({ generation }) => generation !== undefined) ?? link.programs[0]
  const inPlace = present !== undefined && wanted.modes.includes(present.mode) ? present.mode : undefined
  return {
    interface: name,
    modes: inPlace ? [inPlace] : wanted.modes,
    detachFirst: link.programs.map(({ mode }) => mode).filter((mode) => mode !== inPlace),
    overwrite: inPlace,
    previous: present && {
      mode: present.mode,
      foreign: present.generation === undefined,
      pinned:
        present.generation === undefined
          ? foreignPin(paths, link.ifindex)
          : paths.program(present.generation, 'filter'),
    },
    present: link.programs.map(({ id }) => id),
    slot,
    ifindex: link.ifindex,
  }
}

type InterfaceChange = Extract<Change, { kind: 'interface' }>

/** Plan → Steps. Throws XdpError E205 only where the interface index overflows (see buildIndex). */
export function lower(plan: Plan, live: Observation, paths: Paths, target: Target): Steps {
  const destroy = plan.changes.some(({ kind, op }) => kind === 'program' && op === 'delete')
  const changes = plan.changes.filter((change): change is InterfaceChange => change.kind === 'interface')
  const slotOf = (name: string): number => plan.slots.interfaces.get(name) ?? 0
  const attach = changes.flatMap((change) =>
    change.op === 'delete'
      ? []
      : [attachStep(paths, live, change.after.interface, change.after, slotOf(change.after.interface))],
  )
  const program = destroy ? undefined : paths.program(target.generation, 'filter')
  const changing = new Set(changes.map(({ key }) => key))
  const kept = [...live.state.interfaces.values()].filter(({ interface: name }) => !changing.has(`interface:${name}`))
  const switchOver =
    target.image && program
      ? kept.map((attachment) => {
          const step = attachStep(paths, live, attachment.interface, attachment, slotOf(attachment.interface))
          return {
            ...step,
            command: attachCommand(attachment.modes[0] as AttachMode, program, attachment.interface, true),
          }
        })
      : []
  // After a change of ABI the records of what stays attached begin anew, too.
  const recorded = [...attach, ...switchOver.filter((step) => live.slots.interfaces.get(step.interface) !== step.slot)]
  const detach = changes.flatMap((change) =>
    change.op === 'delete' ? change.before.modes.map((mode) => ({ interface: change.before.interface, mode })) : [],
  )
  const foreign = attach.filter(({ previous }) => previous?.foreign)
  const { image, generation } = target
  const balance = image && balanceSteps(paths, plan, live, { generation, image })
  return {
    program,
    ...generationSteps(paths, live, target, balance),
    carrying: balance?.carrying ?? [],
    carryObject: target.object?.carryPath ?? '',
    health: image && healthSteps(plan, target.state, live, target.keepsHealth),
    fill: image && { image, transfer: transferOf(image, target.previous) },
    generation,
    prepare: destroy
      ? []
      : [
          ...zeroSteps(paths, plan, live),
          ...(balance?.zero ?? []),
          ...keepForeign(live, foreign),
          ...recordSteps(paths, plan, live, recorded, target.now),
        ],
    undoPrepare: destroy ? [] : undoRecordSteps(paths, plan, live, recorded),
    attach,
    switchOver,
    detach,
    forget: destroy ? [] : forgetSteps(paths, plan, live, recorded),
    remove: destroy
      ? [paths.instance]
      : [...foreign.map(({ previous }) => previous?.pinned ?? ''), ...obsolete(paths, live, target)],
  }
}

const keepForeign = (live: Observation, steps: readonly AttachStep[]): Command[] =>
  steps.flatMap((step) => {
    const id = live.links.get(step.interface)?.programs[0]?.id
    return id === undefined || !step.previous ? [] : [bpftool('prog', 'pin', 'id', `${id}`, step.previous.pinned)]
  })

const obsolete = (paths: Paths, live: Observation, target: Target): string[] => [
  ...(target.image && live.committed ? [paths.generation(live.committed.number)] : []),
  ...live.leftovers.filter((path) => path !== paths.generation(target.generation) && path !== paths.shared),
  ...(live.committed && !live.committed.meta ? live.instance.others.map((name) => `${paths.instance}/${name}`) : []),
]

/** Ports are copied before the switch, counters after it. */
function carryCommands({ carrying, carryObject, generation }: Steps, paths: Paths): string[] {
  if (carrying.length === 0) return []
  const directory = paths.carry(generation)
  const ports = carrying.filter(({ map }) => map === 'snatPorts')
  return [commandLine(loadCarryCommand(carryObject, directory, carrying)), ...carryLines(directory, ports)]
}

const counted = (count: number, one: string): string => `${count} ${one}${count === 1 ? '' : 's'}`

/** How the tables are filled: one line for all runs of a kind. */
function fillLines({ fill, generation }: Steps, paths: Paths): string[] {
  if (!fill) return []
  const { copies, writes } = fill.transfer
  const run = (program: string, file: string): string => `bpftool prog run pinned ${program} data_in ${file}`
  const chunks = counted(packChunks(writes).length, 'chunk')
  const copy = paths.copyProgram(generation)
  return [
    ...(copies.length > 0
      ? [
          `${run(copy, 'SPANS')} data_out SPANS data_size_out 65536  # ${counted(lineCount(copies), 'line')}, until it is done`,
        ]
      : []),
    `${run(paths.program(generation, 'write'), 'CHUNK')} data_out /dev/null data_size_out 65536  # ${counted(lineCount(writes), 'line')} in ${chunks}`,
    `rm ${copy}`,
  ]
}

/** The steps as the lines a person could type; bulk content as one line that says how many runs there are. */
export function commandLines(steps: Steps, paths: Paths): string[] {
  return [
    ...steps.directories.map((directory) => `mkdir -p ${directory}`),
    ...steps.create.map(commandLine),
    ...(steps.load?.commands(steps.load.object.paths) ?? []).map(commandLine),
    ...fillLines(steps, paths),
    ...carryCommands(steps, paths),
    ...steps.prepare.map(commandLine),
    ...steps.attach.flatMap((step) => [
      ...step.detachFirst.map((mode) => commandLine(detachCommand(mode, step.interface))),
      step.modes
        .map((mode) =>
          commandLine(attachCommand(mode, steps.program ?? '', step.interface, step.overwrite !== undefined)),
        )
        .join(' || '),
    ]),
    ...steps.switchOver.map(({ command }) => commandLine(command)),
    ...(steps.carrying.length > 0 ? carryLines(paths.carry(steps.generation), steps.carrying) : []),
    ...(steps.health
      ? [`bpftool prog run pinned ${paths.program(steps.generation, 'healthWrite')} data_in RECORDS`]
      : []),
    ...steps.detach.map(({ interface: name, mode }) => commandLine(detachCommand(mode, name))),
    ...steps.forget.map(commandLine),
    ...steps.remove.map((path) => `rm -r ${path}`),
  ]
}

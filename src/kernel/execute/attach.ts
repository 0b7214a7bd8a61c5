// Attaches, replaces and detaches the program of one interface, and restores the previous one.
//
// The kernel can refuse to replace another program than an expected one (XDP_FLAGS_REPLACE), but bpftool cannot ask for
// that. So the interface is read once more just before, and the bpftool process that replaces a program prints what is
// there first: a program that came in the microseconds between is found, and attached again if it still exists.

import { id, list, optional, record, text } from '../../abi/answer.ts'
import { bpftool, type Command, commandLine, updateCommand } from '../../abi/command.ts'
import { fail } from '../../diagnostics.ts'
import type { Attaching, Expected, StepOf } from '../../features/step.ts'
import type { AttachMode } from '../../model/state.ts'
import { type RawLink, readLinks } from '../host/links.ts'
import { explainAttachFailure, explainHeld, refusesMode } from '../host/modes.ts'
import { understand } from '../tools/answer.ts'
import { DIRECTLY, runBatch, runBpftool } from '../tools/bpftool.ts'
import { CommandError } from '../tools/spawn.ts'
import type { Run } from './kind.ts'

/** Attach types of `bpftool net`. */
const ATTACH_TYPES: Readonly<Record<AttachMode, string>> = {
  native: 'xdpdrv',
  generic: 'xdpgeneric',
  offload: 'xdpoffload',
}

/** `program`: its pin, or the words by which bpftool finds it. */
export const attachCommand = (
  mode: AttachMode,
  program: string | readonly [string, string],
  device: string,
  overwrite: boolean,
): Command => {
  const words = typeof program === 'string' ? ['pinned', program] : program
  return bpftool('net', 'attach', ATTACH_TYPES[mode], ...words, 'dev', device, ...(overwrite ? ['overwrite'] : []))
}

export const detachCommand = (mode: AttachMode, device: string): Command =>
  bpftool('net', 'detach', ATTACH_TYPES[mode], 'dev', device)

/** A program for an interface, in a mode. */
export type Placement = Pick<StepOf<'replace'>, 'interface' | 'mode' | 'program'>

const showCommand = (device: string): Command => bpftool('net', 'show', 'dev', device)

export const replaceCommand = ({ mode, program, interface: name }: Placement): Command =>
  attachCommand(mode, program, name, true)

/** Throws E206 if another process attached or detached a program since the plan was made. */
export function expectAsObserved(expected: readonly Expected[], links: ReadonlyMap<string, RawLink>): void {
  for (const { interface: name, ifindex, present } of expected) {
    const link = links.get(name)
    const same = link?.ifindex === ifindex && link.programs.map(({ id }) => id).join() === present.join()
    if (!same) throw fail('E206', `${name} changed after the plan was made; nothing was changed`, 'run it again')
  }
}

type Attach = StepOf<'attach'>

/** Command lines of an attach: tries the modes in order of preference. */
export const attachLines = ({ interface: name, detachFirst, modes, program, overwrite }: Attach): string[] => [
  ...detachFirst.map((mode) => commandLine(detachCommand(mode, name))),
  modes.map((mode) => commandLine(attachCommand(mode, program, name, overwrite !== undefined))).join(' || '),
]

/** Attaches in the first mode that the kernel accepts, and corrects the record if that is not the preferred one. */
export async function attach(step: Attach, { isLinear }: Pick<Run, 'isLinear'>): Promise<void> {
  const { modes, records } = step
  expectAsObserved([step], await readLinks())
  const mode = await attachInOneMode(step, isLinear)
  const record = records[mode]
  if (mode !== modes[0] && record) await runBatch([updateCommand(record.map, record.key, record.value)])
}

/** Programs on an interface as `bpftool net show` prints them. */
const shownOn = list(
  record({
    xdp: list(
      record({
        mode: optional(text),
        id: optional(id),
        multi_attachments: optional(list(record({ mode: optional(text), id }))),
      }),
    ),
  }),
)

/** Modes in the words of `bpftool net show`. */
const SHOWN_MODES: Readonly<Record<string, AttachMode>> = { driver: 'native', generic: 'generic', offload: 'offload' }

/**
 * Puts programs back that another process attached between our last look and the attach in `mode`, and throws E206 if
 * there are any. `output`: what bpftool printed just before the attach.
 */
async function requireNoOther(
  { interface: name, present }: Expected,
  mode: AttachMode,
  output: unknown,
): Promise<void> {
  const shown = await understand('bpftool', `bpftool net show dev ${name}`, () => shownOn(output))
  const programs = shown.flatMap(({ xdp }) =>
    xdp.flatMap(({ multi_attachments: all, ...one }) => [...(all ?? []), one]),
  )
  const others = programs.flatMap(({ id: number, mode: word = '' }) =>
    number === undefined || present.includes(number) ? [] : [{ id: number, mode: SHOWN_MODES[word] ?? mode }],
  )
  if (others.length === 0) return
  const ours = others.some((one) => one.mode !== mode) ? [detachCommand(mode, name)] : []
  const again = others.map((one) =>
    bpftool('net', 'attach', ATTACH_TYPES[one.mode], 'id', `${one.id}`, 'dev', name, 'overwrite'),
  )
  const end = await runBatch([...ours, ...again]).then(
    () => 'it is attached again',
    (error: unknown) => `it was replaced, and could not be attached again: ${messageOf(error)}`,
  )
  const ids = others.map((one) => one.id).join(' and ')
  throw fail('E206', `another process attached program ${ids} to ${name} during the apply: ${end}`, 'run it again')
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

/**
 * Runs the commands that attach in one mode, in one process. The kernel refuses a program in native mode beside one in
 * generic mode (dev_xdp_attach in net/core/dev.c), so the old one must go first. One process detaches it, attaches ours,
 * and attaches the old one again if that fails: the gap is as short as it can be, and ends even if this process is killed
 * in it.
 */
async function attachIn(mode: AttachMode, step: Attaching & Pick<Attach, 'detachFirst' | 'overwrite'>): Promise<void> {
  const { interface: name, detachFirst, program, overwrite, previous } = step
  const command = attachCommand(mode, program, name, overwrite === mode)
  const batch = [showCommand(name), ...detachFirst.map((one) => detachCommand(one, name)), command]
  const guard = detachFirst.length === 0 ? undefined : previous
  const [shown] = await runBatch(batch, DIRECTLY, guard && attachCommand(guard.mode, guard.pinned, name, false))
  await requireNoOther(step, mode, shown)
}

/** Replaces the program of an interface in its mode, if it is still the observed one. */
export async function replace(step: StepOf<'replace'>): Promise<void> {
  expectAsObserved([step], await readLinks())
  await attachIn(step.mode, { ...step, detachFirst: [], overwrite: step.mode }).catch((error: unknown) => {
    throw explainHeld(error, step.interface)
  })
}

/** Whether a mode was refused, and not the detach before it. */
const refused = (error: unknown, { detachFirst }: Attach): error is CommandError =>
  error instanceof CommandError && refusesMode(error) && (error.position ?? 0) > detachFirst.length

/** Throws E102 with the kernel's messages if it accepts no mode. */
async function attachInOneMode(step: Attach, isLinear: boolean): Promise<AttachMode> {
  const { interface: name, modes } = step
  const refusals: { mode: AttachMode; error: CommandError }[] = []
  for (const mode of modes) {
    try {
      await attachIn(mode, step)
      return mode
    } catch (error) {
      if (!refused(error, step)) throw explainHeld(error, name)
      refusals.push({ mode, error })
    }
  }
  throw await explainAttachFailure(name, refusals, isLinear)
}

/** Detaches and reads back, because a detach in the wrong mode succeeds and does nothing. */
export async function detach({ interface: name, mode }: Omit<StepOf<'detach'>, 'kind'>): Promise<void> {
  const failure = await runBpftool(...detachCommand(mode, name).argv).then(
    () => undefined,
    (error: unknown) => error,
  )
  const link = (await readLinks()).get(name)
  // An interface that vanished meanwhile has no program any more.
  if (failure !== undefined && link) throw explainHeld(failure, name)
  const left = link?.programs.filter((program) => program.mode === mode) ?? []
  if (left.length > 0) throw fail('E108', `${name} still has its ${mode} program after bpftool detached it`)
}

/** Restores the program from before the apply, unless another process has attached one meanwhile. */
export async function restore({ interface: name, previous }: Attaching, { programId }: Run): Promise<void> {
  const link = (await readLinks()).get(name)
  if (!link) return
  const ours = link.programs.filter(({ id }) => id === programId)
  if (link.programs.length > 0 && ours.length === 0) return
  const others = ours.filter(({ mode }) => mode !== previous?.mode)
  if (!previous) for (const { mode } of others) await detach({ interface: name, mode })
  else {
    // In one process, because no program runs in between.
    const detaching = others.map(({ mode }) => detachCommand(mode, name))
    await runBatch([...detaching, attachCommand(previous.mode, previous.pinned, name, true)])
  }
}

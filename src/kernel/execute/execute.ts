// Execution: Steps → the kernel, in the order that lower.ts explains, with the inverse ready at every point. Until the
// first attach nothing that a packet meets is touched; a failure after it puts every interface back as it was.

import { rmdir } from 'node:fs/promises'
import { LINE_SIZE, metaCodec } from '../../abi/generated.ts'
import type { Paths } from '../../abi/paths.ts'
import { fail, type XdpError } from '../../diagnostics.ts'
import type { AttachMode } from '../../model/state.ts'
import { effectiveCapabilities, type Host, mayOpenForeign } from '../host/host.ts'
import { type RawLink, readLinks } from '../host/links.ts'
import { explainAttachFailure, explainHeld, refusesMode } from '../host/modes.ts'
import { claimHealth, writeHealth } from '../live/health.ts'
import { type Probe, probePart, requireVerdicts } from '../live/probe.ts'
import { runBatch, runBpftool, runParts } from '../tools/bpftool.ts'
import { withExchange } from '../tools/exchange.ts'
import { removePins } from '../tools/pins.ts'
import { CommandError } from '../tools/spawn.ts'
import { buildGeneration } from './build.ts'
import { beginCarry, endCarry } from './carry.ts'
import { attachCommand, commitCommand, detachCommand, type Steps } from './lower.ts'
import { recordCommand } from './recording.ts'
import type { AttachStep, DetachStep } from './steps.ts'

export interface Execution {
  readonly host: Host
  readonly paths: Paths
  readonly steps: Steps
  readonly probes: readonly Probe[]
  /** Unix time in seconds. */
  readonly now: number
}

export interface Outcome {
  /** Packets sent through the live program after the switch. */
  readonly probes: { readonly run: number; readonly passed: number }
  /** Every interface, as it was when the attached programs were found to be the ones meant. */
  readonly links: ReadonlyMap<string, RawLink>
}

/** What to undo, newest last. */
type Undo = () => Promise<void>

/**
 * Carries the steps out. Throws XdpError: with any code but E111 the kernel is as it was before; with E111 (exit 3)
 * the rollback failed too and the message lists what is in force.
 */
export async function execute(execution: Execution): Promise<Outcome> {
  const undo: Undo[] = []
  try {
    const program = await build(execution, undo)
    throwIfAborted(execution.host)
    // From here on an interrupt is not listened to: half a switch is worse than a moment's wait.
    await prepare(execution, undo)
    await switchInterfaces(execution, program, undo)
    const outcome = await verifyLive(execution, program)
    await endCarry(execution.paths, execution.steps.generation, execution.steps.carrying)
    await commit(execution)
    undo.length = 0
    await finish(execution)
    return outcome
  } catch (error) {
    throw await rollback(error, undo)
  }
}

/** Removes what was made, and the directories that are empty then. */
async function unmake(paths: Paths, made: readonly string[]): Promise<void> {
  for (const path of made) await removePins(path)
  for (const directory of [paths.shared, paths.instance, paths.root]) await rmdir(directory).catch(() => undefined)
}

function throwIfAborted({ signal }: Host): void {
  if (signal?.aborted) throw fail('E112', 'interrupted before the switch: nothing was changed')
}

/** The program that every interface is to run; undefined: none (destroy). */
interface Loaded {
  readonly pinned: string
  readonly id: number
  /** The interfaces just before it was ready, where that took no longer than looking at them. */
  readonly links: Promise<ReadonlyMap<string, RawLink>> | undefined
}

async function build({ host, paths, steps, probes }: Execution, undo: Undo[]): Promise<Loaded | undefined> {
  if (!steps.program) return undefined
  if (steps.fill) {
    undo.push(() => unmake(paths, steps.made))
    host.progress?.('building the new generation')
    throwIfAborted(host)
  }
  // What was staged takes as long to fill as the interfaces take to be read.
  const links = steps.fill && !steps.load ? readLinks() : undefined
  links?.catch(() => undefined)
  const id = await buildGeneration(paths, steps, steps.program, probes)
  if (steps.fill) await beginCarry(steps.carryObject, paths, steps.generation, steps.carrying)
  return { pinned: steps.program, id, links }
}

async function prepare({ paths, steps }: Execution, undo: Undo[]): Promise<void> {
  undo.push(async () => void (await runBatch(steps.undoPrepare)))
  for (const { interface: name, previous } of steps.attach) {
    if (!previous?.foreign) continue
    if (!mayOpenForeign(await effectiveCapabilities())) throw cannotKeep(name)
    // An apply that was killed may have left it.
    await removePins(previous.pinned)
    undo.push(() => removePins(previous.pinned))
  }
  await runBatch(steps.prepare)
  if (steps.health) await writeHealth(paths, steps.generation, steps.health.fresh)
}

/** What is replaced must be kept open, or it could not be put back. */
const cannotKeep = (name: string): XdpError =>
  fail(
    'E104',
    `taking the place of the program on ${name} needs CAP_SYS_ADMIN, without which it could not be put back`,
    'run it with sudo (in a systemd unit, add CAP_SYS_ADMIN to CapabilityBoundingSet), or detach that program first',
  )

async function switchInterfaces(
  { host, paths, steps, now }: Execution,
  program: Loaded | undefined,
  undo: Undo[],
): Promise<void> {
  if (!program) return
  const { pinned, id } = program
  host.progress?.('attaching')
  expectAsObserved([...steps.attach, ...steps.switchOver], await (program.links ?? readLinks()))
  for (const step of steps.attach) {
    undo.push(() => restore(step, id))
    await detachAll(step)
    const mode = await attach(step, pinned)
    // The record says the preferred mode; where the kernel took another of the list, it must say that.
    if (mode !== step.modes[0]) await runBatch([recordCommand(paths, step, mode, now)])
  }
  for (const step of steps.switchOver) undo.push(() => restore(step, id))
  await runBatch(steps.switchOver.map(({ command }) => command))
}

/** What somebody attached since the plan was made (and maybe approved at leisure) is not ours to replace. */
function expectAsObserved(steps: readonly AttachStep[], links: ReadonlyMap<string, RawLink>): void {
  for (const { interface: name, ifindex, present } of steps) {
    const link = links.get(name)
    const same = link?.ifindex === ifindex && link.programs.map(({ id }) => id).join() === present.join()
    if (!same) throw fail('E206', `${name} changed after the plan was made; nothing was changed`, 'run it again')
  }
}

async function detachAll(step: AttachStep): Promise<void> {
  for (const mode of step.detachFirst) await detach({ interface: step.interface, mode })
}

/** Attaches in the first mode that the kernel takes. Throws E102 with the kernel's words when it takes none. */
async function attach(step: AttachStep, program: string): Promise<AttachMode> {
  const refusals: { mode: AttachMode; error: CommandError }[] = []
  for (const mode of step.modes) {
    try {
      await runBpftool(...attachCommand(mode, program, step.interface, step.overwrite === mode).argv)
      return mode
    } catch (error) {
      if (!(error instanceof CommandError) || !refusesMode(error)) throw explainHeld(error, step.interface)
      refusals.push({ mode, error })
    }
  }
  throw await explainAttachFailure(step.interface, refusals)
}

/** Detaches and reads back, because a detach in the wrong mode succeeds and does nothing. */
async function detach({ interface: name, mode }: DetachStep): Promise<void> {
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

/** Puts one interface back as it was before the apply. `id` is our new program; one that neither we nor it had stays. */
async function restore(step: AttachStep, id: number): Promise<void> {
  const link = (await readLinks()).get(step.interface)
  if (!link) return
  const { previous } = step
  const ours = link.programs.filter((program) => program.id === id)
  if (link.programs.length > 0 && ours.length === 0) return
  for (const { mode } of ours) {
    if (mode !== previous?.mode) await detach({ interface: step.interface, mode })
  }
  if (previous) await runBpftool(...attachCommand(previous.mode, previous.pinned, step.interface, true).argv)
}

/** The attached programs are the ones meant, and the live program gives every probe the verdict of the file. */
async function verifyLive({ host, paths, steps, probes }: Execution, program: Loaded | undefined): Promise<Outcome> {
  if (!program) return { probes: { run: 0, passed: 0 }, links: new Map() }
  const { pinned, id } = program
  host.progress?.('verifying the live program')
  const [links] = await Promise.all([readLinks(), prove(pinned, paths.program(steps.generation, 'explain'), probes)])
  for (const { interface: name } of [...steps.attach, ...steps.switchOver]) {
    const attached = links.get(name)?.programs.some((candidate) => candidate.id === id)
    if (!attached) throw fail('E108', `${name} does not run program ${id} after it was attached`)
  }
  return { probes: { run: probes.length, passed: probes.length }, links }
}

/** Runs the probes through a pinned program and its twin. Throws E108. */
const prove = (program: string, explain: string, probes: readonly Probe[]): Promise<void> =>
  withExchange(async (files) => {
    const [verdicts] = await runParts(probePart(`${files}/probe`, program, probes))
    await requireVerdicts(files, explain, probes, verdicts)
  })

/** Marks the new generation as the live one: what an interrupted apply leaves unmarked is made anew by the next. */
async function commit({ paths, steps, now }: Execution): Promise<void> {
  const { fill, generation } = steps
  if (!fill) return
  const meta = new Uint8Array(LINE_SIZE)
  metaCodec.encode({ ...fill.image.meta, committed_at: BigInt(now) }, new DataView(meta.buffer))
  await runBatch([commitCommand(paths.policy(generation), meta)])
}

/** After the switch: what left the file is detached, and what nothing uses any more is freed. Throws E111 alone. */
async function finish({ host, paths, steps }: Execution): Promise<void> {
  if (steps.detach.length > 0) host.progress?.('detaching')
  const stuck: string[] = []
  const note = (error: unknown): void => void stuck.push(messageOf(error))
  if (steps.health) await claimHealth(paths, steps.generation, steps.health.after).catch(note)
  for (const step of steps.detach) await detach(step).catch(note)
  // What is still attached needs its records and its pins.
  if (stuck.length === 0) await runBatch(steps.forget).catch(note)
  if (stuck.length === 0) for (const path of steps.remove) await removePins(path).catch(note)
  if (stuck.length > 0) {
    const done = steps.program ? 'the new policy is in force, but' : 'some of it is removed, but'
    throw fail('E111', `${done} not everything was tidied up: ${stuck.join('; ')}`, 'run it again')
  }
  if (!steps.program) await rmdir(paths.root).catch(() => undefined)
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

/** Undoes in reverse order. The first error is what the user hears, unless undoing failed: then the state is mixed. */
async function rollback(error: unknown, undo: readonly Undo[]): Promise<unknown> {
  const failures: string[] = []
  for (const step of undo.toReversed()) {
    await step().catch((failure: unknown) => failures.push(messageOf(failure)))
  }
  if (failures.length === 0) return error
  return fail(
    'E111',
    `${messageOf(error)}; and not everything could be put back: ${failures.join('; ')}`,
    'run xdp plan to see the live state',
    error,
  )
}

// Execution: Steps → the kernel, in the order that lower.ts explains, with the inverse ready at every point. Until the
// first attach nothing that a packet meets is touched; a failure after it puts every interface back as it was.

import { mkdir, rmdir } from 'node:fs/promises'
import type { Paths } from '../abi/paths.ts'
import { metaCodec } from '../abi/generated.ts'
import { fail, XdpError } from '../diagnostics.ts'
import type { AttachMode } from '../model/state.ts'
import { runBatch, runBpftool } from './bpftool.ts'
import type { Host } from './host.ts'
import { META_LINE } from './instance.ts'
import { readLinks } from './links.ts'
import { attachCommand, type AttachStep, commitCommand, detachCommand, type DetachStep, recordCommand, type Steps } from './lower.ts'
import { explainAttachFailure, refusesMode } from './modes.ts'
import { removePins } from './pins.ts'
import { type Probe, runProbes } from './probe.ts'
import { CommandError } from './spawn.ts'
import { readImage, writeImage } from './transfer.ts'

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
    await build(execution, undo)
    throwIfAborted(execution.host)
    // From here on an interrupt is not listened to: half a switch is worse than a moment's wait.
    await prepare(execution, undo)
    await switchInterfaces(execution, undo)
    const probes = await verifyLive(execution)
    await commit(execution)
    undo.length = 0
    await finish(execution)
    return { probes }
  } catch (error) {
    throw await rollback(error, undo)
  }
}

function throwIfAborted({ signal }: Host): void {
  if (signal?.aborted) throw fail('E112', 'interrupted before the switch: nothing was changed')
}

/** Makes the new generation beside the live one, and proves it by reading back and by packets, before any packet meets it. */
async function build({ host, paths, steps, probes }: Execution, undo: Undo[]): Promise<void> {
  const { image, generation, program } = steps
  if (!image || !program) return
  for (const directory of steps.directories) await mkdir(directory, { recursive: true, mode: 0o700 })
  undo.push(() => removePins(steps.firstApply ? paths.instance : paths.generation(generation)))

  host.progress?.('loading the program')
  await runBatch(steps.create).catch((error: unknown) => {
    throw outOfMemory(error, image.byteLength)
  })
  for (const command of steps.load) await runBpftool(...command.argv)
  throwIfAborted(host)
  host.progress?.('writing the tables')
  await writeImage(paths.program(generation, 'write'), image)
  host.progress?.('verifying the tables')
  const written = await readImage(paths.program(generation, 'read'), image.byteLength / 64)
  if (Buffer.compare(written, image) !== 0) throw fail('E108', 'the kernel returned other tables than were written')
  const { run, failures } = await runProbes(program, probes)
  if (failures.length > 0) throw probesFailed(run, failures)
}

/** bpftool's words for ENOMEM do not say what was asked for. */
function outOfMemory(error: unknown, bytes: number): unknown {
  if (!(error instanceof CommandError) || !error.words.includes('Cannot allocate memory')) return error
  const size = `${Math.ceil(bytes / 1024 / 1024)} MiB`
  return fail('E109', `the kernel has no memory for the tables (${size}); the live policy is untouched`, 'shorten the lists, or add memory', error)
}

const probesFailed = (run: number, failures: readonly string[]): XdpError =>
  fail('E108', `${failures.length} of ${run} test packets got another verdict than the file says: ${failures.slice(0, 3).join('; ')}`)

async function prepare({ steps }: Execution, undo: Undo[]): Promise<void> {
  undo.push(async () => void (await runBatch(steps.undoPrepare)))
  for (const { previous } of steps.attach) {
    if (previous?.foreign) undo.push(() => removePins(previous.pinned))
  }
  await runBatch(steps.prepare)
}

async function switchInterfaces({ host, paths, steps, now }: Execution, undo: Undo[]): Promise<void> {
  const { program } = steps
  if (!program) return
  host.progress?.('attaching')
  for (const step of steps.attach) {
    undo.push(() => restore(step))
    await detachAll(step)
    const mode = await attach(step, program)
    // The record says the preferred mode; where the kernel took another of the list, it must say that.
    if (mode !== step.modes[0]) await runBatch([recordCommand(paths, step, mode, now)])
  }
  for (const step of steps.switchOver) undo.push(() => restore(step))
  await runBatch(steps.switchOver.map(({ command }) => command))
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
      if (!(error instanceof CommandError) || !refusesMode(error)) throw error
      refusals.push({ mode, error })
    }
  }
  throw await explainAttachFailure(step.interface, refusals)
}

/** Detaches and reads back, because a detach in the wrong mode succeeds and does nothing. */
async function detach({ interface: name, mode }: DetachStep): Promise<void> {
  const command = detachCommand(mode, name)
  await runBpftool(...command.argv)
  const left = (await readLinks()).get(name)?.programs.filter((program) => program.mode === mode) ?? []
  if (left.length > 0) throw fail('E108', `${name} still has its ${mode} program after bpftool detached it`)
}

/** Puts one interface back as it was before the apply. */
async function restore(step: AttachStep): Promise<void> {
  const link = (await readLinks()).get(step.interface)
  if (!link) return
  const { previous } = step
  for (const { mode } of link.programs) {
    if (mode !== previous?.mode) await detach({ interface: step.interface, mode })
  }
  if (previous) await runBpftool(...attachCommand(previous.mode, previous.pinned, step.interface, true).argv)
}

/** The attached programs are the ones meant, and the live program gives every probe the verdict of the file. */
async function verifyLive({ host, steps, probes }: Execution): Promise<Outcome['probes']> {
  const { program } = steps
  if (!program) return { run: 0, passed: 0 }
  host.progress?.('verifying the live program')
  const { id } = (await runBpftool('prog', 'show', 'pinned', program)) as { id: number }
  const links = await readLinks()
  for (const { interface: name } of [...steps.attach, ...steps.switchOver]) {
    const attached = links.get(name)?.programs.some((candidate) => candidate.id === id)
    if (!attached) throw fail('E108', `${name} does not run program ${id} after it was attached`)
  }
  const { run, failures } = await runProbes(program, probes)
  if (failures.length > 0) throw probesFailed(run, failures)
  return { run, passed: run }
}

/** Marks the new generation as the live one: what an interrupted apply leaves unmarked is made anew by the next. */
async function commit({ paths, steps, now }: Execution): Promise<void> {
  const { image, generation } = steps
  if (!image) return
  const view = new DataView(image.buffer, image.byteOffset + META_LINE * 64, 64)
  const meta = new Uint8Array(64)
  metaCodec.encode({ ...metaCodec.decode(view), committed_at: BigInt(now) }, new DataView(meta.buffer))
  await runBatch([commitCommand(paths.policy(generation), meta)])
}

/** After the switch: what left the file is detached, and what nothing uses any more is freed. */
async function finish({ host, paths, steps }: Execution): Promise<void> {
  if (steps.detach.length > 0) host.progress?.('detaching')
  const stuck: string[] = []
  for (const step of steps.detach) {
    await detach(step).catch((error: unknown) => stuck.push(error instanceof Error ? error.message : String(error)))
  }
  if (stuck.length > 0) throw fail('E111', `the new policy is in force, but not everything was detached: ${stuck.join('; ')}`)
  await runBatch(steps.forget)
  for (const path of steps.remove) await removePins(path)
  if (!steps.program) await rmdir(paths.root).catch(() => undefined)
}

/** Undoes in reverse order. The first error is what the user hears, unless undoing failed: then the state is mixed. */
async function rollback(error: unknown, undo: readonly Undo[]): Promise<unknown> {
  const failures: string[] = []
  for (const step of undo.toReversed()) {
    await step().catch((failure: unknown) => failures.push(failure instanceof Error ? failure.message : String(failure)))
  }
  if (failures.length === 0) return error
  const first = error instanceof Error ? error.message : String(error)
  return fail('E111', `${first}; and not everything could be put back: ${failures.join('; ')}`, 'run xdp plan to see the live state', error)
}


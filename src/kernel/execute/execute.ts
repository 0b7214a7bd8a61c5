// Execution, rollback and printing: three loops over one list of steps. No packet meets the new policy before the first
// attach. A failure before the commit undoes every step that began, in reverse order. After the commit the new policy is in
// force, and failures to remove the old one are reported.

import type { Paths } from '../../abi/paths.ts'
import { fail } from '../../diagnostics.ts'
import type { Step, StepKind } from '../../features/step.ts'
import type { Host } from '../host/host.ts'
import { readLinks } from '../host/links.ts'
import { allDone, runBatch, runParts } from '../tools/bpftool.ts'
import { withExchange } from '../tools/exchange.ts'
import { shielded } from '../tools/interrupt.ts'
import { BUILDING } from './building.ts'
import { GUARDING } from './guarding.ts'
import type { Batch, BatchPart, Kind, KindTable, Outcome, Run } from './kind.ts'
import { SWITCHING } from './switching.ts'

export type { Outcome }

const KINDS: KindTable<StepKind> = { ...BUILDING, ...GUARDING, ...SWITCHING }

/** The row of a step. The cast loses only that the step is of the kind of the row; the table's type checks the rest. */
const kindOf = (step: Step): Kind<Step> => KINDS[step.kind] as unknown as Kind<Step>

/** Steps that prepare or make the switch: an interrupt after the first of them waits for the end. */
const TOUCHING: readonly StepKind[] = [
  'rewrite',
  'zero-counter',
  'keep-foreign',
  'record',
  'write-health',
  'check-interfaces',
]

interface Phases {
  /** Index of the first step that may touch traffic. */
  readonly switching: number
  /** Index of the first step that is not undone. */
  readonly tidying: number
}

/** The phases of a list. A list that only removes has only the last one. */
export function phasesOf(steps: readonly Step[]): Phases {
  const last = (kind: StepKind): number => steps.findLastIndex((step) => step.kind === kind) + 1
  const tidying = last('commit') || last('verify')
  const first = steps.findIndex(({ kind }) => TOUCHING.includes(kind))
  return { switching: first < 0 ? tidying : first, tidying }
}

/** The step at `first`, with those after it that share its batch. */
function groupAt(steps: readonly Step[], first: number, end: number): Step[] {
  const { batch } = kindOf(steps[first] as Step)
  const group = steps.slice(first, end)
  const length = group.findIndex((step) => kindOf(step).batch !== batch)
  if (batch === undefined) return group.slice(0, 1)
  return length < 0 ? group : group.slice(0, length)
}

/** Batches whose parts exchange files with bpftool. */
const WITH_FILES: readonly Batch[] = ['build']

const isBeside = (step: Step): boolean => step.kind === 'load' && step.isBeside

/** The part of a step in its batch. `files`: prefix of its exchange files. */
function partOf(run: Run, step: Step, files: string): BatchPart {
  const kind = kindOf(step)
  if (kind.batch === undefined) throw new Error(`${step.kind} runs by itself`)
  return kind.part(step, run, files)
}

async function runBatched(run: Run, group: readonly Step[], files: string): Promise<void> {
  const partsOf = (steps: readonly Step[], prefix: string): readonly BatchPart[] =>
    steps.map((step, i) => partOf(run, step, `${files}/${prefix}${i}`))
  const beside = partsOf(group.filter(isBeside), 'beside-')
  const parts = partsOf(
    group.filter((step) => !isBeside(step)),
    '',
  )
  const all = [...parts, ...beside]
  await Promise.all(all.map(({ before }) => before?.()))
  const running = [runParts(...parts), ...beside.map((part) => runParts(part))]
  await allDone<unknown>([...running, ...all.flatMap(({ meanwhile }) => meanwhile?.() ?? [])])
  for (const { after } of parts) await after?.()
}

/** Runs steps of one batch, or a single step. */
async function runGroup(run: Run, group: readonly Step[]): Promise<void> {
  const [first] = group as [Step]
  const kind = kindOf(first)
  if (kind.progress !== undefined) run.host.progress?.(kind.progress)
  if (kind.batch === undefined) await kind.run(first, run)
  else if (WITH_FILES.includes(kind.batch)) await withExchange((files) => runBatched(run, group, files))
  else await runBatched(run, group, '')
}

function throwIfAborted({ signal }: Host): void {
  if (signal?.aborted) throw fail('E112', 'interrupted before the switch: nothing was changed')
}

function begin(host: Host, paths: Paths, steps: readonly Step[]): Run {
  const isEarly = steps.some((step) => step.kind === 'check-interfaces' && step.isEarly)
  const links = isEarly ? readLinks() : undefined
  links?.catch(() => undefined)
  return {
    host,
    paths,
    programId: undefined,
    prepared: new Map(),
    isLinear: false,
    links,
    outcome: { probes: { run: 0, passed: 0 }, links: new Map() },
  }
}

/** Runs steps that do not affect traffic. The caller undoes them on failure. */
export async function runAside(host: Host, paths: Paths, steps: readonly Step[]): Promise<void> {
  const run = begin(host, paths, steps)
  for (let next = 0; next < steps.length; ) {
    const group = groupAt(steps, next, steps.length)
    next += group.length
    await runGroup(run, group)
  }
}

/**
 * Runs the steps. Throws XdpError: with any code but E111 the kernel is as before; with E111 (exit 3) the rollback failed
 * too, or the old policy could not be removed entirely, and the message lists the rest.
 */
export async function execute(host: Host, paths: Paths, steps: readonly Step[]): Promise<Outcome> {
  const run = begin(host, paths, steps)
  const { switching, tidying } = phasesOf(steps)
  let begun = 0
  try {
    while (begun < tidying) {
      if (begun <= switching) throwIfAborted(host)
      const group = groupAt(steps, begun, tidying)
      const mayBeInterrupted = begun < switching
      begun += group.length
      await (mayBeInterrupted ? runGroup(run, group) : shielded(() => runGroup(run, group)))
    }
  } catch (error) {
    throw await shielded(() => rollback(run, steps.slice(0, begun), error))
  }
  await shielded(() => tidy(run, steps.slice(tidying), tidying > 0))
  return run.outcome
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

/** Undoes steps in reverse order. Returns the error to throw: the first one, or E111 if undoing failed. */
async function rollback(run: Run, steps: readonly Step[], error: unknown): Promise<unknown> {
  const failures: string[] = []
  const attempt = (undo: Promise<unknown> | undefined): Promise<unknown> | undefined =>
    undo?.catch((failure: unknown) => failures.push(messageOf(failure)))
  for (const step of steps.toReversed()) {
    const kind = kindOf(step)
    const commands = kind.batch === undefined ? [] : (kind.undoCommands?.(step) ?? [])
    if (commands.length > 0) await attempt(runBatch(commands))
    await attempt(kind.undo?.(step, run))
  }
  if (failures.length === 0) return error
  return fail(
    'E111',
    `${messageOf(error)}; and the rollback failed in part: ${failures.join('; ')}`,
    '`xdp plan` shows the live state',
    error,
  )
}

/** An interface that is still attached needs its records and its pins. */
const NEEDS_ALL_DETACHED: readonly StepKind[] = ['forget', 'free']

/** Runs the steps after the commit, each even if others failed. Throws only E111. */
async function tidy(run: Run, steps: readonly Step[], isApplied: boolean): Promise<void> {
  const stuck: string[] = []
  for (let next = 0; next < steps.length; ) {
    const group = groupAt(steps, next, steps.length)
    next += group.length
    const [first] = group as [Step]
    if (stuck.length > 0 && NEEDS_ALL_DETACHED.includes(first.kind)) continue
    await runGroup(run, group).catch((error: unknown) => stuck.push(messageOf(error)))
  }
  if (stuck.length === 0) return
  const done = isApplied ? 'the new policy is in force, but' : 'some of it is removed, but'
  throw fail('E111', `${done} cleanup failed in part: ${stuck.join('; ')}`, 'run it again')
}

/** The steps as shell lines. */
export const printSteps = (steps: readonly Step[]): string[] => steps.flatMap((step) => kindOf(step).print(step))

// What a kind of step is to the three loops over a list of steps: how it runs, how it is undone, how it is printed.

import type { Command } from '../../abi/command.ts'
import type { Paths } from '../../abi/paths.ts'
import type { StepKind, StepOf } from '../../features/step.ts'
import type { Host } from '../host/host.ts'
import type { RawLink } from '../host/links.ts'
import type { ExplainedPart } from '../tools/bpftool.ts'

/** A list of steps that is being carried out: what steps learn for those after them. */
export interface Run {
  readonly host: Host
  readonly paths: Paths
  /** Id of the program that interfaces are to run. */
  programId: number | undefined
  /** Objects without the parts that the programs do not get, by the paths of the shipped ones. */
  readonly prepared: Map<string, Uint8Array>
  /** The interfaces, where reading them began before they were needed. */
  links: Promise<ReadonlyMap<string, RawLink>> | undefined
  readonly outcome: Outcome
}

export interface Outcome {
  /** Test packets sent through the live program after the switch. */
  probes: { readonly run: number; readonly passed: number }
  /** Every interface, as it was when the attached programs were found to be the intended ones. */
  links: ReadonlyMap<string, RawLink>
}

/** Commands of a step in the bpftool process that its batch shares. */
export interface BatchPart extends ExplainedPart<void> {
  /** Files that its commands read; called before the batch starts. */
  readonly before?: () => Promise<void>
  /** Work of this process while the batch runs. */
  readonly meanwhile?: () => Promise<void>
  /** Checks that take a process of their own; called in the order of the steps when the batch is done. */
  readonly after?: () => Promise<void>
}

/** Neighbouring steps of one batch share one bpftool process, because starting one takes as long as writing a few MiB. */
export type Batch = 'maps' | 'build' | 'records' | 'replace' | 'forget'

interface Common<S> {
  /** Lines that a person could type instead; bulk content as one line that says how many runs there are. */
  readonly print: (step: S) => readonly string[]
  /** Reported as the stage that begins. */
  readonly progress?: string
}

/** Runs beside its neighbours. `files`: prefix of its exchange files. */
interface Batched<S> extends Common<S> {
  readonly batch: Batch
  readonly part: (step: S, run: Run, files: string) => BatchPart
  /** Commands that undo it, whether it ran or not. */
  readonly undoCommands?: (step: S) => readonly Command[]
  readonly undo?: (step: S, run: Run) => Promise<void>
}

/** Runs by itself. */
interface Single<S> extends Common<S> {
  readonly batch?: never
  readonly run: (step: S, run: Run) => Promise<void>
  /** Undoes it, whether it ran, ran in part, or did not begin. */
  readonly undo?: (step: S, run: Run) => Promise<void>
}

export type Kind<S> = Batched<S> | Single<S>

/** A row for every kind: a missing one is an error of the compiler. */
export type KindTable<K extends StepKind> = { readonly [N in K]: Kind<StepOf<N>> }

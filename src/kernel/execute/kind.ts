// A kind of step for the three loops over a list of steps, which run, undo and print it.

import type { Command } from '../../abi/command.ts'
import type { Paths } from '../../abi/paths.ts'
import type { StepKind, StepOf } from '../../features/step.ts'
import type { Host } from '../host/host.ts'
import type { RawLink } from '../host/links.ts'
import type { ExplainedPart } from '../tools/bpftool.ts'

/** A run of a list of steps: facts that a step leaves for later ones. */
export interface Run {
  readonly host: Host
  readonly paths: Paths
  /** Id of the program that interfaces are to run. */
  programId: number | undefined
  /** Objects as they are loaded, by the paths of the shipped ones: with the filter apart, there are two. */
  readonly prepared: Map<string, readonly Uint8Array[]>
  /** Whether the filter must be for packets in one buffer, as a program behind it is. */
  isLinear: boolean
  /** The interfaces, if reading them began early. */
  links: Promise<ReadonlyMap<string, RawLink>> | undefined
  readonly outcome: Outcome
}

export interface Outcome {
  /** Test packets sent through the live program after the switch. */
  probes: { readonly run: number; readonly passed: number }
  /** Every interface, as read to verify the attached programs. */
  links: ReadonlyMap<string, RawLink>
}

/** Commands of a step in the bpftool process of its batch. */
export interface BatchPart extends ExplainedPart<void> {
  /** Files that its commands read; called before the batch starts. */
  readonly before?: () => Promise<void>
  /** Work of this process while the batch runs. */
  readonly meanwhile?: () => Promise<void>
  /** Checks that need another process; called in the order of the steps after the batch. */
  readonly after?: () => Promise<void>
}

/** Neighbouring steps of one batch share one bpftool process, because starting one takes as long as writing a few MiB. */
export type Batch = 'maps' | 'build' | 'records' | 'forget'

interface Common<S> {
  /** Equivalent command lines; for bulk content one line with the number of runs. */
  readonly print: (step: S) => readonly string[]
  /** Name of the stage that it begins. */
  readonly progress?: string
}

/** Runs together with its neighbours. `files`: prefix of its exchange files. */
interface Batched<S> extends Common<S> {
  readonly batch: Batch
  readonly part: (step: S, run: Run, files: string) => BatchPart
  /** Commands that undo it, whether it ran or not. */
  readonly undoCommands?: (step: S) => readonly Command[]
  readonly undo?: (step: S, run: Run) => Promise<void>
}

/** Runs alone. */
interface Single<S> extends Common<S> {
  readonly batch?: never
  readonly run: (step: S, run: Run) => Promise<void>
  /** Undoes it, whether it ran, ran in part, or did not begin. */
  readonly undo?: (step: S, run: Run) => Promise<void>
}

export type Kind<S> = Batched<S> | Single<S>

/** A row for every kind: a missing one is a compile error. */
export type KindTable<K extends StepKind> = { readonly [N in K]: Kind<StepOf<N>> }

// Steps: what an apply does to the kernel, as data. `lower` makes the list from a plan; src/kernel/execute runs it, undoes
// it and prints it, each by one loop over the list (kinds.ts there has a row for every kind).

import type { ObjectFile, ProgramParts } from '../abi/object.ts'
import type { Probe } from '../abi/packet.ts'
import type { MapShape } from '../abi/paths.ts'
import type { AttachMode } from '../model/state.ts'
import type { Transfer } from '../tables/layout/difference.ts'
import type { Image } from '../tables/layout/layout.ts'

/** A map that a program is loaded over: its name in the object, and the pin of the map to use. */
export interface MapBinding {
  readonly name: string
  readonly pin: string
}

/** Content that moves from one map to a larger one: counters of slots, or lines of ports. Maps by their pins. */
export type Carrying =
  | {
      readonly map: 'serviceStats' | 'backendStats'
      readonly from: string
      readonly to: string
      readonly slots: readonly number[]
    }
  | { readonly map: 'snatPorts'; readonly from: string; readonly to: string; readonly lines: number }

/** Bytes of health by their number: see src/kernel/live/health.ts. */
export type HealthBytes = ReadonlyMap<number, number>

/** Program that a rollback puts back on an interface. */
export interface Previous {
  readonly mode: AttachMode
  /** Pin of the program; a foreign one is pinned for the time of the apply. */
  readonly pinned: string
  readonly foreign: boolean
}

/** An interface as it was observed, for it to be left alone where it has changed since. */
export interface Expected {
  readonly interface: string
  readonly ifindex: number
  /** Ids of the programs on it. */
  readonly present: readonly number[]
}

/** A program on an interface, from before to after the step. */
export interface Attaching extends Expected {
  /** Pin of the program to attach. */
  readonly program: string
  /** In order of preference; the kernel may refuse some. */
  readonly modes: readonly AttachMode[]
  readonly previous: Previous | undefined
}

/** One value of a shared map: key, bytes to write, and bytes that are there. */
export interface RecordWrite {
  readonly map: string
  readonly key: number
  readonly value: Uint8Array
  readonly before: Uint8Array
}

interface Kinds {
  /** A directory in the bpffs. */
  'make-directory': { readonly path: string }
  /** The directory of a new generation; `isStaged`: it is there, with maps and programs. */
  'make-generation': { readonly path: string; readonly isStaged: boolean }
  'make-map': { readonly pin: string; readonly shape: MapShape }
  /** Pins a map of the generation before once more, with what it holds. */
  'hand-on-map': { readonly from: string; readonly to: string }
  /** Makes the copy of an object that is loaded: without the parts that the policy does not need. */
  'prepare-object': { readonly object: ObjectFile; readonly parts: ProgramParts }
  /** Loads the programs of a prepared object; `isBeside`: while the steps after it run, up to the end of the batch. */
  load: {
    readonly object: ObjectFile
    readonly directory: string
    readonly maps: readonly MapBinding[]
    readonly isBeside: boolean
  }
  /** Copies lines of the generation before into the new policy map, and writes the others. */
  fill: {
    readonly image: Image
    readonly transfer: Transfer
    /** Pins of table_copy and table_write. */
    readonly copy: string
    readonly write: string
  }
  /** Reads the header back and has the kernel digest every section. */
  'prove-tables': { readonly image: Image; readonly read: string; readonly digest: string }
  /** Sends test packets through a loaded program that no interface runs yet. */
  'prove-verdicts': { readonly program: string; readonly explain: string; readonly probes: readonly Probe[] }
  /** Learns the id of a pinned program. */
  identify: { readonly program: string }
  unpin: { readonly path: string }
  'load-carry': { readonly object: string; readonly directory: string; readonly carrying: readonly Carrying[] }
  carry: { readonly directory: string; readonly carrying: readonly Carrying[] }
  /** Pins a foreign program, for a rollback to put it back. */
  'keep-foreign': { readonly interface: string; readonly id: number; readonly pin: string }
  /** A per-CPU value given once is written for every CPU. */
  'zero-counter': { readonly map: string; readonly slot: number; readonly size: number }
  record: RecordWrite
  'write-health': { readonly generation: number; readonly program: string; readonly bytes: HealthBytes }
  /** Refuses where an interface is not as it was observed. `isEarly`: read them while the tables are filled. */
  'check-interfaces': { readonly expected: readonly Expected[]; readonly isEarly: boolean }
  /** Attaches a program, after detaching those whose mode cannot be changed in place. */
  attach: Attaching & {
    readonly detachFirst: readonly AttachMode[]
    /** Mode in which a program is replaced in place. */
    readonly overwrite: AttachMode | undefined
    /** The record of the attachment by the mode that the kernel takes, which is known when it took one. */
    readonly records: Readonly<Partial<Record<AttachMode, RecordWrite>>>
  }
  /** Replaces the program of an interface in place, in its mode. */
  replace: Attaching & { readonly mode: AttachMode }
  /** Reads the attached programs back, and sends test packets through the live one. */
  verify: {
    readonly program: string
    readonly explain: string
    readonly interfaces: readonly string[]
    readonly probes: readonly Probe[]
  }
  /** Marks the new generation as the live one; the next apply rebuilds what an interrupted one left unmarked. */
  commit: { readonly policy: string; readonly meta: Uint8Array }
  /** As write-health, and shuts out writers of older generations. */
  'claim-health': { readonly generation: number; readonly program: string; readonly bytes: HealthBytes }
  detach: { readonly interface: string; readonly mode: AttachMode }
  forget: Omit<RecordWrite, 'before'>
  /** Removes a pin, or a directory with every pin in it. */
  free: { readonly path: string }
}

export type StepKind = keyof Kinds
export type StepOf<K extends StepKind> = { readonly kind: K } & Kinds[K]
export type Step = { [K in StepKind]: StepOf<K> }[StepKind]

// Steps: the actions of an apply on the kernel, as data. `lower` makes the list from a plan; src/kernel/execute runs,
// undoes and prints it, each in one loop over the list (building.ts and switching.ts there have a row for every kind).

import type { LostPin } from '../abi/instance.ts'
import type { ObjectFile, ProgramParts } from '../abi/object.ts'
import type { Probe } from '../abi/packet.ts'
import type { MapShape } from '../abi/paths.ts'
import type { ConfirmTerms } from '../model/confirmation.ts'
import type { AllowedCuts, ProtectedPeer } from '../model/contact.ts'
import type { Provenance } from '../model/desired.ts'
import type { Live, Slots } from '../model/live.ts'
import type { AttachMode, State } from '../model/state.ts'
import type { LineChange, Transfer } from '../tables/layout/difference.ts'
import type { Image } from '../tables/layout/layout.ts'

/** A map that loaded programs use: its name in the object, and its pin. */
export interface MapBinding {
  readonly name: string
  readonly pin: string
}

/** Lines of a map. */
export interface LineRange {
  readonly first: number
  readonly count: number
}

/**
 * Content to copy from one map to a larger one, both by their pins: counters of slots, or lines of ports or buckets.
 * `freedBuckets`: lines to zero, in one map.
 */
export type Carrying =
  | {
      readonly map: 'serviceStats' | 'backendStats'
      readonly from: string
      readonly to: string
      readonly slots: readonly number[]
    }
  | {
      readonly map: 'snatPorts' | 'rateBuckets' | 'freedBuckets'
      readonly from: string
      readonly to: string
      readonly ranges: readonly LineRange[]
    }

/** Bytes of health by their number: see src/abi/health.ts. */
export type HealthBytes = ReadonlyMap<number, number>

/** A program that is put behind ours on an interface. */
export interface ChainLink {
  readonly interface: string
  readonly slot: number
  readonly id: number
  /** The words by which bpftool finds it. */
  readonly words: readonly [string, string]
  /** Where it is pinned. */
  readonly pin: string
  /** A pin of its owner. */
  readonly owner: string | undefined
}

/** The program that a rollback restores on an interface. */
export interface Previous {
  readonly mode: AttachMode
  /** Pin of the program; a foreign one is pinned during the apply. */
  readonly pinned: string
  readonly foreign: boolean
}

/** An interface as observed: if it has changed since, the apply fails. */
export interface Expected {
  readonly interface: string
  readonly ifindex: number
  /** Ids of the programs on it. */
  readonly present: readonly number[]
}

/** The program on an interface, before and after the step. */
export interface Attaching extends Expected {
  /** Pin of the program to attach. */
  readonly program: string
  /** In order of preference; the kernel may refuse some. */
  readonly modes: readonly AttachMode[]
  readonly previous: Previous | undefined
}

/** An interface whose previous program returns; undefined: it had none. */
export interface Reverting {
  readonly interface: string
  readonly ifindex: number
  readonly previous: Previous | undefined
  /** Id of the program that was given this interface back meanwhile, and makes room as ours does. */
  readonly given?: number | undefined
}

/** One value of a shared map: its key, the bytes to write, and the present bytes. */
export interface RecordWrite {
  readonly map: string
  readonly key: number
  readonly value: Uint8Array
  readonly before: Uint8Array
}

/** The input of judging contacts. */
export interface ContactTerms {
  readonly witnesses: readonly ProtectedPeer[]
  readonly allowed: AllowedCuts
  readonly provenance: Provenance
  readonly links: Live['links']
  readonly before: Judged
  readonly after: Judged
}

/** A policy with the slots of its tables. */
export interface Judged {
  readonly state: State
  readonly slots: Slots
}

interface Kinds {
  /** A directory in the bpffs. */
  'make-directory': { readonly path: string }
  /** The directory of a new generation; `isStaged`: it exists, with maps and programs. */
  'make-generation': { readonly path: string; readonly isStaged: boolean }
  'make-map': { readonly pin: string; readonly shape: MapShape }
  /** Pins an object of a live generation again, by its id, where another process removed the pin. */
  'pin-again': LostPin
  /** Fills the value of a new map with `size` random bytes, which nothing prints. */
  'fill-random': { readonly map: string; readonly size: number }
  /** Pins a map of the previous generation in the new one too, with its content. */
  'hand-on-map': { readonly from: string; readonly to: string }
  /** Makes the copy of an object that is loaded: without the parts that the policy does not need. */
  'prepare-object': {
    readonly object: ObjectFile
    readonly parts: ProgramParts
    /** The program that calls those of a chain, and has to be of their kind. */
    readonly chains?: string | undefined
  }
  /** Loads the programs of a prepared object; `isBeside`: concurrently with the later steps of the batch. */
  load: {
    readonly object: ObjectFile
    readonly directory: string
    readonly maps: readonly MapBinding[]
    readonly isBeside: boolean
  }
  /** Copies lines of the previous generation into the new policy map, and writes the others. */
  fill: {
    readonly image: Image
    readonly transfer: Transfer
    /** Pins of table_copy and table_write. */
    readonly copy: string
    readonly write: string
  }
  /** Rewrites lines of the live policy map. `write`: pin of table_write. */
  rewrite: { readonly lines: readonly LineChange[]; readonly write: string }
  /** Reads the header back, and makes the kernel digest every section. */
  'prove-tables': { readonly image: Image; readonly read: string; readonly digest: string }
  /** Sends test packets through a loaded program that no interface runs yet. */
  'prove-verdicts': { readonly program: string; readonly explain: string; readonly probes: readonly Probe[] }
  /**
   * Judges live connections, gateways, resolvers and protected prefixes by `explain`, a pinned program of the new policy;
   * fails if guarded ones would be cut. `present`: the pin of its twin in the live one; undefined: it cannot be asked.
   */
  'prove-contacts': { readonly explain: string; readonly present: string | undefined } & ContactTerms
  /** Reads the id of a pinned program. */
  identify: { readonly program: string }
  unpin: { readonly path: string }
  /** Fails if one of these pins does not exist, whatever bpftool answered. */
  'prove-pins': { readonly pins: readonly string[] }
  /**
   * Makes the map of the programs behind ours, pins and enters them, and finds out of which kind our program must be to call
   * them. `kinds`: the object with a program of each kind.
   */
  'fill-chain': {
    readonly directory: string
    readonly map: string
    readonly kinds: string
    readonly links: readonly ChainLink[]
  }
  /** Takes bans over from the table of the previous generation into one of `size` bans. `program`: pin of ban_carry. */
  'carry-bans': { readonly program: string; readonly size: number }
  'load-carry': { readonly object: string; readonly directory: string; readonly carrying: readonly Carrying[] }
  carry: { readonly directory: string; readonly carrying: readonly Carrying[] }
  /** Pins a foreign program, so that a rollback can restore it. */
  'keep-foreign': { readonly interface: string; readonly id: number; readonly pin: string }
  /** Zeroes a per-CPU value: bpftool writes a single value for every CPU. */
  'zero-counter': { readonly map: string; readonly slot: number; readonly size: number }
  record: RecordWrite
  'write-health': { readonly generation: number; readonly program: string; readonly bytes: HealthBytes }
  /** Fails if an interface is not as observed. `isEarly`: reads them while the tables are filled. */
  'check-interfaces': { readonly expected: readonly Expected[]; readonly isEarly: boolean }
  /** Attaches a program, after detaching those whose mode cannot be changed in place. */
  attach: Attaching & {
    readonly detachFirst: readonly AttachMode[]
    /** Mode in which a program is replaced in place. */
    readonly overwrite: AttachMode | undefined
    /** The record of the attachment for each mode, because only attaching shows which one the kernel accepts. */
    readonly records: Readonly<Partial<Record<AttachMode, RecordWrite>>>
  }
  /** Replaces the program of an interface in place, in its mode. */
  replace: Attaching & { readonly mode: AttachMode }
  /** Records the confirmation that an apply waits for, and starts the guardian that runs these steps without it. */
  guard: { readonly terms: ConfirmTerms; readonly steps: readonly Step[] }
  /** Puts the previous programs of interfaces back. */
  revert: {
    /** The program to replace: its pin, and its id, which is known once it is loaded. */
    readonly program: string
    readonly programId?: number | undefined
    readonly interfaces: readonly Reverting[]
  }
  /** Reads the attached programs back, and sends test packets through the live one. */
  verify: {
    readonly program: string
    readonly explain: string
    readonly interfaces: readonly string[]
    readonly probes: readonly Probe[]
  }
  /** Marks the new generation as the live one, and reads that back; the next apply rebuilds what an interrupted one left unmarked. */
  commit: { readonly policy: string; readonly meta: Uint8Array }
  /** Marks a generation as not committed, so that the one before it is the live one again. */
  uncommit: { readonly policy: string; readonly meta: Uint8Array }
  /** Like write-health, and locks out writers of older generations. */
  'claim-health': { readonly generation: number; readonly program: string; readonly bytes: HealthBytes }
  detach: { readonly interface: string; readonly mode: AttachMode }
  /** Puts the program behind ours back on its interface, in place of one of ours. */
  'give-back': {
    readonly interface: string
    readonly ifindex: number
    readonly mode: AttachMode
    /** Ids of ours. */
    readonly ours: readonly number[]
    readonly id: number
    /** The words by which bpftool finds it. */
    readonly words: readonly [string, string]
  }
  forget: Omit<RecordWrite, 'before'>
  /** Removes a pin, or a directory with every pin in it. */
  free: { readonly path: string }
}

export type StepKind = keyof Kinds
export type StepOf<K extends StepKind> = { readonly kind: K } & Kinds[K]
export type Step = { [K in StepKind]: StepOf<K> }[StepKind]

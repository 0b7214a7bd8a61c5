// Facts about the pins of one instance, as observation reads them.

import type { Attachment, InterfaceEntry, InterfaceStack, Meta } from './generated.ts'
import type { MapShape } from './paths.ts'

/** A map of one generation. */
export interface OwnMapFacts {
  readonly entries: number
  /** Bytes of kernel memory. */
  readonly memory: number
}

/** An object of a generation that is not pinned but still in the kernel, which knows it by its id. */
export interface LostPin {
  readonly object: 'map' | 'prog'
  readonly name: string
  readonly id: number
  /** Where it was pinned. */
  readonly pin: string
}

export interface Generation {
  readonly number: number
  /** ABI version of its image; a generation of another version is not decoded further. */
  readonly abi: number
  /** undefined for another ABI version. */
  readonly meta: Meta | undefined
  /** Inode of its network namespace, which is at the same offset in every ABI version; 0 = not written yet. */
  readonly netns: bigint
  readonly program: { readonly id: number; readonly tag: string }
  readonly lines: number
  /** HEADER_LINES lines; undefined for another ABI version, or where the map is shorter. */
  readonly header: Uint32Array | undefined
  /** Bytes of kernel memory of the policy map and the filter. */
  readonly memory: number
  /** Names of programs whose pins are missing. */
  readonly unpinned: ReadonlySet<string>
  /** Objects that the filter, still attached, keeps in the kernel although their pins were removed. */
  readonly lost: readonly LostPin[]
  /** Maps beside the policy, by name: all of them, unless something removed a pin and no program keeps the map. */
  readonly ownMaps: ReadonlyMap<string, OwnMapFacts>
  /** Whether a killed apply left its programs that carry counters over. */
  readonly hasCarry: boolean
}

export interface Instance {
  /** By number, ascending: complete generations, and those in force without all of their pins. */
  readonly generations: readonly Generation[]
  /** Other generation directories, in which pins are missing: an interrupted apply. */
  readonly incomplete: readonly number[]
  /** Other names in the instance directory, e.g. shared maps of another ABI version. */
  readonly others: readonly string[]
  /** Shared maps without a pin: all of them before the first apply. */
  readonly missing: readonly MapShape[]
  /** By slot; undefined where the map does not exist. */
  readonly attachments: readonly Attachment[] | undefined
  readonly index: readonly InterfaceEntry[] | undefined
  /** By slot. */
  readonly stacks: readonly InterfaceStack[] | undefined
  /** Facts of features, by the name of the feature: see Feature.observe. */
  readonly features: ReadonlyMap<string, unknown>
}

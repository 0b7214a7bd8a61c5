// What observation finds: the live State in the same form as the desired one, and the facts around it that the
// planner, the guards and the reports need.

import type { AttachMode, State } from './state.ts'

/** One XDP program found on an interface, whoever owns it. */
export interface AttachedProgram {
  readonly id: number
  readonly mode: AttachMode
  /** As the kernel reports them; empty where it does not say. */
  readonly name: string
  readonly tag: string
  /** Unix time in seconds, 0 = unknown. */
  readonly loadedAt: number
  /** Generation of ours that this program belongs to; undefined = foreign. */
  readonly generation: number | undefined
}

/** A network interface of the namespace. */
export interface Link {
  readonly name: string
  readonly ifindex: number
  readonly mtu: number
  readonly up: boolean
  /** `veth`, `vlan`, `bond`, `bridge`, `tun` … as `ip -d link` says; `physical` where it says nothing. */
  readonly kind: string
  /** Interface this one is enslaved to. */
  readonly master: string | undefined
  readonly programs: readonly AttachedProgram[]
}

/** `policy`, `program`, `interface:NAME` or `list:NAME`. */
export type ObjectKey = 'policy' | 'program' | `interface:${string}` | `list:${string}`

/** An object that is not as the last apply left it. */
export interface Drift {
  readonly key: ObjectKey
  /** What happened, as a clause: `detached since the last apply`. */
  readonly what: string
}

export interface Live {
  readonly state: State
  /** By name: every interface of the namespace. */
  readonly links: ReadonlyMap<string, Link>
  /** Objects that differ from what the last apply recorded, with what happened to them. */
  readonly drift: ReadonlyMap<ObjectKey, string>
  /** The committed generation; 0 = none. */
  readonly generation: number
  /** Highest generation number in use, committed or left over. */
  readonly lastGeneration: number
  /** Counter slots in use. */
  readonly slots: Slots
  /** Namespace inode the instance was made in; undefined = no instance yet. */
  readonly netns: bigint | undefined
  /** Namespace inode of this process. */
  readonly ownNetns: bigint
  /** Unix time in seconds of the commit; 0 = none. */
  readonly committedAt: number
  /** Pin directories of ours that no live generation needs: left by an interrupted apply. */
  readonly leftovers: readonly string[]
}

/** Which counter slot an interface or list has; kept across generations so that its counters survive. */
export interface Slots {
  readonly interfaces: ReadonlyMap<string, number>
  readonly lists: ReadonlyMap<string, number>
}

// What observation finds: the live State in the same form as the desired one, and the facts around it that the
// planner, the guards and the reports need.

import type { Address } from './address.ts'
import type { LeavingBackend, NextHop } from './service.ts'
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
  /** 12 hex digits in lower case; empty where it has none. */
  readonly mac: string
  /** Of a VLAN interface: the one below it, and the tag of its frames. */
  readonly vlan: { readonly parent: string; readonly tag: number } | undefined
  readonly up: boolean
  /** `veth`, `vlan`, `bond`, `bridge`, `tun` … as `ip -d link` says; `physical` where it says nothing. */
  readonly kind: string
  /** Interface this one is enslaved to. */
  readonly master: string | undefined
  readonly programs: readonly AttachedProgram[]
}

/** `policy`, `program`, `interface:NAME`, `list:NAME` or `service:NAME`. */
export type ObjectKey = 'policy' | 'program' | `interface:${string}` | `list:${string}` | `service:${string}`

/** One end of a connection. */
export interface SocketEnd {
  readonly address: Address
  readonly port: number
}

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
  /** Backends that are no longer in the file and keep their flows for a while. */
  readonly leaving: readonly LeavingBackend[]
  /** When drained backends stop to keep their flows, monotonic time in seconds: by backendSlotKey. */
  readonly deadlines: ReadonlyMap<string, number>
  /** Where the kernel would send a packet to a backend now, by formatted address; undefined: it does not know. */
  readonly nextHops: ReadonlyMap<string, NextHop | undefined>
  /** Why the kernel does not know it, as a clause, by formatted address: `no route leads to it`. */
  readonly unresolved: ReadonlyMap<string, string>
  /** VIPs for which nobody answers neighbours though they lie in the network of an interface: its name, by formatted address. */
  readonly unanswered: ReadonlyMap<string, string>
  /** Whether the kernel forwards packets between interfaces. */
  readonly forwards: { readonly v4: boolean; readonly v6: boolean }
  /** This host's ends of SSH connections. */
  readonly sshEnds: readonly SocketEnd[]
  /** Addresses of this host in this namespace. */
  readonly ownAddresses: readonly Address[]
  /** Monotonic time in seconds at the observation, which deadlines are in: CLOCK_MONOTONIC, as `process.hrtime`. */
  readonly bootSeconds: number
}

/** The services that packets meet, and where the data plane keeps what belongs to them. */
export interface Served extends Pick<Live, 'generation' | 'slots' | 'leaving'> {
  /** By name, with the next hops that the tables have. */
  readonly services: State['services']
}

export const servedOf = ({ generation, slots, leaving, state }: Live): Served => ({
  generation,
  slots,
  leaving,
  services: state.services,
})

/** Which counter slot an interface or list has; kept across generations so that its counters survive. */
export interface Slots {
  readonly interfaces: ReadonlyMap<string, number>
  readonly lists: ReadonlyMap<string, number>
  readonly services: ReadonlyMap<string, number>
  /** By backendSlotKey: of services' backends, of their sorry backends, and of those that are leaving. */
  readonly backends: ReadonlyMap<string, number>
  /** By formatted address: of the source pools of all services. Full NAT finds its clients again by these. */
  readonly pools: ReadonlyMap<string, number>
}

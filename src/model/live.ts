// The result of observation: the live State in the form of the desired one, and the facts around it that the planner,
// the guards and the reports need.

import type { Address } from './address.ts'
import type { Confirmation } from './confirmation.ts'
import type { PortRange } from './ports.ts'
import type { LeavingBackend, NextHop } from './service.ts'
import type { AttachMode, Attachment, ChainedProgram, State } from './state.ts'

/** One XDP program found on an interface, ours or foreign. */
export interface AttachedProgram {
  readonly id: number
  readonly mode: AttachMode
  /** As the kernel reports them; empty where it reports none. */
  readonly name: string
  readonly tag: string
  /** Unix time in seconds; 0 = unknown. */
  readonly loadedAt: number
  /** Our generation that this program belongs to; undefined = foreign. */
  readonly generation: number | undefined
  /** Foreign programs: a pin by which the owner keeps it; undefined: no pin, or not permitted to look. */
  readonly pin?: string | undefined
}

/** The program behind ours on an interface. */
export interface LiveChain {
  readonly program: ChainedProgram
  /** Id of the program that packets go on to: another than that is drift; undefined: none. */
  readonly held: number | undefined
  /** The program that its owner has at its pin by now: mostly itself. */
  readonly next: ChainedProgram
  /** The words by which bpftool finds the program. */
  readonly words: readonly [string, string]
}

/** The settings of a bond on which native XDP depends, as `ip -d link` prints them. */
export interface BondSettings {
  readonly mode: string
  /** `xmit_hash_policy` */
  readonly policy: string
}

/** A network interface of the namespace. */
export interface Link {
  readonly name: string
  readonly ifindex: number
  readonly mtu: number
  /** 12 hex digits in lower case; empty if the interface has no MAC address. */
  readonly mac: string
  /** Of a VLAN interface: its parent, and the tag of its frames. */
  readonly vlan: { readonly parent: string; readonly tag: number } | undefined
  /** The device that this one was made on, in this namespace; of a veth device, its peer. */
  readonly below: string | undefined
  readonly up: boolean
  /** Link kind as `ip -d link` prints it: `veth`, `vlan`, `bond`, `bridge`, `tun` …; `physical` if it prints none. */
  readonly kind: string
  /** Link layer as `ip link` prints it: `ether`, `none`, `ppp`, `gre` … */
  readonly linkType: string
  /** Whether it is a GRE tunnel without a fixed remote end. */
  readonly isMultipoint: boolean
  /** The interface that this one is enslaved to. */
  readonly master: string | undefined
  /** Of a bond. */
  readonly bond?: BondSettings | undefined
  readonly programs: readonly AttachedProgram[]
}

/** `policy`, `program`, `interface:NAME`, `list:NAME`, `rate_limit:NAME` or `service:NAME`. */
export type ObjectKey =
  | 'policy'
  | 'program'
  | `interface:${string}`
  | `list:${string}`
  | `rate_limit:${string}`
  | `service:${string}`

/** Settings of TCP in the kernel that SYN cookies depend on. */
export interface TcpSettings {
  /** net.ipv4.tcp_syncookies; undefined: the kernel was built without SYN cookies. */
  readonly cookies: number | undefined
  /** net.ipv4.tcp_timestamps */
  readonly timestamps: number
  /** net.core.rmem_max; 0: not to be read here. */
  readonly receiveMax: number
  /** net.netfilter.nf_conntrack_tcp_loose; absent: the kernel tracks no connections. */
  readonly loose?: number | undefined
}

/** One end of a connection. */
export interface SocketEnd {
  readonly address: Address
  readonly port: number
}

/** A process that has a program open. */
export interface Holder {
  readonly pid: number
  /** Its name (comm). */
  readonly command: string
}

/** The origin of a program, as far as the kernel knows it. */
export interface ProgramOwner {
  /** User who loaded it; undefined: not permitted to ask. */
  readonly uid: number | undefined
  /** Processes of this pid namespace that have it open; empty: pins or the interface alone keep it. */
  readonly holders: readonly Holder[]
}

/** A foreign program that is part of a drift. */
export interface Culprit extends Omit<AttachedProgram, 'generation'>, ProgramOwner {}

/** An object that differs from the record of the last apply. */
export interface Drift {
  readonly key: ObjectKey
  /** The difference, as a clause: `detached since the last apply`. */
  readonly what: string
  /** The foreign programs on a drifted interface. */
  readonly by?: readonly Culprit[]
}

/** The records of the last apply in the kernel, as far as drift and edits of the config differ by them. */
export interface AppliedRecords {
  /** The attachments that it made, by interface. */
  readonly interfaces: ReadonlyMap<string, Attachment>
  /**
   * Of drifted objects with a recorded digest: whether the caller's state has other content than the last apply had.
   */
  readonly edited: ReadonlyMap<ObjectKey, boolean>
}

export const NO_RECORDS: AppliedRecords = { interfaces: new Map(), edited: new Map() }

export interface Live {
  readonly state: State
  /** By name: every interface of the namespace. */
  readonly links: ReadonlyMap<string, Link>
  /** Objects that differ from the record of the last apply, with the difference as a clause. */
  readonly drift: ReadonlyMap<ObjectKey, string>
  readonly applied: AppliedRecords
  /** Foreign programs behind ours, by interface; as our program there has them, else as the committed one. */
  readonly chains: ReadonlyMap<string, LiveChain>
  /** Owners of the foreign programs on drifted interfaces, by program id. */
  readonly owners: ReadonlyMap<number, ProgramOwner>
  /** The committed generation; 0 = none. */
  readonly generation: number
  /** Highest generation number in use, committed or not. */
  readonly lastGeneration: number
  /** Counter slots in use. */
  readonly slots: Slots
  /** Inode of the namespace that the instance was created in; undefined = no instance yet. */
  readonly netns: bigint | undefined
  /** Inode of this process's namespace. */
  readonly ownNetns: bigint
  /** Unix time of the commit in seconds; 0 = none. */
  readonly committedAt: number
  /** Our pin directories that no live generation needs: left by an interrupted apply. */
  readonly leftovers: readonly string[]
  /** The apply of the committed generation waits for its confirmation. */
  readonly pending: Confirmation | undefined
  /** Backends that were removed from the file and still keep their flows. */
  readonly leaving: readonly LeavingBackend[]
  /** Time at which drained backends lose their flows, monotonic time in seconds: by backendSlotKey. */
  readonly deadlines: ReadonlyMap<string, number>
  /** The kernel's next hop for each backend, by formatted address; undefined: unresolved. */
  readonly nextHops: ReadonlyMap<string, NextHop | undefined>
  /** Why a next hop is unresolved, as a clause, by formatted address: `no route leads to it`. */
  readonly unresolved: ReadonlyMap<string, string>
  /** The gateway of the route to a backend, by formatted address; a backend on a link has no entry. */
  readonly gateways: ReadonlyMap<string, string>
  /**
   * VIPs inside the network of an interface that no host answers neighbour requests for: the interface's name, by
   * formatted address.
   */
  readonly unanswered: ReadonlyMap<string, string>
  /**
   * Devices that take VLAN tags out of frames before XDP, by the interface with VLAN devices above it, or with entries for
   * VLANs: itself, or members of a bond. Read only if there are services or such entries.
   */
  readonly stripping: ReadonlyMap<string, readonly string[]>
  /**
   * The kernel's release, and the drivers of cards that are to get their first program, of their members, or of the card below,
   * by interface; undefined: not read.
   */
  readonly drivers?: { readonly kernel: string; readonly names: ReadonlyMap<string, string> } | undefined
  /** Local ports of connections that this host opens (net.ipv4.ip_local_port_range, for IPv6 too). */
  readonly localPorts: PortRange
  /** Ports in that range that the kernel does not pick (net.ipv4.ip_local_reserved_ports), ascending. */
  readonly reservedPorts: readonly PortRange[]
  /** Settings of TCP in the kernel; undefined: not read. */
  readonly tcp?: TcpSettings | undefined
  /** Whether the kernel forwards packets between interfaces. */
  readonly forwards: { readonly v4: boolean; readonly v6: boolean }
  /**
   * Interfaces on which the kernel accepts packets from addresses of this host (`accept_local`); read only if a VIP is
   * such an address.
   */
  readonly acceptsLocal: ReadonlySet<string>
  /** This host's ends of SSH connections. */
  readonly sshEnds: readonly SocketEnd[]
  /** Addresses of this host in this namespace. */
  readonly ownAddresses: readonly Address[]
  /**
   * Monotonic time of the observation in seconds, on the clock of the deadlines: CLOCK_MONOTONIC, as `process.hrtime`.
   */
  readonly bootSeconds: number
}

/** The services in force, and the slots of their counters and state in the data plane. */
export interface Served extends Pick<Live, 'generation' | 'slots' | 'leaving'> {
  readonly rateLimits?: State['rateLimits']
  /** By name, with the next hops that the image has. */
  readonly services: State['services']
}

export const servedOf = ({ generation, slots, leaving, state }: Live): Served => ({
  generation,
  slots,
  leaving,
  services: state.services,
  rateLimits: state.rateLimits,
})

/**
 * Slots of interfaces, lists, services, backends and pool addresses; kept across generations so that counters survive.
 */
export interface Slots {
  readonly interfaces: ReadonlyMap<string, number>
  readonly lists: ReadonlyMap<string, number>
  readonly services: ReadonlyMap<string, number>
  /** By backendSlotKey: backends of services, sorry backends, and leaving backends. */
  readonly backends: ReadonlyMap<string, number>
  /** By formatted address: the source pools of all services. Full NAT finds its clients by these slots. */
  readonly pools: ReadonlyMap<string, number>
  /** Of rate limits: their counters, and their part of `rate_buckets`. */
  readonly rates?: ReadonlyMap<string, number>
}

// Peers that this host is connected with, or must be able to reach: the traffic that a plan judges before its switch.

import type { Address } from './address.ts'
import type { ProtectedPrefix } from './protect.ts'
import { formatRange, type Prefix, parsePrefix } from './text.ts'

/** Peers whose loss is refused unless the command line allows it. `protected`: an element of `protect` covers them. */
export type Guarded = 'ssh' | 'gateway' | 'dns' | 'protected'

/** Guarded peers that the command line allows to cut. */
export interface AllowedCuts {
  readonly all: boolean
  readonly kinds: readonly Guarded[]
  /** Any guarded peer in one of these. */
  readonly prefixes: readonly Prefix[]
}

export const NO_ALLOWED_CUTS: AllowedCuts = { all: false, kinds: [], prefixes: [] }
export const EVERY_CUT: AllowedCuts = { ...NO_ALLOWED_CUTS, all: true }

/** Kinds of guarded peers that have a word. A protected prefix is named by its addresses. */
const NAMED = ['ssh', 'gateway', 'dns'] as const satisfies readonly Guarded[]

/** Parses words of `--allow-cut`: kinds of peers, addresses and CIDRs. Returns the first word of another kind as a string. */
export function readAllowedCuts(words: readonly string[], all: boolean): AllowedCuts | string {
  const kinds: Guarded[] = []
  const prefixes: Prefix[] = []
  for (const word of words) {
    const kind = NAMED.find((one) => one === word)
    const prefix = kind === undefined ? parsePrefix(word) : undefined
    if (kind !== undefined) kinds.push(kind)
    else if (prefix) prefixes.push(prefix)
    else return word
  }
  return { all, kinds, prefixes }
}

/** The words for readAllowedCuts. */
export const wordsOfAllowed = ({ kinds, prefixes }: AllowedCuts): string[] => [
  ...kinds,
  ...prefixes.map(({ family, start, end }) => formatRange(family, start, end)),
]

/**
 * The part of it that a saved plan may carry: peers that it names. Which SSH sessions there are, and what else may be cut, is
 * known only when the plan is applied.
 */
export const reviewable = ({ kinds, prefixes }: AllowedCuts): AllowedCuts => ({
  all: false,
  kinds: kinds.filter((kind) => kind !== 'ssh'),
  prefixes,
})

/** Everything that either allows. */
export const bothAllowed = (left: AllowedCuts, right: AllowedCuts): AllowedCuts => ({
  all: left.all || right.all,
  kinds: [...left.kinds, ...right.kinds],
  prefixes: [...left.prefixes, ...right.prefixes],
})

interface Common {
  readonly peer: Address
  /** An address of this host; undefined = any. */
  readonly local: Address | undefined
  /** The device that its packets arrive on, if that is known without asking for the route. */
  readonly device?: string | undefined
}

/** A TCP connection (ESTABLISHED or SYN-RECV) or a connected UDP socket. */
export interface Connection extends Common {
  readonly kind: 'connection'
  readonly protocol: 'tcp' | 'udp'
  readonly peerPort: number
  readonly localPort: number
  /** The peer opened it: its local end is a port that this host listens on. */
  readonly isInbound: boolean
  /** Number of the socket in /proc/PID/fd; 0: none yet. */
  readonly inode: number
  /** It carries the session that runs this command. */
  readonly isSession: boolean
}

/** A default gateway. */
export interface Gateway extends Common {
  readonly kind: 'gateway'
}

/** A resolver of resolv.conf, and the local port of a socket that is connected to it. */
export interface Resolver extends Common {
  readonly kind: 'resolver'
  readonly localPort: number
}

/** The SSH client that started the command, known by its address alone. */
export interface Client extends Common {
  readonly kind: 'client'
}

/** A packet to judge for an element of `protect`. */
export interface ProtectedPeer extends Common {
  readonly kind: 'protected'
  readonly by: ProtectedPrefix
  readonly protocol: number | 'icmp'
  readonly port: number | undefined
}

/**
 * A peer that this host needs without a connection that lasts: a time server, the next hop of backends, or a backend whose
 * health is checked.
 */
export interface Partner extends Common {
  readonly kind: 'time-server' | 'next-hop' | 'backend'
  /** Of a backend: its service. */
  readonly service: string | undefined
  /** The packet that comes from it; `icmp`: as from a gateway. */
  readonly protocol: 'tcp' | 'udp' | 'icmp'
  readonly peerPort: number | undefined
  readonly localPort: number | undefined
  /** A socket waits for its packets. */
  readonly hasSocket: boolean
}

export type Contact = Connection | Client | Gateway | Resolver | ProtectedPeer | Partner

/** The verdict on the packets of a contact, and its source. */
export interface Answer {
  /** Whether they reach this host: packets for a backend do not. */
  readonly passes: boolean
  /** Its reason, as `why` reports it. */
  readonly reason: string
  /** The list that decided. */
  readonly list: string | undefined
  /** The service that takes the packets. */
  readonly service: string | undefined
}

/** A contact whose packets pass now and would not after the plan. */
export interface Cut {
  readonly contact: Contact
  /** The interface of the policy that its packets arrive on. */
  readonly interface: string
  /** Name of the process that has the socket; undefined: unknown. */
  readonly owner: string | undefined
  readonly guarded: Guarded | undefined
  readonly before: Answer
  readonly after: Answer
}

/** Live connections that a plan would cut, and other peers that it would lose. */
export interface Cuts {
  /** Number of live connections that were judged. */
  readonly connections: number
  /** Number of live connections that were not, because there are too many. */
  readonly omitted: number
  readonly cut: readonly Cut[]
}

export const NO_CUTS: Cuts = { connections: 0, omitted: 0, cut: [] }

// The state of one instance, desired or live: one type for both, in canonical form, so that "equal" means equal. No I/O
// here, and no encoding.

import type { AddressSet } from './address.ts'
import { matchKey } from './packet-match.ts'
import type { Scope } from './packet-scope.ts'
import type { Policy } from './policy.ts'
import { type PortRange, protocolName } from './ports.ts'
import { countPrefixes } from './prefixes.ts'
import type { RateLimit } from './rate-limit.ts'
import type { Service } from './service.ts'

export type { Scope }

/** Attach mode of a program. */
export type AttachMode = 'native' | 'generic' | 'offload'

/** `sources`: those of a rate limit, about which the list itself decides nothing. */
export type ListKind = 'allowlist' | 'blocklist' | 'sources'

/** Addresses that a list holds under one scope. */
export interface ScopedSet {
  readonly scope: Scope
  readonly addresses: AddressSet
}

/** A named list. Canonical: one element per distinct scope, sorted by `scopeKey`; no element is empty. */
export interface List {
  readonly kind: ListKind
  /** Unique over all kinds. Entries without a name belong to the list with the name of its kind; `sources`: see sourcesList. */
  readonly name: string
  readonly sets: readonly ScopedSet[]
}

/** Job of the program on an interface. */
export type Role = 'filter' | 'balance'

/** A program of others that gets the packets which ours passes on an interface. */
export interface ChainedProgram {
  readonly id: number
  /** As the kernel reports them; empty where it reports none. */
  readonly name: string
  readonly tag: string
  /** A pin by which its owner keeps it; undefined: only interfaces and we do. */
  readonly pin: string | undefined
}

/** A program on an interface. Desired may allow several modes, in order of preference; live has exactly one. */
export interface Attachment {
  readonly interface: string
  readonly modes: readonly AttachMode[]
  /** Sorted, not empty. */
  readonly roles: readonly Role[]
  /** undefined: packets that pass go to the stack. */
  readonly chain?: ChainedProgram | undefined
}

export const EVERY_ROLE: readonly Role[] = ['balance', 'filter']

/** The data plane build that judges packets. */
export interface Program {
  /** First 16 bytes of the BPF object's SHA-256, as hex. */
  readonly digest: string
  readonly abi: number
}

/** The full state of one instance. `undefined` = nothing there yet (live), or everything to be removed (destroy). */
export interface State {
  readonly program: Program | undefined
  readonly policy: Policy | undefined
  /** By interface name. */
  readonly interfaces: ReadonlyMap<string, Attachment>
  /** By list name. */
  readonly lists: ReadonlyMap<string, List>
  /** By service name. */
  readonly services: ReadonlyMap<string, Service>
  /** By name; undefined: none. */
  readonly rateLimits?: ReadonlyMap<string, RateLimit> | undefined
  /** Local ports of connections that this host opens, from its kernel; undefined: nothing depends on them. */
  readonly localPorts?: PortRange | undefined
  /** `net.core.rmem_max` of its kernel; undefined: nothing depends on it. */
  readonly receiveMax?: number | undefined
}

export const EMPTY_STATE: State = {
  program: undefined,
  policy: undefined,
  interfaces: new Map(),
  lists: new Map(),
  services: new Map(),
}

const portsKey = (ranges: readonly PortRange[]): string =>
  ranges.map(({ first, last }) => (first === last ? `${first}` : `${first}-${last}`)).join(',')

/**
 * A unique text for each scope: `any`, `udp sport 53`, `tcp dport 22,5900-5999`, `icmp`, `47`, `any on eth0 eth1`, `any
 * established pass`, `tcp socket none`, `tcp flags syn !ack`, `any observe`. Lists sort their sets by it.
 */
export function scopeKey(scope: Scope): string {
  const parts = [typeof scope.protocol === 'number' ? protocolName(scope.protocol) : scope.protocol]
  if (scope.sourcePorts.length > 0) parts.push(`sport ${portsKey(scope.sourcePorts)}`)
  if (scope.destinationPorts.length > 0) parts.push(`dport ${portsKey(scope.destinationPorts)}`)
  if (scope.match) parts.push(matchKey(scope.match))
  if (scope.interfaces) parts.push(`on ${scope.interfaces.join(' ')}`)
  if (scope.established) parts.push(`established ${scope.established}`)
  if (scope.socket) parts.push(`socket ${scope.socket}`)
  if (scope.action) parts.push(scope.action)
  return parts.join(' ')
}

/** Size of the smallest set of prefixes that covers the list, over all its scopes and both families. */
export const listPrefixes = ({ sets }: List): number =>
  sets.reduce((sum, { addresses: { v4, v6 } }) => sum + countPrefixes(v4) + countPrefixes(v6), 0)

// What the commands report: results as data, before any of them becomes text or JSON.

import type { Ban } from './ban.ts'
import type { LastApply } from './last-apply.ts'
import type { AttachMode, ListKind } from './state.ts'

/** Packets and bytes; exact up to 2^53. */
export interface Count {
  readonly packets: number
  readonly bytes: number
}

/** `src/abi/generated.ts` REASON in lower case with dashes. */
export type ReasonName =
  | 'default-pass'
  | 'allowlist'
  | 'essential'
  | 'not-ip'
  | 'malformed'
  | 'nonlinear'
  | 'unsupported'
  | 'blocklist'
  | 'default-drop'
  | 'internal'
  | 'ban'

export type Verdict = 'pass' | 'drop' | 'tx' | 'redirect' | 'aborted'

export interface InterfaceStatus {
  readonly name: string
  readonly ifindex: number
  /** Effective mode. */
  readonly mode: AttachMode
  readonly program_id: number
  /** ISO 8601, UTC. */
  readonly since: string
  readonly packets: Readonly<Record<Verdict, number>>
  readonly bytes: Readonly<Record<Verdict, number>>
  /** Only reasons that occurred. */
  readonly reasons: Readonly<Partial<Record<ReasonName, Count>>>
}

export interface ListStatus extends Count {
  readonly name: string
  readonly kind: ListKind
  /** Prefixes in the smallest set of prefixes that covers the list. */
  readonly prefixes: number
}

export interface Status {
  readonly interfaces: readonly InterfaceStatus[]
  readonly lists: readonly ListStatus[]
  readonly policy: { readonly default: 'pass' | 'drop' } | undefined
  /** The build in the kernel; `tag` as bpftool shows it. */
  readonly program: { readonly digest: string; readonly tag: string; readonly abi: number } | undefined
  readonly generation: number
  /** ISO 8601, UTC; undefined = nothing applied. */
  readonly committed_at: string | undefined
  /** Bans in force and how many there may be; undefined: nothing is applied, or by a build that knows none. */
  readonly bans: { readonly live: number; readonly capacity: number } | undefined
  /** Bytes of kernel memory of the live generation and the shared maps. */
  readonly memory: number
  /** Live state differs from what the last apply recorded. */
  readonly drift: boolean
  readonly drifted: readonly { readonly key: string; readonly what: string }[]
  /** Kernel leftovers of an interrupted apply; the next apply removes them. */
  readonly leftovers: readonly string[]
  /** undefined: none since boot, or its record cannot be read. */
  readonly last_apply: LastApply | undefined
}

export interface ApplyResult {
  /** False: nothing was to be done and nothing was written. */
  readonly changed: boolean
  /** Keys of the changes that are in force. */
  readonly applied: readonly string[]
  readonly verified: boolean
  /** Packets sent through the live program after the switch. */
  readonly probes: { readonly run: number; readonly passed: number }
  readonly rolled_back: boolean
}

/** What one side (live or desired) says of a packet. */
export interface Judgement {
  readonly verdict: Verdict
  readonly reason: ReasonName
  /** The list that decided. */
  readonly list: string | undefined
  /** The entry's prefix or range that covers the address; live: of the merged set. */
  readonly prefix: string | undefined
  /** `file:line` of the entry. */
  readonly at: string | undefined
}

export interface WhyResult {
  readonly address: string
  /** undefined: nothing of ours is loaded. */
  readonly live: (Judgement & { readonly proven: boolean; readonly ban: Ban | undefined }) | undefined
  /** undefined: no config file was found. */
  readonly desired: Judgement | undefined
}

export type CheckLevel = 'ok' | 'warn' | 'fail'

/** One line of `xdp doctor`. */
export interface Check {
  /** Stable id, e.g. `kernel.version`, `interface.eth0.mtu`. */
  readonly id: string
  readonly level: CheckLevel
  readonly message: string
  /** A command to run, or what to change. */
  readonly fix: string | undefined
}

// Results of the commands as data, before they become text or JSON.

import type { Anomaly, AnomalyName } from '../model/anomaly.ts'
import type { Ban } from '../model/ban.ts'
import type { Against, Unknown } from '../model/exported.ts'
import type { Drift } from '../model/live.ts'
import type { ServiceMode } from '../model/overlay.ts'
import type { Policy } from '../model/policy.ts'
import type { RateAction, RatePer } from '../model/rate-limit.ts'
import type { BackendState, NextHop, Service } from '../model/service.ts'
import type { AttachMode, ChainedProgram, ListKind } from '../model/state.ts'
import type { PendingConfirmation, Reverted } from './confirmation.ts'
import type { CopyFacts } from './fetch.ts'
import type { HistoryEntry } from './history.ts'
import type { LastApply } from './last-apply.ts'
import type { ReasonName, Verdict } from './reason.ts'
import type { WatchState } from './watch.ts'

/** Packets and bytes; exact up to 2^53. */
export interface Count {
  readonly packets: number
  readonly bytes: number
}

/**
 * Packets judged on devices without a counter entry, with all roles: those of a member that just joined a bond, or of an
 * interface whose entry was removed. Only reasons that occurred.
 */
export type UnknownInterfaces = Readonly<Partial<Record<ReasonName, Count>>>

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
  /** The foreign program that gets the packets which pass; only in a status. */
  readonly chain?: ChainedProgram | undefined
}

export interface ListStatus extends Count {
  readonly name: string
  readonly kind: ListKind
  /** Prefixes in the smallest set of prefixes that covers the list. */
  readonly prefixes: number
  /** Packets that its entries with `action: observe` matched, which is not part of the other counts; undefined: it has none. */
  readonly observed?: Count | undefined
}

/** One backend of a live service. */
export interface BackendStatus extends Count {
  readonly address: string
  /** undefined = the destination port stays. */
  readonly port: number | undefined
  readonly weight: number
  readonly state: BackendState
  /** `leaving`: removed from the file, keeps its flows for a while. */
  readonly role: 'backend' | 'backup' | 'sorry' | 'leaving'
  /** `starting`: it came up recently and takes a part of its share. A backend without a check is up. */
  readonly health: 'up' | 'down' | 'starting'
  /** Part (0 to 1) of its share of new flows that it takes now. */
  readonly share: number
  /** undefined: not resolved, so it gets no traffic. */
  readonly next_hop: NextHop | undefined
  /** Seconds until it loses its last flows; undefined: not draining. */
  readonly drained_in: number | undefined
  /** New flows. */
  readonly flows: number
}

/** A live service with its counters; `bpf/include/abi_balance.h` says what each counts. */
export interface ServiceStatus extends Count {
  readonly service: Service
  /** The mode that health puts it in: `backup`, `drop` and `sorry` are its fallback. */
  readonly mode: ServiceMode
  readonly flows: number
  readonly hits: number
  readonly misses: number
  readonly limited: number
  readonly empty: number
  readonly unresolved: number
  readonly too_big: number
  readonly replies: number
  readonly exhausted: number
  readonly icmp: number
  readonly backends: readonly BackendStatus[]
}

/** An anomaly that the policy names, with what it has counted. */
export interface AnomalyStatus {
  readonly name: AnomalyName
  readonly action: Anomaly['action']
  /** Sorted; empty: every interface. */
  readonly interfaces: readonly string[]
  readonly packets: number
  readonly bytes: number
  /** Of them; none while the action is `observe`. */
  readonly dropped_packets: number
  readonly dropped_bytes: number
}

/** The protection of ports of this host from SYN floods, and what it has counted since its maps exist. */
export interface SynStatus {
  readonly mode: 'auto' | 'always'
  readonly threshold: number
  /** As in the file: `443,8000-8099`. */
  readonly ports: string
  /** Whether SYNs are answered now. */
  readonly answering: boolean
  /** Times at which `auto` began to answer. */
  readonly floods: number
  readonly syns: number
  readonly answered: number
  readonly left: number
  readonly completed: number
  readonly invalid: number
}

/** A rate limit with what it has counted. */
export interface RateStatus {
  readonly name: string
  readonly per: RatePer
  readonly action: RateAction
  /** All that it counts. */
  readonly packets: number
  readonly bytes: number
  /** Packets beyond the rate: dropped, or with `observe` only counted. */
  readonly exceeding_packets: number
  readonly exceeding_bytes: number
  /** Bans of sources that exceeded it. */
  readonly bans: number
  /** Prefixes of its sources, if they are a list. */
  readonly sources?: number
}

export interface Status {
  /** Copies of sources in the network; absent where they were not read. */
  readonly copies?: readonly CopyFacts[]
  readonly interfaces: readonly InterfaceStatus[]
  readonly unknown: UnknownInterfaces
  readonly lists: readonly ListStatus[]
  readonly anomalies: readonly AnomalyStatus[]
  readonly rate_limits: readonly RateStatus[]
  /** undefined: the policy protects no ports. */
  readonly syn_protection?: SynStatus | undefined
  readonly services: readonly ServiceStatus[]
  readonly policy: Policy | undefined
  /** The build in the kernel; `tag` as bpftool shows it. */
  readonly program: { readonly digest: string; readonly tag: string; readonly abi: number } | undefined
  readonly generation: number
  /** ISO 8601, UTC; undefined = nothing applied. */
  readonly committed_at: string | undefined
  /** Bans in force and the capacity; undefined: nothing is applied, or the build in force does not support bans. */
  readonly bans: { readonly live: number; readonly capacity: number } | undefined
  /** Kernel memory of the live generation and the shared maps in bytes. */
  readonly memory: number
  /** The live state differs from the record of the last apply. */
  readonly drift: boolean
  readonly drifted: readonly Drift[]
  /** Kernel leftovers of an interrupted apply; the next apply removes them. */
  readonly leftovers: readonly string[]
  /** The live policy waits for its confirmation. */
  readonly pending: PendingConfirmation | undefined
  /** The last apply that was not confirmed, unless another has succeeded since. */
  readonly reverted: Reverted | undefined
  /** The rollback whose policy is in force, or was before the programs were removed. */
  readonly rollback: HistoryEntry | undefined
  /** undefined: no daemon watches the instance. */
  readonly watcher: WatchState | undefined
  /** undefined: no apply since boot, or the record cannot be read. */
  readonly last_apply: LastApply | undefined
}

export interface ApplyResult {
  /** False: there was nothing to do, and nothing was written. */
  readonly changed: boolean
  /** Keys of the changes that are in force. */
  readonly applied: readonly string[]
  readonly verified: boolean
  /** Packets sent through the live program after the switch. */
  readonly probes: { readonly run: number; readonly passed: number }
  readonly rolled_back: boolean
  /** The confirmation that the new policy waits for. */
  readonly pending?: PendingConfirmation | undefined
}

/** An entry of a list that covers the address, with all other entries of the list under its scope. */
export interface Covering {
  readonly list: string
  readonly kind: ListKind
  /** `scopeKey` of its scope. */
  readonly scope: string
  /** As in Judgement. */
  readonly prefix: string | undefined
  readonly at: string | undefined
  readonly about?: string | undefined
  /** Whether it applies to the packet, on the interfaces of the judgement. */
  readonly matches: boolean
}

/** Judgement of one side (live or desired) on a packet. */
export interface Judgement {
  readonly verdict: Verdict
  readonly reason: ReasonName
  /** The list that decided. */
  readonly list: string | undefined
  /** The entry's prefix or range that covers the address; live: of the merged set. */
  readonly prefix: string | undefined
  /** `file:line` of the entry, or of the backend; a file without lines alone. */
  readonly at: string | undefined
  /** The origin of that file in words, where its path does not say it. */
  readonly about?: string | undefined
  /** The service that the packet is for. */
  readonly service: string | undefined
  /** The backend of a new flow, by backendKey; undefined also if it may go to any. */
  readonly backend: string | undefined
  /** Whether it is a backup, so that no other backend takes new flows. */
  readonly backup: boolean
  /** Interfaces of ours on which packets get this verdict, sorted; empty: it does not depend on the interface. */
  readonly interfaces: readonly string[]
  /** The entries that cover the address, the deciding one first. */
  readonly lists: readonly Covering[]
  /** The packet is dropped, unless it belongs to a connection that this host opened. */
  readonly unlessEstablished: boolean
  /** The packet passes, but would be dropped if this host had no socket for it and it did not open a connection. */
  readonly needsSocket: boolean
  /** The anomalies of the packet that are looked for, in the order in which they are: the last one drops it, or none does. */
  readonly anomalies: readonly Pick<Anomaly, 'name' | 'action'>[]
  /** Lists that count the packet as one that they would drop, in the order of names. */
  readonly observed: readonly string[]
  /** The rate limits that count packets of the question, in the order in which these meet them. */
  readonly rateLimits: readonly CountingLimit[]
  /** Parts that decide otherwise about packets which differ in fields that the question leaves open, in the order of precedence. */
  readonly otherwise: readonly OtherwiseCase[]
}

/** An entry, a limit or another part of a policy that decides otherwise about some packets. */
export interface OtherwiseCase {
  readonly kind:
    | ListKind
    | 'ban'
    | 'anomaly'
    | 'rate_limit'
    | 'syn_protection'
    | 'service'
    | 'essential'
    | 'unparsed'
    | 'default'
  /** Of a rate limit: beyond its rate. Of a service: `redirect` stands for `tx` too. */
  readonly verdict: Verdict
  readonly name: string | undefined
  /** The packets, in words: of entries and limits the `scopeKey`. */
  readonly packets: string
  /** Of an entry, as in Judgement. */
  readonly prefix: string | undefined
  readonly at: string | undefined
}

/** A rate limit that counts packets of a question. */
export interface CountingLimit {
  readonly name: string
  readonly action: RateAction
  /** `file:line` of the limit. */
  readonly at: string | undefined
  /** Every packet of the question; some, and the one with the verdict among them; or only others. */
  readonly counts: 'every' | 'some' | 'others'
  /** `scopeKey` of the packets that it counts. */
  readonly packets: string
  /** Live: the share of its burst (0 to 1) that the key of the packet with the verdict has used. */
  readonly used: number | undefined
  /** Live: whether that packet would exceed it now. */
  readonly exceeds: boolean | undefined
  /** The entry by which the source is one of the limit; undefined: every source is, or the file has none. */
  readonly source?:
    | { readonly prefix: string; readonly at: string | undefined; readonly about: string | undefined }
    | undefined
}

/** Judgement by the kernel. */
export interface LiveJudgement extends Judgement {
  readonly proven: boolean
  readonly ban: Ban | undefined
}

/** The judgement on the first interfaces, and those on others that differ. */
export type Everywhere<T extends Judgement> = T & { readonly elsewhere: readonly T[] }

export interface OfflineAnswer {
  /** Of an answer from the file alone: why the live state was not read; undefined: it was not asked for. */
  readonly unread: string | undefined
  /** The exported state that `live` is from; undefined: from the file alone. */
  readonly against?: Extract<Against, { kind: 'state' }>
  readonly unknown: readonly Unknown[]
}

export interface WhyResult {
  readonly address: string
  /** Why the answer to the packet may be lost, and the remedy: sentences without a full stop. */
  readonly advice: readonly string[]
  /** undefined: no program of ours is loaded. */
  readonly live: Everywhere<LiveJudgement> | undefined
  /** undefined: no config file was found. */
  readonly desired: Everywhere<Judgement> | undefined
  /** Only of an answer without the kernel. */
  readonly offline?: OfflineAnswer | undefined
}

export type CheckLevel = 'ok' | 'warn' | 'fail'

/** One line of `xdp doctor`. */
export interface Check {
  /** Stable id, e.g. `kernel.version`, `interface.eth0.mtu`. */
  readonly id: string
  readonly level: CheckLevel
  readonly message: string
  /** A command to run, or the setting to change. */
  readonly fix: string | undefined
}

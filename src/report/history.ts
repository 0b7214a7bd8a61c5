// The history of an instance: applies that changed its policy, as they are stored and as they are reported.

import type { AppliedConfig } from '../model/confirmation.ts'
import type { Overruled, SourcePattern } from '../model/sources.ts'
import type { ProcessIdentity } from './last-apply.ts'

/** The user or unit behind an apply. */
export interface Operator {
  /** Effective user id. */
  readonly uid: number
  /** The user who ran sudo. */
  readonly sudoUser?: string | undefined
  /** Address of the client of the SSH session. */
  readonly sshClient?: string | undefined
  /** Unit of systemd, and the id of its run. */
  readonly unit?: string | undefined
  readonly invocationId?: string | undefined
}

/** A process, as identified within its own pid namespace, also after a reboot. */
export interface Writer extends ProcessIdentity {
  /** Its start in clock ticks since the boot (proc_pid_stat(5)). */
  readonly started: number
}

/** Changes of a plan by operation, and prefixes of lists. */
export interface ChangeCounts {
  readonly create: number
  readonly update: number
  readonly delete: number
  readonly replace: number
  readonly prefixes_added: number
  readonly prefixes_removed: number
}

/** One change of a plan, without the objects. */
export interface BriefChange {
  readonly op: 'create' | 'update' | 'delete' | 'replace'
  readonly key: string
  readonly impact: string
  readonly reason: string
}

export interface PlanBrief {
  readonly summary: ChangeCounts
  /** The first ones. */
  readonly changes: readonly BriefChange[]
  /** Number of further changes. */
  readonly omitted: number
}

/** A file of the config of an entry; its content is stored by its digest. */
export interface EntryFile {
  /** Absolute. */
  readonly path: string
  readonly sha256: string
  /** Unix time in seconds. */
  readonly modifiedAt: number
  readonly kind: 'config' | 'list'
}

/** How an apply ended, as its process recorded it. `pending`: it waits for its confirmation, or did. */
export type StoredResult = 'running' | 'pending' | 'applied' | 'confirmed' | 'reverted' | 'failed'

/**
 * How an apply stands now. `reverted`: its confirmation did not arrive. `interrupted`: its process ended before it could
 * record a result.
 */
export type EntryResult = StoredResult | 'interrupted'

/** The facts that are known when an apply begins. */
export interface EntryDraft {
  /** ISO 8601, UTC. Clocks may be wrong: entries are in the order of their numbers. */
  readonly at: string
  /** The process that wrote it. */
  readonly writer: Writer
  readonly action: 'apply' | 'rollback'
  /** The entry whose config a rollback took. */
  readonly restores?: number | undefined
  readonly overrules?: Overruled | undefined
  readonly config: AppliedConfig
  readonly result: StoredResult
  /** Id of the confirmation that it waits for, or did. */
  readonly confirmation?: string | undefined
  readonly by: Operator
  readonly plan: PlanBrief
  /** Lists that kept other content than that of their files, which a guard on feeds refused. */
  readonly distrusted: readonly string[]
  readonly files: readonly EntryFile[]
  readonly patterns: readonly SourcePattern[]
}

/** An entry as stored. */
export interface StoredEntry extends EntryDraft {
  /** From 1; later applies have higher numbers. */
  readonly number: number
  /** The generation that it made; undefined: unknown, or none. */
  readonly generation?: number | undefined
}

/** An entry as reported. */
export interface HistoryEntry extends Omit<StoredEntry, 'result'> {
  readonly result: EntryResult
}

/** An entry that cannot be read. */
export interface DamagedEntry {
  readonly number: number
  readonly problem: string
}

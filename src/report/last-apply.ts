// How the last apply of an instance ended: what it leaves behind for those who did not see its output, as after a boot
// or a run of a provisioning tool.

import type { Diagnostic, Exit } from '../diagnostics.ts'

/**
 * `running`: it has not ended. `killed`: it has not ended and its process is gone; only a reader can tell, so no record
 * says so itself.
 */
export type Outcome = 'applied' | 'unchanged' | 'failed' | 'refused' | 'running' | 'killed'

/** A process, as the processes of its own pid namespace know it. */
export interface ProcessIdentity {
  readonly pid: number
  /** Inode of the pid namespace. */
  readonly pid_namespace: string
}

export interface LastApply extends ProcessIdentity {
  readonly instance: string
  /** Absolute path of the mount. */
  readonly bpffs: string
  /** ISO 8601, UTC; `finished_at` undefined = running or killed. */
  readonly started_at: string
  readonly finished_at: string | undefined
  /** Absolute path; undefined where no file was found. `sha256` undefined where it could not be read or has mistakes. */
  readonly config: { readonly path: string | undefined; readonly sha256: string | undefined }
  readonly result: Outcome
  readonly exit_status: Exit | undefined
  /** Keys of the changes that are in force. */
  readonly changes: readonly string[]
  /** The first error, which the exit status belongs to. Its place has an absolute path. */
  readonly error: Diagnostic | undefined
}

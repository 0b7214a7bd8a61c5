// The outcome of an instance's last apply, for readers who did not see its output: after a boot, or after a run of a
// provisioning tool.

import type { Diagnostic, Exit } from '../diagnostics.ts'

/**
 * `running`: it has not ended. `killed`: it has not ended and its process is gone; only a reader can find that out, so
 * no record contains it.
 */
export type Outcome = 'applied' | 'unchanged' | 'failed' | 'refused' | 'running' | 'killed'

/** A process, as identified within its own pid namespace. */
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
  /**
   * Absolute path; undefined if no file was found. `sha256` is undefined if the file could not be read or has errors.
   */
  readonly config: { readonly path: string | undefined; readonly sha256: string | undefined }
  readonly result: Outcome
  readonly exit_status: Exit | undefined
  /** Keys of the changes that are in force. */
  readonly changes: readonly string[]
  /** The first error; it determines the exit status. Its location has an absolute path. */
  readonly error: Diagnostic | undefined
}

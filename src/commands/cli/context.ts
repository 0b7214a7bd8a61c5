// The environment of a command: its flags, two streams, a prompt, and the host. A command never touches the process.

import type { Cache } from '../../cache/cache.ts'
import type { Host } from '../../pipelines/session.ts'
import type { Options } from './flag.ts'
import type { GLOBAL_FLAGS } from './flags.ts'
import type { Screen } from './screen.ts'

export type GlobalFlags = Options<typeof GLOBAL_FLAGS>

export interface Context {
  readonly flags: GlobalFlags
  readonly cache: Cache
  /** Whether the command runs as root, which must not act on files of other users. */
  readonly isRoot: boolean
  readonly host: Host
  /** Stdin as a stream of chunks. */
  readonly stdin: () => AsyncIterable<Uint8Array>
  /** The result. */
  readonly stdout: (text: string) => void
  /** Everything else. */
  readonly stderr: (text: string) => void
  /** Whether stdout is a terminal. */
  readonly isTerminal: boolean
  /** Whether stdout is the journal of systemd, which adds the time to each line. */
  readonly isJournal?: boolean
  /** Makes SIGHUP call the listener instead of stopping the run. */
  readonly onHangup: (listener: () => void) => void
  /** Makes the run outlive its session; returns the signal of a request to stop. */
  readonly outlive: () => AbortSignal
  /** Whether each stream gets colour. */
  readonly color: { readonly stdout: boolean; readonly stderr: boolean }
  /** Whether a user can answer a prompt. */
  readonly interactive: boolean
  /** Asks on stderr. Returns the answer without its newline; empty at the end of input. Throws if the signal ends it. */
  readonly prompt: (question: string, signal?: AbortSignal) => Promise<string>
  /** Reads all of stdin. */
  readonly readInput: () => Promise<Uint8Array>
  /** The terminal behind stdout, for full-screen output; absent if stdout is none, or has no control sequences. */
  readonly screen?: Screen
}

// What a command may touch: its flags, two streams, a question, and the host it works on. Never the process.

import type { Cache } from '../../cache/cache.ts'
import type { Host } from '../../pipelines/session.ts'
import type { Options } from './flag.ts'
import type { GLOBAL_FLAGS } from './flags.ts'
import type { Screen } from './screen.ts'

export type GlobalFlags = Options<typeof GLOBAL_FLAGS>

export interface Context {
  readonly flags: GlobalFlags
  readonly cache: Cache
  readonly host: Host
  /** All of stdin, as it comes. */
  readonly stdin: () => AsyncIterable<Uint8Array>
  /** The result. */
  readonly stdout: (text: string) => void
  /** Everything else. */
  readonly stderr: (text: string) => void
  /** Whether stdout is a terminal. */
  readonly isTerminal: boolean
  /** From now on SIGHUP calls the listener, and ends nothing. */
  readonly onHangup: (listener: () => void) => void
  /** Whether each stream takes colour. */
  readonly color: { readonly stdout: boolean; readonly stderr: boolean }
  /** Whether somebody can be asked. */
  readonly interactive: boolean
  /** Asks on stderr; the answer without its newline, empty at the end of input. */
  readonly prompt: (question: string) => Promise<string>
  /** All of stdin. */
  readonly readInput: () => Promise<Uint8Array>
  /** The terminal that stdout is, to be taken over; absent where it is none that can be drawn on. */
  readonly screen?: Screen
}

// Starts one process, and reports how it ended. A process is the leader of a group of its own, outside of the group of the
// terminal, so that ^C does not reach it.

import { spawn } from 'node:child_process'
import type { Readable, Writable } from 'node:stream'

/** How a process ended. It has no exit status if it was not started, or if a signal ended it. */
export interface Ended {
  readonly exitCode: number | undefined
  readonly signal: NodeJS.Signals | undefined
  /** The errno by name if it was not started. */
  readonly code: string | undefined
  /** The reason if there is no exit status; else empty. */
  readonly words: string
}

type Stream = 'pipe' | 'ignore'

/** Its streams; those that are not piped, or of a process that was not started, are null. */
export interface Child {
  readonly pid: number | undefined
  readonly stdin: Writable | null
  readonly stdout: Readable | null
  readonly stderr: Readable | null
  /** Settles when it has ended, which its children may outlive. */
  readonly exited: Promise<Ended>
  /** Settles when it has ended and its pipes are closed: also by its children, which inherit them. */
  readonly closed: Promise<Ended>
  readonly kill: (signal: NodeJS.Signals) => void
  /** Closes the pipes on this side: a process that left the group may hold the other side. */
  readonly drop: () => void
}

const endedBy = (exitCode: number | null, signal: NodeJS.Signals | null): Ended => ({
  exitCode: exitCode ?? undefined,
  signal: signal ?? undefined,
  code: undefined,
  words: signal === null ? '' : `${signal} ended it`,
})

function notStarted(error: NodeJS.ErrnoException): Ended {
  return { exitCode: undefined, signal: undefined, code: error.code, words: error.message }
}

/** A process that the kernel had no resources for, or whose arguments are too long. */
function childless(error: unknown): Child {
  const ended = Promise.resolve(notStarted(error as NodeJS.ErrnoException))
  const streams = { stdin: null, stdout: null, stderr: null }
  return { ...streams, pid: undefined, exited: ended, closed: ended, kill: () => undefined, drop: () => undefined }
}

/**
 * Starts a program. Throws nothing: `exited` and `closed` report a program that cannot be started.
 *
 * @param env its whole environment
 * @param streams its stdin, stdout and stderr
 */
export function startChild(
  path: string,
  argv: readonly string[],
  env: Readonly<Record<string, string>>,
  streams: readonly [Stream, Stream, Stream],
): Child {
  let child: ReturnType<typeof spawn>
  try {
    child = spawn(path, argv, { env, stdio: [...streams], detached: true })
  } catch (error) {
    return childless(error)
  }
  const { pid, stdin, stdout, stderr } = child
  // A process that has ended, or does not read all of its input.
  stdin?.on('error', () => undefined)
  const settled = (event: 'exit' | 'close'): Promise<Ended> =>
    new Promise((resolve) => {
      child.once(event, (exitCode, signal) => resolve(endedBy(exitCode, signal)))
      // A failure to kill is no end.
      child.on('error', (error) => pid === undefined && resolve(notStarted(error)))
    })
  return {
    pid,
    stdin,
    stdout,
    stderr,
    exited: settled('exit'),
    closed: settled('close'),
    kill: (signal) => void child.kill(signal),
    drop() {
      for (const stream of [stdin, stdout, stderr]) stream?.destroy()
      child.unref()
    },
  }
}

/** Reads all of a stream as text. */
export async function textOf(stream: Readable | null): Promise<string> {
  const chunks: Buffer[] = []
  stream?.on('data', (chunk: Buffer) => chunks.push(chunk))
  return new Promise((resolve) => {
    const done = (): void => resolve(Buffer.concat(chunks).toString('utf8'))
    if (stream === null) done()
    else stream.once('close', done).once('error', done)
  })
}

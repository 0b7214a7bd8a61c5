// The process around a run: streams, signals, prompt and exit status. No other file touches `process`.

import { once } from 'node:events'
import { fstatSync, writeSync } from 'node:fs'
import { isatty } from 'node:tty'
import { createScreen, type Screen } from './commands/cli/screen.ts'
import { main, type Output } from './commands/main.ts'
import { EXIT, fail } from './diagnostics.ts'
import { isExecutable } from './shipped.ts'

const interruption = new AbortController()

// The first signal asks the run to stop: it finishes or rolls back, and sets the exit status. It also removes the
// handlers, so the second signal ends the process at once, which the data plane survives at any point.
const interrupt = (signal: NodeJS.Signals): void => interruption.abort(signal)
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
for (const signal of SIGNALS) process.once(signal, interrupt)

/** Runs a computation that leaves nothing to undo. It would keep a signal from being handled, so the kernel handles it. */
async function compute<T>(body: () => T): Promise<T> {
  // Handles signals that have arrived: without handlers Node would forget them.
  await new Promise((resolve) => setImmediate(resolve))
  if (interruption.signal.aborted) throw fail('E112', 'interrupted: nothing was changed')
  for (const signal of SIGNALS) process.off(signal, interrupt)
  try {
    return body()
  } finally {
    for (const signal of SIGNALS) process.once(signal, interrupt)
  }
}

/** Makes SIGHUP reload the config of the daemon instead of stopping it. */
function onHangup(listener: () => void): void {
  process.off('SIGHUP', interrupt)
  process.on('SIGHUP', listener)
}

/** Makes the run outlive its session: the terminal's signals end it no more, and SIGTERM only asks it to stop. */
function outlive(): AbortSignal {
  for (const signal of ['SIGINT', 'SIGHUP'] as const) {
    process.off(signal, interrupt)
    process.on(signal, () => undefined)
  }
  return interruption.signal
}

// EPIPE: the reader has closed the pipe (`xdp plan | head`), which is no error; further output is dropped. EIO: the
// terminal is gone, so the run stops as after SIGHUP.
function onFault({ code }: NodeJS.ErrnoException, lose: (code: string) => void): void {
  if (code === 'EIO') interruption.abort('SIGHUP')
  else if (code !== 'EPIPE') lose(code ?? 'unknown error')
}

/** Writes to a file or device. Node's stream would throw here on a full disk, in the middle of an apply. */
function writeWhole(descriptor: number, text: string): void {
  const bytes = Buffer.from(text)
  for (let done = 0; done < bytes.length; ) done += writeSync(descriptor, bytes, done)
}

/** Whether a descriptor is the stream to the journal of systemd, which $JOURNAL_STREAM names as `device:inode`. */
function isJournal(descriptor: number): boolean {
  const stream = process.env['JOURNAL_STREAM']
  if (stream === undefined) return false
  const { dev, ino } = fstatSync(descriptor, { bigint: true })
  return stream === `${dev}:${ino}`
}

/** The standard streams for output that have been used. */
const used = new Set<NodeJS.WriteStream>()

/** Node makes a standard stream when it is first used, which takes time, so unused ones are never touched. */
function output(stream: () => NodeJS.WriteStream, descriptor: number): Output {
  let opened: NodeJS.WriteStream | undefined
  let lost: string | undefined
  const lose = (code: string): void => {
    lost ??= code
  }
  const isTTY = isatty(descriptor)
  const stats = fstatSync(descriptor)
  const isFile = stats.isFile() || (stats.isCharacterDevice() && !isTTY)
  return {
    write(text) {
      try {
        if (isFile) return writeWhole(descriptor, text)
        opened ??= stream().on('error', (error) => onFault(error, lose))
        used.add(opened)
        opened.write(text)
      } catch (error) {
        lose((error as NodeJS.ErrnoException).code ?? 'unknown error')
      }
    },
    lost: () => lost,
    isTTY,
    isJournal: isJournal(descriptor),
  }
}

/** Reads one line from stdin. Leaves line editing to the terminal, so that ^C stays a signal. */
async function ask(question: string, signal: AbortSignal): Promise<string> {
  const { createInterface } = await import('node:readline/promises')
  const reader = createInterface({ input: process.stdin, output: process.stderr, terminal: false })
  try {
    const ended = once(reader, 'close').then(() => undefined)
    const answer = await Promise.race([reader.question(question, { signal }), ended])
    // ^D leaves the cursor behind the question.
    if (answer === undefined) process.stderr.write('\n')
    return answer ?? ''
  } finally {
    reader.close()
  }
}

/**
 * Reads all of stdin. Uses the stream, because Node has made a pipe non-blocking by now, so readFileSync would fail.
 */
async function readInput(): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  const { addAbortSignal } = await import('node:stream')
  for await (const chunk of addAbortSignal(interruption.signal, process.stdin)) chunks.push(chunk as Uint8Array)
  return Buffer.concat(chunks)
}

/** Chunks of stdin. A signal ends them as the end of the input would, so that a live stream is reported in full. */
async function* chunksOfStdin(): AsyncGenerator<Uint8Array> {
  const { addAbortSignal } = await import('node:stream')
  try {
    for await (const chunk of addAbortSignal(interruption.signal, process.stdin)) yield chunk as Uint8Array
  } catch (error) {
    if (!interruption.signal.aborted) throw error
  }
}

/** Whether stdout is a terminal with control sequences; others are written to like a file. */
const isDrawable = isatty(1) && !['', 'dumb', 'unknown'].includes(process.env['TERM'] ?? '')

function openScreen(): Screen {
  used.add(process.stdout.on('error', (error) => onFault(error, () => undefined)))
  const screen = createScreen(process.stdin, process.stdout, {
    suspend: () => process.kill(process.pid, 'SIGTSTP'),
    onContinue: (listener) => process.on('SIGCONT', listener),
  })
  // On a crash this leaves the alternate screen before Node prints the stack, which would be lost with that screen.
  for (const end of ['exit', 'uncaughtExceptionMonitor']) process.on(end, screen.close)
  return screen
}

/** The status of a run that ends without a result, because it waits for nothing. */
process.exitCode = EXIT.bug

void main({
  argv: process.argv.slice(2),
  env: process.env,
  stdout: output(() => process.stdout, 1),
  stderr: output(() => process.stderr, 2),
  stdinIsTTY: isatty(0),
  stdin: chunksOfStdin,
  ask,
  readInput,
  ...(isDrawable ? { screen: openScreen() } : {}),
  signal: interruption.signal,
  compute,
  uid: process.geteuid?.() ?? -1,
  onHangup,
  outlive,
  self: [process.execPath, ...(isExecutable ? [] : [process.argv[1] ?? ''])],
}).then((exit) => {
  process.exitCode = exit
  // Spares Node the end of its heap, once errors of the streams have been raised. It would drop output that a pipe has not
  // taken yet, with which Node ends by itself.
  setImmediate(() => {
    if ([...used].every(({ writableLength }) => writableLength === 0)) process.exit()
  })
})

#!/usr/bin/env node
// The process around a run: streams, signals, prompt and exit status. Nothing else in the tool touches `process`.

import { once } from 'node:events'
import { createInterface } from 'node:readline/promises'
import { createScreen } from './commands/cli/screen.ts'
import { main, type Output } from './commands/main.ts'

const interruption = new AbortController()

// The first signal asks: what is under way is finished or taken back, and the exit status tells. The handlers are
// gone after it, so that the second one ends the process at once, which the data plane survives at any point.
const interrupt = (signal: NodeJS.Signals): void => interruption.abort(signal)
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, interrupt)

/** A daemon takes SIGHUP for the wish that it read its config again. */
function onHangup(listener: () => void): void {
  process.off('SIGHUP', interrupt)
  process.on('SIGHUP', listener)
}

// A reader that has seen enough (`xdp plan | head`) is no error. What it does not take is dropped. EIO: the terminal is
// gone, and so is whoever looked at it.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EIO') interruption.abort('SIGHUP')
    else if (error.code !== 'EPIPE') throw error
  })
}

const output = (stream: NodeJS.WriteStream): Output => ({
  write: (text) => void stream.write(text),
  isTTY: stream.isTTY === true,
})

/** One line from stdin. The terminal keeps its own line editing, so that ^C is a signal like anywhere else. */
async function ask(question: string, signal: AbortSignal): Promise<string> {
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

/** All of stdin. Through the stream, because a pipe that it has looked at does not block any more. */
async function readInput(): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  for await (const chunk of process.stdin) chunks.push(chunk as Uint8Array)
  return Buffer.concat(chunks)
}

/** A terminal that knows no control sequences is written to like a file. */
const isDrawable = process.stdout.isTTY === true && !['', 'dumb', 'unknown'].includes(process.env['TERM'] ?? '')
const screen = createScreen(process.stdin, process.stdout, {
  suspend: () => process.kill(process.pid, 'SIGTSTP'),
  onContinue: (listener) => process.on('SIGCONT', listener),
})
// The monitor hears of a crash before its stack is printed, which would be lost with the other screen.
for (const end of ['exit', 'uncaughtExceptionMonitor']) process.on(end, screen.close)

// Not process.exit(): output to a pipe may still be on its way.
process.exitCode = await main({
  argv: process.argv.slice(2),
  env: process.env,
  stdout: output(process.stdout),
  stderr: output(process.stderr),
  stdinIsTTY: process.stdin.isTTY === true,
  stdin: () => process.stdin,
  ask,
  readInput,
  ...(isDrawable ? { screen } : {}),
  signal: interruption.signal,
  uid: process.geteuid?.() ?? -1,
  onHangup,
})

// A shell that starts tools for this process. A fork copies the page tables of its process, which takes longer than
// bpftool itself if lists are in memory; a shell is small. The daemon and commands that start many tools open one
// before they grow (docs/adr/0044-a-small-shell-starts-tools.md).
//
// Protocol, line by line: the shell reads command lines, and writes the number and exit status of each command that has
// ended. Input and output of commands go through files in a directory on tmpfs. Commands run concurrently.

import { readFileSync, rmSync, statfsSync, writeFileSync } from 'node:fs'
import { execa } from 'execa'
import { killGroup, within } from './deadline.ts'
import { findTool, notInstalled, toolEnvironment } from './places.ts'
import { CommandError, type Input, type Output, spawnChild, useRunner } from './spawn.ts'

const LOOP = 'while IFS= read -r line; do eval "$line"; done'

/** Exit statuses of a shell for a tool that is missing, or may not be executed (POSIX, Shell Command Language, 2.8.2). */
const NOT_FOUND = 127
const NOT_EXECUTABLE = 126

export interface Helper {
  /** Settles when the shell has ended; from then on this process starts tools itself. */
  readonly ended: Promise<void>
  /** Ends the shell once its commands have ended, and removes its files. */
  readonly close: () => Promise<void>
}

/** Bytes that the input and output of a tool may need; bulk data does not go through them. */
const ROOM = 8 << 20
/** Files that commands which run at once need. */
const FILES = 64

function hasRoom(directory: string): boolean {
  try {
    const { bavail, bsize, ffree, files } = statfsSync(directory)
    return bavail * bsize >= ROOM && (files === 0 || ffree > FILES)
  } catch {
    return false
  }
}

/** Writes the input of a tool; false if that fails. */
function tryWrite(file: string, input: Input | undefined): boolean {
  try {
    if (input !== undefined) writeFileSync(file, input)
    return true
  } catch {
    return false
  }
}

/** Removes a file or a directory, whose staying does no harm. */
function discard(path: string): void {
  try {
    rmSync(path, { recursive: true, force: true })
  } catch {
    // The next command collects it.
  }
}

/** Quotes a word for the shell. */
const quote = (word: string): string => `'${word.replaceAll("'", `'\\''`)}'`

/** The shell reads one line per command, so a word cannot contain a line feed. */
const isOneLine = (word: string): boolean => !word.includes('\n')

/**
 * Opens a shell, which starts all tools until it is closed.
 *
 * @param makeDirectory makes a directory for files, on tmpfs, when the first tool is run; `close` removes it
 * @param environment of the tools
 */
export function openHelper(
  makeDirectory: () => Promise<string>,
  environment: Readonly<Record<string, string>> = toolEnvironment(),
): Helper {
  let directory: Promise<string> | undefined
  const shell = execa(findTool('sh'), ['-c', LOOP], {
    env: environment,
    extendEnv: false,
    stdin: 'pipe',
    stdout: 'pipe',
    stderr: 'ignore',
    reject: false,
    detached: true,
    buffer: false,
  })
  /** By number of a command; undefined: the shell has ended, and the command may or may not have run. */
  const waiting = new Map<string, (exitCode: number | undefined) => void>()
  let last = 0
  let rest = ''
  let isGone = false
  /** Why this process killed the shell: a command did not end in time, or an interrupt. */
  let cause: Error | undefined
  shell.stdout.setEncoding('utf8').on('data', (text: string) => {
    const lines = (rest + text).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) {
      const [number = '', exitCode] = line.split(' ')
      waiting.get(number)?.(Number(exitCode))
      waiting.delete(number)
    }
  })
  // Writing to a shell that has ended fails here; `ended` answers its commands.
  shell.stdin.on('error', () => undefined)
  const ended = shell.then(() => {
    isGone = true
    restore()
    for (const answer of waiting.values()) answer(undefined)
    waiting.clear()
  })
  const ask = (command: (number: string) => string): Promise<number | undefined> => {
    if (isGone) return Promise.resolve(undefined)
    const number = `${++last}`
    return new Promise((resolve) => {
      waiting.set(number, resolve)
      shell.stdin.write(`${command(number)}\n`)
    })
  }
  const run = async (tool: string, argv: readonly string[], input?: Input): Promise<Output> => {
    if (!argv.every(isOneLine)) return spawnChild(tool, argv, input)
    const path = findTool(tool)
    directory ??= makeDirectory()
    const place = await directory.catch(() => undefined)
    // Without files the tool runs as a child of this process, through pipes.
    if (place === undefined || !hasRoom(place)) return spawnChild(tool, argv, input)
    const files = `${place}/${last + 1}`
    const [read, written, failed] = ['in', 'out', 'err'].map((name) => `${files}.${name}`) as [string, string, string]
    if (!tryWrite(read, input)) return spawnChild(tool, argv, input)
    const words = [path, ...argv].map(quote).join(' ')
    const streams = `<${input === undefined ? '/dev/null' : read} >${written} 2>${failed}`
    // All commands are in the group of the shell: it ends with the one that hangs, and is not needed for the others.
    const exitCode = await within({ tool, argv, input: typeof input === 'string' ? input : undefined }, () => ({
      result: ask((number) => `{ ${words} ${streams}; echo "${number} $?"; } &`),
      kill: (why) => {
        cause ??= why
        return killGroup(shell.pid)
      },
    }))
    if (exitCode === undefined) {
      throw cause ?? new CommandError([tool, ...argv].join(' '), 128, 'the shell that starts tools has ended')
    }
    if (exitCode === NOT_FOUND || exitCode === NOT_EXECUTABLE) throw notInstalled(tool, exitCode === NOT_EXECUTABLE)
    const output = { stdout: readFileSync(written, 'utf8'), stderr: readFileSync(failed, 'utf8'), exitCode }
    for (const file of [read, written, failed]) discard(file)
    return output
  }
  const restore = useRunner(run)
  return {
    ended,
    async close() {
      restore()
      shell.stdin.end()
      await ended
      const place = await directory?.catch(() => undefined)
      if (place !== undefined) discard(place)
    },
  }
}

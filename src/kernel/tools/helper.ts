// A shell that starts tools for us. Starting a process means copying the page tables of the one that asks, which takes a
// process with a million addresses in memory longer than bpftool takes for its work; a shell holds next to nothing. The
// daemon and the commands that start many tools have one, from before they grow.
//
// Lines in: commands. Lines out: the number of a command and its exit status, when it has ended. What a command reads
// and writes goes through files in a directory of ours on tmpfs.

import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { execa } from 'execa'

/** Commands run side by side; what opens and closes the lock runs in the shell itself. */
const LOOP = 'while IFS= read -r line; do eval "$line"; done'

/** What flock is to end with when somebody else has the lock: none of its own statuses, nor one of the shell's. */
const CONFLICT = 75

/** The descriptor of the shell that holds the lock. No command gets it, for none may hold the lock longer. */
const LOCK = 9

export interface Ended {
  readonly stdout: string
  readonly stderr: string
  readonly exitCode: number
}

export interface Helper {
  /** Runs a tool to its end. undefined: the shell is gone, and whether the tool ran is not known. */
  readonly run: (tool: string, argv: readonly string[], input?: string) => Promise<Ended | undefined>
  /**
   * Takes the lock of a file (flock(2), exclusive) if nobody has it, and wipes the file. undefined: cannot be told, because
   * the shell is gone, holds a lock already, or could not try.
   */
  readonly tryLock: (file: string) => Promise<boolean | undefined>
  readonly unlock: () => Promise<void>
  /** Settles when the shell is gone, and with it the lock. */
  readonly ended: Promise<void>
  readonly close: () => Promise<void>
}

const quote = (word: string): string => `'${word.replaceAll("'", `'\\''`)}'`

/** A word that `Helper.run` can pass on: a line ends the command. */
export const isOneLine = (word: string): boolean => !word.includes('\n')

let current: Helper | undefined

/** The helper of this process, if it has one. */
export const helper = (): Helper | undefined => current

/**
 * From now on tools are started by a helper, until it is closed.
 *
 * @param makeDirectory makes a directory for files, on tmpfs, when the first tool is run; `close` removes it
 */
export function openHelper(
  environment: Readonly<Record<string, string>>,
  makeDirectory: () => Promise<string>,
): Helper {
  let directory: Promise<string> | undefined
  const shell = execa('sh', ['-c', LOOP], {
    env: environment,
    stdin: 'pipe',
    stdout: 'pipe',
    stderr: 'ignore',
    reject: false,
    detached: true,
    buffer: false,
  })
  const waiting = new Map<string, (exitCode: number | undefined) => void>()
  let last = 0
  let rest = ''
  let isGone = false
  let isLocked = false
  shell.stdout.setEncoding('utf8').on('data', (text: string) => {
    const lines = (rest + text).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) {
      const [number = '', exitCode] = line.split(' ')
      waiting.get(number)?.(Number(exitCode))
      waiting.delete(number)
    }
  })
  // What it is told after its end is answered by `ended`.
  shell.stdin.on('error', () => undefined)
  const ended = shell.then(() => {
    isGone = true
    if (current === opened) current = undefined
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
  const opened: Helper = {
    ended,
    async run(tool, argv, input) {
      directory ??= makeDirectory()
      const place = await directory
      const files = `${place}/${last + 1}`
      const [read, written, told] = ['in', 'out', 'err'].map((name) => `${files}.${name}`) as [string, string, string]
      if (input !== undefined) writeFileSync(read, input)
      const words = [tool, ...argv].map(quote).join(' ')
      const exitCode = await ask((number) => {
        const streams = `<${input === undefined ? '/dev/null' : read} >${written} 2>${told}`
        return `{ ${words} ${streams}; echo "${number} $?"; } ${LOCK}>&- &`
      })
      if (exitCode === undefined) return undefined
      const output = { stdout: readFileSync(written, 'utf8'), stderr: readFileSync(told, 'utf8'), exitCode }
      for (const file of [read, written, told]) rmSync(file, { force: true })
      return output
    },
    async tryLock(file) {
      if (isLocked) return undefined
      isLocked = true
      const take = `exec ${LOCK}<>${quote(file)} && flock --exclusive --nonblock --conflict-exit-code ${CONFLICT} ${LOCK} && : >${quote(file)}`
      const exitCode = await ask((number) => `${take}; echo "${number} $?"`)
      if (exitCode !== 0) await opened.unlock()
      return exitCode === 0 || exitCode === CONFLICT ? exitCode === 0 : undefined
    },
    async unlock() {
      await ask((number) => `exec ${LOCK}>&-; echo "${number} 0"`)
      isLocked = false
    },
    async close() {
      shell.stdin.end()
      await ended
      const place = await directory?.catch(() => undefined)
      if (place !== undefined) rmSync(place, { recursive: true, force: true })
    },
  }
  current = opened
  return opened
}

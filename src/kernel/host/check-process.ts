// The process that makes health checks through VIPs (src/checker.ts), in a network namespace without a name. The kernel
// removes the namespace with the process, and the process with the daemon, so that a killed daemon leaves neither.

import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { CHECKER, isExecutable } from '../../shipped.ts'
import { findTool, toolEnvironment } from '../tools/places.ts'
import { CommandError, type Input, type Output, spawnTool, stderrWords } from '../tools/spawn.ts'

export interface CheckProcess {
  readonly pid: number
  readonly send: (message: object) => void
  /** Settles when the process has ended. */
  readonly ended: Promise<void>
  readonly kill: () => void
}

/** Name of the device that leads to the namespace, by eight hex digits of the instance. */
export const checkDevice = (digits: string): string => `xdpc${digits}`

export const isCheckDevice = (name: string): boolean => /^xdpc[0-9a-f]{8}$/.test(name)

/** Most characters kept of what the process prints before it is ready. */
const MOST_WORDS = 4096

/** Resolves once the process is ready. Throws CommandError if it ends before, E100 if a tool is missing. */
export async function startCheckProcess(onMessage: (message: object) => void): Promise<CheckProcess> {
  const program = isExecutable ? CHECKER : fileURLToPath(new URL('./checker.js', import.meta.url))
  const argv = ['--pdeathsig', 'KILL', '--', findTool('unshare'), '--net', '--', process.execPath, program]
  const child = spawn(findTool('setpriv'), argv, {
    cwd: '/',
    env: toolEnvironment(),
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    // Keeps the words of an address as they are.
    serialization: 'advanced',
    detached: true,
  })
  let words = ''
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    words = (words + text).slice(0, MOST_WORDS)
  })
  const ended = new Promise<void>((resolve) => {
    child.once('exit', () => resolve())
    child.once('error', (error) => {
      words += error.message
      resolve()
    })
  })
  const ready = new Promise<boolean>((resolve) => {
    child.once('message', () => {
      child.on('message', (message) => onMessage(message as object))
      resolve(true)
    })
    void ended.then(() => resolve(false))
  })
  if (!(await ready) || child.pid === undefined) {
    throw new CommandError('unshare --net', child.exitCode ?? 1, stderrWords(words))
  }
  return {
    pid: child.pid,
    send: (message) => {
      // An ended one is reported by `ended`.
      if (child.connected) child.send(message, () => undefined)
    },
    ended,
    kill: () => void child.kill('SIGKILL'),
  }
}

/** Runs a tool in the network namespace of a process. Throws CommandError if it fails. */
export async function runInNamespace(
  { pid }: Pick<CheckProcess, 'pid'>,
  tool: string,
  argv: readonly string[],
  input?: Input,
): Promise<Output> {
  const output = await spawnTool('nsenter', [`--net=/proc/${pid}/ns/net`, '--', findTool(tool), ...argv], input)
  if (output.exitCode !== 0) {
    throw new CommandError([tool, ...argv].join(' '), output.exitCode, stderrWords(output.stderr))
  }
  return output
}

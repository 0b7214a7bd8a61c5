// A runner for short commands: waits for each tool without the event loop, which takes half the time of a runner that
// leaves room for other work.

import { overdue, toolTimeoutMs } from './deadline.ts'
import { findTool, notInstalled, toolEnvironment } from './places.ts'
import { CommandError, type Runner } from './spawn.ts'

/** Runs a tool until it ends. Throws E100, E130 and CommandError. A signal takes effect when the tool has ended. */
export const runNow: Runner = async (tool, argv, input) => {
  const timeout = toolTimeoutMs()
  // Not imported above: a command that asks the daemon starts no process.
  const { spawnSync } = await import('node:child_process')
  const line = [tool, ...argv].join(' ')
  const { error, status, signal, stdout, stderr } = spawnSync(findTool(tool), argv, {
    env: toolEnvironment(),
    ...(input === undefined ? { stdio: ['ignore', 'pipe', 'pipe'] } : { input }),
    encoding: 'utf8',
    maxBuffer: 1 << 30,
    timeout,
    killSignal: 'SIGKILL',
  })
  const { code } = (error ?? {}) as NodeJS.ErrnoException
  if (code === 'ENOENT' || code === 'EACCES') throw notInstalled(tool, code === 'EACCES')
  if (code === 'ETIMEDOUT') throw overdue({ tool, argv, input: typeof input === 'string' ? input : undefined }, timeout)
  if (status === null || error) throw new CommandError(line, signal ? 128 : 1, error?.message ?? `killed by ${signal}`)
  return { stdout, stderr, exitCode: status }
}

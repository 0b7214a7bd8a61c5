// Starts one bpftool or ip process, and reports its failure. lock.ts and monitor.ts start processes that keep running.

import { type Code, type Diagnostic, XdpError } from '../../diagnostics.ts'
import { killGroup, toolTimeoutMs, within } from './deadline.ts'
import { refusalHint } from './permission.ts'
import { findTool, notInstalled, toolDirectories, toolEnvironment } from './places.ts'

/** A failed process with its messages. `errno`: from bpftool's exit status if that holds one (256 - errno), else 0. */
export class CommandError extends XdpError {
  readonly exitCode: number
  readonly errno: number
  /** Messages of the kernel and the tool, the kernel's first. */
  readonly words: string
  /** Position of the command in its batch, from 0. */
  position: number | undefined

  constructor(line: string, exitCode: number, words: string, code: Code = 'E101', hint?: string) {
    const why = hint ?? (line.startsWith('bpftool') ? refusalHint(words) : undefined)
    super([
      {
        code,
        severity: 'error',
        message: `${shorten(line)} failed with exit status ${exitCode}${words ? `: ${words}` : ''}`,
        ...(why === undefined ? {} : { hint: why }),
      },
    ])
    this.name = 'CommandError'
    this.exitCode = exitCode
    this.errno = exitCode > 128 && exitCode < 256 ? 256 - exitCode : 0
    this.words = words
  }
}

/** Cuts a long line, such as a `map update` with a long value. */
const shorten = (line: string): string => (line.length > 200 ? `${line.slice(0, 200)} …` : line)

/** The kernel's message, without libbpf's prefixes and verifier logs; else the last lines. */
export function stderrWords(stderr: string): string {
  const lines = stderr
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '')
  const kernel = lines
    .filter((line) => line.includes('Kernel error message:'))
    .map((line) => line.replace(/^.*Kernel error message: */, ''))
  if (kernel.length > 0) return kernel.join('; ')
  return lines.slice(-4).join('; ')
}

export interface Output {
  readonly stdout: string
  readonly stderr: string
  readonly exitCode: number
}

/** Text or bytes for the stdin of a tool. */
export type Input = string | Uint8Array

/**
 * Runs a tool until it ends. Throws E100 if it is missing, E130 if it did not end in time, E112 if interrupted, CommandError
 * if it was killed.
 */
export type Runner = (tool: string, argv: readonly string[], input?: Input) => Promise<Output>

/**
 * Runs a tool until it ends, as a child of this process. It is outside the terminal's process group, so that ^C takes
 * effect between steps and does not kill a bpftool within one.
 *
 * @param variables added to the environment of every tool
 */
export async function spawnChild(
  tool: string,
  argv: readonly string[],
  input?: Input,
  variables: Readonly<Record<string, string>> = {},
): Promise<Output> {
  const path = findTool(tool)
  // Not imported above: short commands use another runner, and do without its code.
  const { execa } = await import('execa')
  const result = await within({ tool, argv, input: typeof input === 'string' ? input : undefined }, () => {
    const child = execa(path, argv, {
      env: { ...toolEnvironment(), ...variables },
      extendEnv: false,
      ...(input === undefined ? { stdin: 'ignore' as const } : { input }),
      reject: false,
      detached: true,
      stripFinalNewline: false,
      maxBuffer: 1 << 30,
    })
    const kill = async (): Promise<void> => {
      await killGroup(child.pid)
      // A process that left the group may keep the pipes open.
      for (const stream of [child.stdin, child.stdout, child.stderr]) stream?.destroy()
      child.unref()
    }
    return { result: child, kill }
  })
  if (result.exitCode === undefined) {
    if (result.code === 'ENOENT' || result.code === 'EACCES') throw notInstalled(tool, result.code === 'EACCES')
    throw new CommandError([tool, ...argv].join(' '), result.signal ? 128 : 1, result.shortMessage ?? '')
  }
  return { stdout: result.stdout, stderr: result.stderr, exitCode: result.exitCode }
}

let runner: Runner = spawnChild

/** Replaces the runner of tools. Returns a function that restores the previous one. */
export function useRunner(next: Runner): () => void {
  const before = runner
  runner = next
  return () => {
    if (runner === next) runner = before
  }
}

export const spawnTool: Runner = (tool, argv, input) => runner(tool, argv, input)

/** timeout(1): the command did not end in time. */
const TIMED_OUT = 124

/** Runs any other tool for doctor; undefined if it is missing. Throws E300 if a setting of tools is wrong, E112. */
export async function tryTool(tool: string, ...argv: readonly string[]): Promise<Output | undefined> {
  toolDirectories()
  toolTimeoutMs()
  try {
    return await spawnTool(tool, argv)
  } catch (error) {
    if (!(error instanceof XdpError)) throw error
    const [{ code, message }] = error.diagnostics as [Diagnostic]
    if (code === 'E112') throw error
    return code === 'E130' ? { stdout: '', stderr: message, exitCode: TIMED_OUT } : undefined
  }
}

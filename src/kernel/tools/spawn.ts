// Starts one bpftool or ip process, and reports its failure. lock.ts and monitor.ts start processes that keep running.

import { execa } from 'execa'
import { type Code, fail, XdpError } from '../../diagnostics.ts'

/** A failed process with its messages. `errno`: from bpftool's exit status if that holds one (256 - errno), else 0. */
export class CommandError extends XdpError {
  readonly exitCode: number
  readonly errno: number
  /** Messages of the kernel and the tool, the kernel's first. */
  readonly words: string
  /** Position of the command in its batch, from 0. */
  position: number | undefined

  constructor(line: string, exitCode: number, words: string, code: Code = 'E101', hint?: string) {
    super([
      {
        code,
        severity: 'error',
        message: `${shorten(line)} failed with exit status ${exitCode}${words ? `: ${words}` : ''}`,
        ...(hint === undefined ? {} : { hint }),
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

/** Debian's packages of the tools that a command needs. */
const PACKAGES: Readonly<Record<string, string>> = {
  ip: 'iproute2',
  ipset: 'ipset',
  nft: 'nftables',
  'xdp-filter': 'xdp-tools',
  'iptables-save': 'iptables',
  'ip6tables-save': 'iptables',
  getent: 'libc-bin',
  'systemd-notify': 'systemd',
}

export interface Output {
  readonly stdout: string
  readonly stderr: string
  readonly exitCode: number
}

/** Debian keeps bpftool and ip in sbin, which a plain PATH may lack; LC_ALL keeps their messages in English. */
export const toolEnvironment = (): Record<string, string> => ({
  PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin:/usr/local/sbin`,
  LC_ALL: 'C',
})

/** E100. `isThere`: the file exists, but may not be executed. */
export function notInstalled(tool: string, isThere: boolean): XdpError {
  const hint = `apt-get install ${PACKAGES[tool] ?? 'bpftool'}`
  return fail('E100', `${tool} is not installed${isThere ? ', or may not be executed' : ''}`, hint)
}

/** Runs a tool until it ends. Throws E100 if it is missing, CommandError if it was killed. */
export type Runner = (tool: string, argv: readonly string[], input?: string) => Promise<Output>

/**
 * Runs a tool until it ends, as a child of this process. It is outside the terminal's process group, so that ^C takes
 * effect between steps and does not kill a bpftool within one.
 */
export async function spawnChild(tool: string, argv: readonly string[], input?: string): Promise<Output> {
  const result = await execa(tool, argv, {
    env: toolEnvironment(),
    ...(input === undefined ? { stdin: 'ignore' as const } : { input }),
    reject: false,
    detached: true,
    stripFinalNewline: false,
    maxBuffer: 1 << 30,
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

/** Parses JSON; undefined for empty text. */
export const parseJson = (text: string): unknown => (text.trim() === '' ? undefined : JSON.parse(text))

/** Runs any other tool for doctor; undefined if it is missing. */
export async function tryTool(tool: string, ...argv: readonly string[]): Promise<Output | undefined> {
  try {
    return await spawnTool(tool, argv)
  } catch (error) {
    if (error instanceof XdpError) return undefined
    throw error
  }
}

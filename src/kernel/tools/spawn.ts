// One bpftool or ip process: how it is started, and how its failure is reported. Processes that run on beside this one
// are started in lock.ts and monitor.ts.

import { execa } from 'execa'
import { type Code, fail, XdpError } from '../../diagnostics.ts'

/** A process that failed, with its own words. `errno` where bpftool's exit status carries one (256 - errno), else 0. */
export class CommandError extends XdpError {
  readonly exitCode: number
  readonly errno: number
  /** What the tool and the kernel said, the kernel first. */
  readonly words: string
  /** Of the command in its batch, from 0. */
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

/** A `map update` with a long value is shown by its head. */
const shorten = (line: string): string => (line.length > 200 ? `${line.slice(0, 200)} …` : line)

/** libbpf prefixes and verifier logs are noise around the kernel's own sentence. */
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

/** Debian keeps bpftool and ip in sbin, which a plain PATH may lack; their words are wanted in English. */
export const toolEnvironment = (): Record<string, string> => ({
  PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin:/usr/local/sbin`,
  LC_ALL: 'C',
})

/** E100. `isThere`: the file exists and may not be executed. */
export function notInstalled(tool: string, isThere: boolean): XdpError {
  const hint = `apt-get install ${PACKAGES[tool] ?? 'bpftool'}`
  return fail('E100', `${tool} is not installed${isThere ? ', or may not be executed' : ''}`, hint)
}

/** Runs a tool to its end. Throws E100 where it is missing, CommandError where it was killed. */
export type Runner = (tool: string, argv: readonly string[], input?: string) => Promise<Output>

/**
 * Runs a tool to its end, as a child of this process. It is detached from the terminal's process group: ^C is for us to
 * act on between steps, not for a bpftool in the middle of one.
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

/** Has tools run by another runner from now on. Returns what puts back the one before. */
export function useRunner(next: Runner): () => void {
  const before = runner
  runner = next
  return () => {
    if (runner === next) runner = before
  }
}

export const spawnTool: Runner = (tool, argv, input) => runner(tool, argv, input)

/** JSON or nothing. */
export const parseJson = (text: string): unknown => (text.trim() === '' ? undefined : JSON.parse(text))

/** Runs any other tool for doctor; undefined where it is missing. */
export async function tryTool(tool: string, ...argv: readonly string[]): Promise<Output | undefined> {
  try {
    return await spawnTool(tool, argv)
  } catch (error) {
    if (error instanceof XdpError) return undefined
    throw error
  }
}

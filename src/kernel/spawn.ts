// One bpftool or ip process: how it is started, and how its failure is told. The only file that spawns.

import { execa } from 'execa'
import { type Code, XdpError } from '../diagnostics.ts'

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

/** A `map update` with a long value is told by its head. */
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
}

export interface Output {
  readonly stdout: string
  readonly stderr: string
  readonly exitCode: number
}

/**
 * Debian keeps bpftool and ip in sbin, which a plain PATH may lack. Processes are detached from the terminal's
 * process group: ^C is for us to act on between steps, not for a bpftool in the middle of one.
 */
export async function spawnTool(tool: string, argv: readonly string[], input?: string): Promise<Output> {
  const path = `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin:/usr/local/sbin`
  const result = await execa(tool, argv, {
    env: { PATH: path, LC_ALL: 'C' },
    ...(input === undefined ? { stdin: 'ignore' as const } : { input }),
    reject: false,
    detached: true,
    stripFinalNewline: false,
    maxBuffer: 1 << 30,
  })
  if (result.exitCode === undefined) {
    if (result.code === 'ENOENT' || result.code === 'EACCES') {
      throw new XdpError([
        {
          code: 'E100',
          severity: 'error',
          message: `${tool} is not installed${result.code === 'EACCES' ? ', or may not be executed' : ''}`,
          hint: `apt-get install ${PACKAGES[tool] ?? 'bpftool'}`,
        },
      ])
    }
    throw new CommandError([tool, ...argv].join(' '), result.signal ? 128 : 1, result.shortMessage ?? '')
  }
  return { stdout: result.stdout, stderr: result.stderr, exitCode: result.exitCode }
}

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

// ip, as JSON: what the kernel's netlink says of interfaces, routes and neighbours. Never /sys/class/net, which shows
// the namespace of the mount and not of the process.

import { CommandError, parseJson, spawnTool, stderrWords } from './spawn.ts'

/** Runs `ip -j …` and returns its JSON. Throws CommandError, or XdpError E100 where ip is missing. */
export async function runIp(...argv: readonly string[]): Promise<unknown> {
  const { stdout, stderr, exitCode } = await spawnTool('ip', ['-j', ...argv])
  if (exitCode !== 0) throw new CommandError(`ip ${argv.join(' ')}`, exitCode, stderrWords(stderr))
  return parseJson(stdout)
}

/** What one line of a batch came to: its JSON, or the kernel's words. */
export type IpResult =
  | { readonly output: unknown; readonly error?: undefined }
  | { readonly output?: undefined; readonly error: string }

/** `Command failed -:7`, after a line with the reason. */
const FAILED = /^Command failed -:(\d+)$/

/** Reasons by line of the input, from 1. */
function failures(stderr: string): ReadonlyMap<number, string> {
  const found = new Map<number, string>()
  let reason: string[] = []
  for (const line of stderr.split('\n')) {
    const number = FAILED.exec(line)?.[1]
    if (number === undefined) {
      if (line.trim() !== '') reason.push(line.trim().replace(/^RTNETLINK answers: /, ''))
      continue
    }
    found.set(Number(number), reason.join('; ') || 'refused')
    reason = []
  }
  return found
}

/**
 * Runs lines such as `route get 192.0.2.1` in one ip process, each whatever becomes of the others, and returns what each
 * came to. Only for lines that print one JSON document when they succeed, or for lines that print nothing.
 */
export async function runIpBatch(lines: readonly string[]): Promise<IpResult[]> {
  if (lines.length === 0) return []
  const input = `${lines.join('\n')}\n`
  const { stdout, stderr, exitCode } = await spawnTool('ip', ['-j', '-force', '-batch', '-'], input)
  if (exitCode !== 0 && failures(stderr).size === 0) throw new CommandError('ip -batch', exitCode, stderrWords(stderr))
  return pairResults(lines.length, stdout, stderr)
}

/** What `count` lines came to, from what ip wrote: successes in order on stdout, failures with their line on stderr. */
export function pairResults(count: number, stdout: string, stderr: string): IpResult[] {
  const failed = failures(stderr)
  const outputs = stdout.split('\n').filter((line) => line !== '')
  let next = 0
  return Array.from({ length: count }, (_, index) => {
    const error = failed.get(index + 1)
    return error === undefined ? { output: parseJson(outputs[next++] ?? '') } : { error }
  })
}

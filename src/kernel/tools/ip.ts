// Runs ip: interfaces, routes and neighbours as JSON. /sys/class/net would show the namespace of the mount, not that of
// the process.

import { CommandError, parseJson, spawnTool, stderrWords } from './spawn.ts'

/** Runs `ip -j …` and returns its JSON. Throws CommandError, or XdpError E100 where ip is missing. */
export async function runIp(...argv: readonly string[]): Promise<unknown> {
  const { stdout, stderr, exitCode } = await spawnTool('ip', ['-j', ...argv])
  if (exitCode !== 0) throw new CommandError(`ip ${argv.join(' ')}`, exitCode, stderrWords(stderr))
  return parseJson(stdout)
}

/** The result of one line of a batch: its JSON, or the kernel's message. */
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
 * Runs lines such as `route get 192.0.2.1` in one ip process, each even if others fail, and returns their results. On
 * success either every line must print one JSON document, or none anything.
 */
export async function runIpBatch(lines: readonly string[]): Promise<IpResult[]> {
  if (lines.length === 0) return []
  const input = `${lines.join('\n')}\n`
  const { stdout, stderr, exitCode } = await spawnTool('ip', ['-j', '-force', '-batch', '-'], input)
  if (exitCode !== 0 && failures(stderr).size === 0) throw new CommandError('ip -batch', exitCode, stderrWords(stderr))
  return pairResults(lines.length, stdout, stderr)
}

/** The results of `count` lines: ip writes successes in order to stdout, failures with their line number to stderr. */
export function pairResults(count: number, stdout: string, stderr: string): IpResult[] {
  const failed = failures(stderr)
  const outputs = stdout.split('\n').filter((line) => line !== '')
  let next = 0
  return Array.from({ length: count }, (_, index) => {
    const error = failed.get(index + 1)
    return error === undefined ? { output: parseJson(outputs[next++] ?? '') } : { error }
  })
}

// Runs ip: interfaces, routes and neighbours as JSON. /sys/class/net would show the namespace of the mount, not that of
// the process.

import { BadAnswer, type Shape } from '../../abi/answer.ts'
import { parseAnswer, understand } from './answer.ts'
import { CommandError, type Output, spawnTool, stderrWords } from './spawn.ts'

/** Runs `ip -j …` and returns its answer. Throws CommandError, XdpError as spawnTool, E131 for another shape. */
export async function askIp<T>(shape: Shape<T>, ...argv: readonly string[]): Promise<T> {
  const { stdout, stderr, exitCode } = await spawnTool('ip', ['-j', ...argv])
  if (exitCode !== 0) throw new CommandError(`ip ${argv.join(' ')}`, exitCode, stderrWords(stderr))
  return understand('ip', `ip ${argv.join(' ')}`, () => shape(parseAnswer(stdout)))
}

/** The result of one line of a batch: its JSON, or the kernel's message. */
export type IpResult<T = undefined> =
  | { readonly output: T; readonly error?: undefined }
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
 * Runs lines such as `route get 192.0.2.1` in one ip process, each even if others fail, and returns their results. Every
 * line that succeeds must print one JSON document. Throws like askIp.
 */
export async function askIpBatch<T>(shape: Shape<T>, lines: readonly string[]): Promise<IpResult<T>[]> {
  const { stdout, stderr } = await runLines(lines)
  return understand('ip', `ip ${lines[0]}`, () => pairResults(lines.length, stdout, stderr, shape))
}

/** Runs lines that print nothing. Throws CommandError if they are not run at all. */
export async function runIpBatch(lines: readonly string[]): Promise<IpResult[]> {
  const failed = failures((await runLines(lines)).stderr)
  return lines.map((_, index): IpResult => {
    const error = failed.get(index + 1)
    return error === undefined ? { output: undefined } : { error }
  })
}

async function runLines(lines: readonly string[]): Promise<Pick<Output, 'stdout' | 'stderr'>> {
  if (lines.length === 0) return { stdout: '', stderr: '' }
  const input = `${lines.join('\n')}\n`
  const { stdout, stderr, exitCode } = await spawnTool('ip', ['-j', '-force', '-batch', '-'], input)
  if (exitCode !== 0 && failures(stderr).size === 0) throw new CommandError('ip -batch', exitCode, stderrWords(stderr))
  return { stdout, stderr }
}

/**
 * The results of `count` lines: ip writes successes in order to stdout, failures with their line number to stderr. Throws
 * BadAnswer.
 */
export function pairResults<T>(count: number, stdout: string, stderr: string, shape: Shape<T>): IpResult<T>[] {
  const failed = failures(stderr)
  const outputs = stdout.split('\n').filter((line) => line !== '')
  const numbers = Array.from({ length: count }, (_, index) => index + 1)
  const succeeded = numbers.filter((number) => !failed.has(number)).length
  if (outputs.length !== succeeded) throw new BadAnswer(`it answers ${outputs.length} of ${succeeded} lines`)
  let next = 0
  return numbers.map((number) => {
    const error = failed.get(number)
    return error === undefined ? { output: shape(parseAnswer(outputs[next++] ?? '')) } : { error }
  })
}

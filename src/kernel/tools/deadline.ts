// Ends tools that take too long, or that an interrupt makes useless, with every process of their group.

import { readdir, readFile } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { fail, type XdpError } from '../../diagnostics.ts'
import { parseMilliseconds } from '../../model/duration.ts'
import { interrupted, interruptionNow } from './interrupt.ts'

/** The variable with the time that a tool has. */
const VARIABLE = 'XDP_TOOL_TIMEOUT'
/** Loading programs takes longest: seconds on a slow host, because of the verifier. */
const DEFAULT_MS = 60_000
/** Additional time for each line of a batch, which transfers at most 64 KiB. */
const LINE_MS = 10
/** The longest delay a timer of Node takes, about 24 days. */
const LONGEST = 2 ** 31 - 1
/** Time for killed processes to disappear; one that waits for a disk or a network file system may take longer. */
const DYING_MS = 2000
const POLL_MS = 5

/** The time that a tool has, in milliseconds. Throws E300 if XDP_TOOL_TIMEOUT is no duration. */
export function toolTimeoutMs(): number {
  const text = process.env[VARIABLE] ?? ''
  if (text === '') return DEFAULT_MS
  const value = parseMilliseconds(text, ['ms', 's', 'm', 'h'])
  if (value !== undefined && value > 0 && value <= LONGEST) return value
  throw fail('E300', `${VARIABLE} "${text}" is not a duration`, `write a whole number with its unit: ${VARIABLE}=2m`)
}

const linesOf = (input: string): number => input.split('\n').length - 1

/** State and group of a process, from its /proc/PID/stat (proc(5)); the name in it may contain any character. */
const STAT = /^\d+ \(.*\) (\S) \d+ (\d+) /s

/** Whether a process of the group runs. A zombie does not: in some containers nothing ever reaps it. */
async function groupRuns(leader: number): Promise<boolean> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name))
  const stats = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')))
  return stats.some((stat) => {
    const [, state = 'Z', group] = STAT.exec(stat) ?? []
    return Number(group) === leader && !'ZX'.includes(state)
  })
}

/** Kills every process of a group. Resolves when none runs any more, after two seconds at the latest. */
export async function killGroup(leader: number | undefined): Promise<void> {
  if (leader === undefined) return
  const until = performance.now() + DYING_MS
  try {
    process.kill(-leader, 'SIGKILL')
  } catch {
    // No process of the group is left.
    return
  }
  while ((await groupRuns(leader)) && performance.now() < until) await delay(POLL_MS)
}

/** A tool with its arguments and its input, for messages. */
export interface Call {
  readonly tool: string
  readonly argv: readonly string[]
  readonly input?: string | undefined
}

/** The words of a call, cut to a length that a message can hold; of a batch also its first line. */
function describe({ tool, argv, input }: Call): string {
  const short = (text: string): string => (text.length > 200 ? `${text.slice(0, 200)} …` : text)
  const line = short([tool, ...argv].join(' '))
  if (input === undefined) return line
  return `${line} (input lines: ${linesOf(input)}, the first is "${short(input.slice(0, input.indexOf('\n')))}")`
}

/** E130. */
export function overdue(call: Call, ms: number): XdpError {
  const time = ms < 1000 ? `${ms} ms` : `${Math.round(ms / 100) / 10} s`
  return fail(
    'E130',
    `${describe(call)} did not end within ${time} and was killed`,
    `run it by hand to see why it hangs; on a slow host, allow more time: ${VARIABLE}=5m`,
  )
}

/**
 * Waits for the result of a running tool, at most as long as it may take.
 *
 * @param start starts the tool
 * @param extraMs more time than the tool itself needs, such as for a lock
 * @throws E130 if it took too long, E112 if interrupted, in both cases after `kill`; E300 like toolTimeoutMs
 */
export async function within<T>(
  call: Call,
  start: () => { readonly result: Promise<T>; readonly kill: (why: Error) => Promise<void> },
  extraMs = 0,
): Promise<T> {
  const ms = Math.min(toolTimeoutMs() + extraMs + LINE_MS * linesOf(call.input ?? ''), LONGEST)
  const signal = interruptionNow()
  const { result, kill } = start()
  let timer: NodeJS.Timeout | undefined
  let onAbort = (): void => undefined
  const stopped = new Promise<Error>((resolve) => {
    onAbort = () => resolve(interrupted())
    timer = setTimeout(() => resolve(overdue(call, ms)), ms)
    signal?.addEventListener('abort', onAbort, { once: true })
  })
  try {
    const outcome = await Promise.race([result.then((value) => ({ value })), stopped])
    if ('value' in outcome) return outcome.value
    // Its failure has been reported by now.
    result.catch(() => undefined)
    await kill(outcome)
    throw outcome
  } finally {
    clearTimeout(timer)
    signal?.removeEventListener('abort', onAbort)
  }
}

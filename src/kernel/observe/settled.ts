// Retries readings that an apply disturbs. Readers take no lock, so an apply may replace the generation that they read,
// or be between its switch and its commit.

import { statSync } from 'node:fs'
import { setTimeout } from 'node:timers/promises'
import { generationOf, type Paths } from '../../abi/paths.ts'
import { type Code, XdpError } from '../../diagnostics.ts'
import { list } from '../tools/pins.ts'

/** Attempts while the generations stay the same: a killed apply leaves interfaces as they are. */
const ATTEMPTS = 3
/** Attempts while they change. Each change takes an apply longer than most readings. */
const DISTURBED_ATTEMPTS = 10
/** Longer than an apply takes from its switch to its end. */
const SETTLING_MS = 200
/** Failed command, refusal by the data plane, damaged tables: the errors of a reader whose generation is freed. */
const TRANSIENT: readonly Code[] = ['E101', 'E108', 'E113']

const hasCode = (error: unknown, codes: readonly Code[]): boolean =>
  error instanceof XdpError && error.diagnostics.some(({ code }) => codes.includes(code))

export interface SettledOptions<T> {
  /** Whether an answer is transient. */
  readonly isPassing?: (answer: T) => boolean
  /** A generation that the caller is building, which is ignored. */
  readonly staged?: number | undefined
}

/** 0: it is gone. */
function inodeOf(path: string): number {
  try {
    return statSync(path).ino
  } catch {
    return 0
  }
}

/** The objects in the instance directory, as text: their names and inodes. */
async function objectsOf({ instance }: Paths, staged: number | undefined): Promise<string> {
  const all = await list(instance)
  const names = all.filter((name) => staged === undefined || generationOf(name) !== staged).sort()
  return names.map((name) => `${name} ${inodeOf(`${instance}/${name}`)}`).join()
}

/** Whether an apply may be the cause of an error, and not the user (E112). */
const mayRetry = (error: unknown, isDisturbed: boolean): boolean =>
  isDisturbed ? !hasCode(error, ['E112']) : hasCode(error, TRANSIENT)

/**
 * Returns the answer of `read`, which reads one state of the instance: generations that came or went meanwhile make it
 * read again, whatever the answer or error. Also retries after an error that an apply can cause at any time, and after
 * an answer that `isPassing` calls transient. Throws the error of the last attempt.
 */
export async function settled<T>(
  paths: Paths,
  read: () => Promise<T>,
  { isPassing = () => false, staged }: SettledOptions<T> = {},
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    const before = await objectsOf(paths, staged)
    const result = await read().then(
      (answer) => ({ answer, isGood: !isPassing(answer) }),
      (error: unknown) => ({ error, isGood: false }),
    )
    const isDisturbed = (await objectsOf(paths, staged)) !== before
    const isLast = attempt >= (isDisturbed ? DISTURBED_ATTEMPTS : ATTEMPTS)
    if ('answer' in result) {
      if (isLast || (result.isGood && !isDisturbed)) return result.answer
    } else if (isLast || !mayRetry(result.error, isDisturbed)) throw result.error
    if (!result.isGood) await setTimeout(SETTLING_MS)
  }
}

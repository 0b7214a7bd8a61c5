// One cell of the matrix: an operation that something disturbs at one place, and everything that must hold after that.

import { existsSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Fault } from './faults.ts'
import type { Verdict } from './flow.ts'
import { nameOf, type Point } from './interceptor.ts'
import type { Operation, Ready } from './operations.ts'
import { expectOnly, type Running, type Scene } from './scene.ts'

/** The disturbance of an operation: a fault at one of its points, or a change of files at which its process dies or fails. */
export type Disturbance =
  | { readonly kind: 'fault'; readonly number: number; readonly fault: Fault }
  | { readonly kind: 'change'; readonly number: number; readonly what: string }

const REMOVALS = ['KILL', 'EROFS', 'EACCES', 'EIO'] as const
const OTHERS = [...REMOVALS, 'ENOSPC', 'EMFILE'] as const

/** The signal and the errors that may meet a change of files, given as its line in the log. */
export const changeFaults = (change: string): readonly string[] =>
  /^(?:rm|rmdir|unlink) /.test(change) ? REMOVALS : OTHERS

export interface Visit {
  /** Whether the operation got as far as the place. */
  readonly wasMet: boolean
  /** All points of this run. */
  readonly points: readonly Point[]
  /** All changes of files of this run. */
  readonly changes: readonly string[]
  /** The problems found. */
  readonly problem: string | undefined
}

/** A message that shows a bug of the command line. */
const BUG = /E999|TypeError|ReferenceError|SyntaxError|RangeError|UnhandledPromise| at .*\.js:\d/

/** The last policy of a list of stretches. */
const finalOf = (stretches: readonly { readonly verdict: Verdict }[]): Verdict | undefined => stretches.at(-1)?.verdict

/** Statuses after which the policy before is in force: all but those of success and of E111. */
const isAsBefore = (status: number): boolean => status !== 0 && status !== 3

/** Runs an operation that is disturbed, or not at all, and checks everything about it. */
export async function visit(scene: Scene, operation: Operation, disturbance?: Disturbance): Promise<Visit> {
  const { interceptor, lab } = scene
  const log = join(lab.directory, 'changes')
  rmSync(log, { force: true })
  interceptor.points = []
  let met: Point | undefined
  let problem: string | undefined
  try {
    const ready = await operation.prepare(scene)
    await scene.flow.rounds()
    const { begun, begin } = start()
    interceptor.points = []
    interceptor.isDue = (at) => disturbance?.kind === 'fault' && at === disturbance.number
    interceptor.decide = async (at) => {
      met = at
      return disturbance?.kind === 'fault' ? disturbance.fault.strike(scene, await begun, at) : 'goes on'
    }
    if (!operation.isPersistent) disturbChanges(log, disturbance)
    const running = await ready.start()
    begin(running)
    disturbChanges()
    const { status, stderr } = await running.ended
    await scene.expectQuiet(operation.isGuarded ? 'guardians' : 'nothing')
    interceptor.decide = undefined
    const isWhole = met === undefined && disturbance?.kind !== 'change'
    if (BUG.test(stderr)) throw new Error(`a bug shows: ${stderr}`)
    if (isWhole && status !== 0 && status !== null) throw new Error(`it failed: ${stderr}`)
    await expectVerdicts(scene, operation, ready, endOf(operation, disturbance, status), stderr)
    const flags = (met && disturbance?.kind === 'fault' && disturbance.fault.mend?.(scene)) || []
    const wanted = await operation.converge(scene, flags)
    const last = finalOf(await scene.flow.rounds())
    if (last !== wanted) throw new Error(`the policy is ${last} in the end, not ${wanted}`)
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    problem = `${operation.name}, ${describe(disturbance, met, changesOf(log))}: ${message}`
  } finally {
    interceptor.decide = undefined
    disturbChanges()
  }
  const changes = changesOf(log)
  const wasMet = met !== undefined || (disturbance?.kind === 'change' && changes.length > disturbance.number)
  return { wasMet, points: interceptor.points, changes, problem }
}

/** A process that is known once it has begun. */
function start(): { readonly begun: Promise<Running>; readonly begin: (running: Running) => void } {
  let begin: (running: Running) => void = () => undefined
  const begun = new Promise<Running>((resolve) => {
    begin = resolve
  })
  return { begun, begin }
}

/** Makes command lines that start from now on report their changes of files, and meet one of them; without a log, ends that. */
function disturbChanges(log?: string, disturbance?: Disturbance): void {
  if (log === undefined) {
    delete process.env['NODE_OPTIONS']
    delete process.env['XDP_CRASH_FILES']
    return
  }
  const { number, what } = disturbance?.kind === 'change' ? disturbance : { number: -1, what: 'KILL' }
  process.env['NODE_OPTIONS'] = `--import=${join(import.meta.dirname, 'files.mjs')}`
  process.env['XDP_CRASH_FILES'] = `${log} ${number} ${what}`
}

const changesOf = (log: string): string[] => (existsSync(log) ? readFileSync(log, 'utf8').trim().split('\n') : [])

/** The status that says which policy is in force; null: either may be. */
function endOf(
  { isPersistent }: Operation,
  disturbance: Disturbance | undefined,
  status: number | null,
): number | null {
  const isKilled = disturbance?.kind === 'fault' && disturbance.fault.isKill
  return isPersistent || isKilled ? null : status
}

async function expectVerdicts(
  scene: Scene,
  { also = [] }: Operation,
  { from, to }: Ready,
  status: number | null,
  stderr: string,
): Promise<void> {
  const stretches = await scene.flow.rounds()
  expectOnly(stretches, new Set([from, to, ...also]))
  if (status === null) return
  const last = finalOf(stretches)
  if (status === 0 && last !== to) throw new Error(`it succeeded, but the policy is ${last}, not ${to}`)
  if (isAsBefore(status) && last !== from) throw new Error(`status ${status}, but the policy is ${last}: ${stderr}`)
}

function describe(disturbance: Disturbance | undefined, met: Point | undefined, changes: readonly string[]): string {
  if (disturbance === undefined) return 'undisturbed'
  const { number } = disturbance
  if (disturbance.kind === 'change') return `${disturbance.what} at change ${number}, ${changes[number] ?? 'not met'}`
  const where = met ? `${nameOf(met)}, ${met.done} of ${met.of}` : 'not met'
  return `${disturbance.fault.name} at point ${number}, ${where}`
}

// The crash matrix: every operation, disturbed before, between and behind its commands for the kernel and its changes of
// files. Packets flow all the time, and meet the old policy or the new one; the next apply converges, and nothing is left.
//
// A usual run takes a sample; THOROUGH=1 takes everything, which is hours.

import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import {
  BROKEN,
  type Fault,
  HANGING,
  KILL_ALL,
  KILL_COMMAND,
  REFUSALS,
  refusing,
  UPHEAVALS,
} from '../support/crash/faults.ts'
import type { Point } from '../support/crash/interceptor.ts'
import { changeFaults, type Disturbance, type Visit, visit } from '../support/crash/matrix.ts'
import { EDIT, OPERATIONS, type Operation } from '../support/crash/operations.ts'
import { PLACES, ROOMS, visitWithRoom } from '../support/crash/room.ts'
import { Scene } from '../support/crash/scene.ts'
import { inDepth, inTurns, sample, usually } from '../support/depth.ts'

/** Longer than everything about an operation takes. */
const HOURS = { timeout: 6 * 3_600_000 }
/** Time of a tool where some hang; the others need less. */
const TOOL_TIME = '10s'

let points = 0
let mixed = 0

afterAll(() => {
  process.stdout.write(`crash matrix: ${points} points, ${mixed} mixed\n`)
})

/** Visits cells one after the other, on another host after a problem; returns the problems. */
async function visitAll(operation: Operation, cellsOf: (whole: Visit) => readonly Disturbance[]): Promise<string[]> {
  const problems: string[] = []
  let scene = await Scene.open()
  try {
    const whole = await visit(scene, operation)
    if (whole.problem !== undefined) return [whole.problem]
    for (const cell of cellsOf(whole)) {
      const { wasMet, problem } = await visit(scene, operation, cell)
      if (wasMet) points++
      if (problem === undefined) continue
      mixed++
      problems.push(problem)
      await scene.close()
      scene = await Scene.open()
      await visit(scene, operation)
    }
  } finally {
    await scene.close()
  }
  return problems
}

/** Faults at points where they fit. `isDue`: by number of the point and of the fault. */
const faultsAt = (
  whole: readonly Point[],
  faults: readonly Fault[],
  isDue: (point: number, fault: number) => boolean = () => true,
): Disturbance[] =>
  whole.flatMap((point, number) =>
    faults.flatMap((fault, i): Disturbance[] =>
      fault.fits(point) && isDue(number, i) ? [{ kind: 'fault', number, fault }] : [],
    ),
  )

const some = <T>(all: readonly T[], count: number): T[] => sample(all, Math.max(1, Math.ceil(all.length / count)))

const REFUSING = REFUSALS.map(refusing)
/** Operations whose commands meet every fault; those of the others meet them in turns. */
const isModel = ({ name }: Operation): boolean => ['create', 'edit'].includes(name)
const inTurnOf =
  (operation: Operation, count: number) =>
  (point: number, fault: number): boolean =>
    isModel(operation) || point % count === fault

/** Which operations a run takes of a family of tests. */
const few = (count: number): readonly Operation[] => some(OPERATIONS, count)

describe('a killed operation leaves the old policy or the new one, and the next apply converges', () => {
  test.each(few(2))('$name', HOURS, async (operation) => {
    const problems = await visitAll(operation, (whole) => {
      const kills = faultsAt(whole.points, [KILL_ALL, KILL_COMMAND])
      return usually(some(kills, 2), { thoroughly: kills })
    })
    expect(problems).toEqual([])
  })
})

describe('a command that fails, lies or hangs leaves the policy that the exit status says', () => {
  test.each(few(1))('$name', HOURS, async (operation) => {
    const problems = await visitAll(operation, ({ points: whole }) => {
      const refused = faultsAt(whole, REFUSING, inTurnOf(operation, REFUSING.length))
      const broken = faultsAt(whole, BROKEN, inTurnOf(operation, BROKEN.length))
      return usually([...some(refused, 1), ...some(broken, 1)], { thoroughly: [...refused, ...broken] })
    })
    expect(problems).toEqual([])
  })

  const HUNG = usually([], { thoroughly: OPERATIONS })

  test.runIf(HUNG.length > 0).each(HUNG)('$name, with a tool that hangs', HOURS, async (operation) => {
    const isDue = (point: number): boolean => isModel(operation) || point % 3 === 0
    process.env['XDP_TOOL_TIMEOUT'] = TOOL_TIME
    try {
      expect(await visitAll(operation, ({ points: whole }) => faultsAt(whole, [HANGING], isDue))).toEqual([])
    } finally {
      delete process.env['XDP_TOOL_TIMEOUT']
    }
  })
})

/** Operations that are one process from their start to their end. */
const SINGLE = OPERATIONS.filter(({ isPersistent }) => !isPersistent)

describe('a change of a file or a pin at which the command dies, or that fails, leaves no mixture', () => {
  test.each(some(SINGLE, 1))('$name', HOURS, async (operation) => {
    const problems = await visitAll(operation, ({ changes }) => {
      const cells = changes.flatMap((change, number) => {
        const [death = '', ...errors] = changeFaults(change)
        return [death, errors[number % errors.length] as string].map(
          (what): Disturbance => ({ kind: 'change', number, what }),
        )
      })
      return usually(some(cells, 2), { thoroughly: cells })
    })
    expect(problems).toEqual([])
  })
})

describe('a bpffs or an interface that goes away in between leaves no mixture', () => {
  const CHANGING = OPERATIONS.filter(({ isGuarded, isPersistent }) => !isGuarded && !isPersistent)

  test.each(some(CHANGING, 1))('$name', HOURS, async (operation) => {
    const problems = await visitAll(operation, ({ points: whole }) => {
      const cells = faultsAt(whole, UPHEAVALS, inTurnOf(operation, UPHEAVALS.length))
      return usually(some(cells, 1), { thoroughly: cells })
    })
    expect(problems).toEqual([])
  })
})

describe('a directory without room stops no apply but by E115, which changes nothing', () => {
  test.each(some(PLACES, 1))('%s', HOURS, async (place) => {
    const scene = await Scene.open()
    const problems: string[] = []
    try {
      for (const room of some(ROOMS, 2)) {
        const problem = await visitWithRoom(scene, place, room)
        points++
        if (problem !== undefined) problems.push(problem)
      }
    } finally {
      mixed += problems.length
      await scene.close()
    }
    expect(problems).toEqual([])
  })
})

inTurns(
  'a network namespace that goes away leaves pins that the next one refuses, or takes over',
  async () => {
    const scene = await Scene.open()
    const { lab, interceptor } = scene
    try {
      const { points: whole } = await visit(scene, EDIT)
      for (const number of some([...whole.keys()], 1)) {
        const { start } = await EDIT.prepare(scene)
        interceptor.points = []
        interceptor.isDue = (at) => at === number
        interceptor.decide = async () => {
          await scene.loseNamespace()
          return 'goes on'
        }
        const { stderr } = await (await start()).ended
        interceptor.decide = undefined
        expect(stderr).not.toMatch(/E999/)
        await scene.expectQuiet('nothing')
        await scene.makeNamespace()
        const first = await lab.xdp('apply', '--auto-approve')
        // The number of a namespace may be that of the one before.
        if (first.exitCode !== 0) {
          expect(first.stderr).toContain('E201')
          expect(first.exitCode).toBe(4)
          rmSync(join(lab.bpffs, 'xdp-as-code/default'), { recursive: true })
        }
        expect(await EDIT.converge(scene, [])).toBe(scene.file)
        expect((await scene.flow.rounds()).at(-1)?.verdict).toBe(scene.file)
        points++
      }
    } finally {
      await scene.close()
    }
  },
  HOURS.timeout,
)

inDepth('every operation succeeds when nothing disturbs it', HOURS, async () => {
  for (const operation of OPERATIONS) expect(await visitAll(operation, () => [])).toEqual([])
})

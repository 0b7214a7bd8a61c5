// A generation that is begun before it is known what it will hold. Most of the time that an edit takes goes into loading
// programs, which are the same for every edit, and as a rule the tables have as many lines as before.

import { mkdir } from 'node:fs/promises'
import type { Paths } from '../../abi/paths.ts'
import { XdpError } from '../../diagnostics.ts'
import { allDone, runBatch } from '../tools/bpftool.ts'
import { removePins } from '../tools/pins.ts'
import { handOnSteps } from './balance-maps.ts'
import { blankCommands } from './lower.ts'

/** A committed generation. */
export interface Committed {
  readonly number: number
  /** Of its policy map. */
  readonly lines: number
}

/** A map of zeros with the programs over it, which can copy lines of the generation before. */
export interface Stage {
  readonly generation: number
  readonly lines: number
  /** Paths of the BPF objects. */
  readonly objects: readonly string[]
}

export interface Staging {
  readonly generation: number
  /** undefined: it cannot be, for whatever reason, and nothing is left of it; the apply that it is for will find why. */
  readonly stage: Promise<Stage | undefined>
}

/**
 * Begins to stage the generation after `last`, with the programs of BPF objects. For whoever holds the lock. undefined:
 * there is one with that number, which is not ours to fill, or none can be.
 */
export async function stageAfter(
  paths: Paths,
  last: Committed,
  objects: readonly string[],
): Promise<Staging | undefined> {
  const generation = last.number + 1
  try {
    await mkdir(paths.generation(generation), { mode: 0o700 })
  } catch {
    return undefined
  }
  const stage = load(paths, last, objects)
  // Whoever does not get as far as to wait for it need not know.
  stage.catch(() => undefined)
  return { generation, stage }
}

async function load(paths: Paths, last: Committed, objects: readonly string[]): Promise<Stage | undefined> {
  const [generation, { lines }] = [last.number + 1, last]
  const balance = handOnSteps(paths, last.number, generation)
  const blank = { generation, lines, objects, previous: last.number, balance }
  const { create, load: loading } = blankCommands(paths, blank)
  try {
    await runBatch(create)
    await allDone(loading.map((command) => runBatch([command])))
    return { generation, lines, objects }
  } catch (error) {
    await unstage(paths, generation)
    if (error instanceof XdpError) return undefined
    throw error
  }
}

export const unstage = (paths: Paths, generation: number): Promise<void> => removePins(paths.generation(generation))

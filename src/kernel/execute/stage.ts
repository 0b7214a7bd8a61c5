// A generation that is begun before its content is known. Most of the time that an edit takes goes into loading programs,
// which are the same for every edit, and as a rule the tables have as many lines as before.

import { mkdir } from 'node:fs/promises'
import type { Paths } from '../../abi/paths.ts'
import { XdpError } from '../../diagnostics.ts'
import { OWN_MAPS } from '../../features/features.ts'
import type { Host } from '../host/host.ts'
import { removePins } from '../tools/pins.ts'
import { runAside } from './execute.ts'
import { loadSteps, mapSteps } from './lower.ts'

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
  /** undefined: staging failed and left nothing; the apply that it was for will find out why. */
  readonly stage: Promise<Stage | undefined>
}

/**
 * Begins to stage the generation after `last`, with the programs of BPF objects. The caller holds the lock. undefined: a
 * generation with that number exists, which is not ours to fill, or none can be made.
 */
export async function stageAfter(
  host: Host,
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
  const stage = load(host, paths, last, objects)
  // A caller that never waits for it need not hear of its failure.
  stage.catch(() => undefined)
  return { generation, stage }
}

async function load(host: Host, paths: Paths, last: Committed, objects: readonly string[]): Promise<Stage | undefined> {
  const [generation, { lines }] = [last.number + 1, last]
  const ownMaps = OWN_MAPS.map((name) => ({ shape: { name }, handedOn: paths.ownMap(last.number, { name }) }))
  const blank = { generation, lines, objects, previous: last.number, ownMaps }
  try {
    await runAside(host, paths, [...mapSteps(paths, blank), ...loadSteps(paths, blank)])
    return { generation, lines, objects }
  } catch (error) {
    await unstage(paths, generation)
    if (error instanceof XdpError) return undefined
    throw error
  }
}

export const unstage = (paths: Paths, generation: number): Promise<void> => removePins(paths.generation(generation))

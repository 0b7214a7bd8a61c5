// A generation that is begun before it is known what it will hold. Most of the time that an edit takes goes into loading
// programs, which are the same for every edit, and as a rule the tables have as many lines as before.

import { mkdir } from 'node:fs/promises'
import type { Paths } from '../../abi/paths.ts'
import { XdpError } from '../../diagnostics.ts'
import type { State } from '../../model/state.ts'
import type { Image } from '../../tables/layout/layout.ts'
import { allDone, runBatch } from '../tools/bpftool.ts'
import { withExchange } from '../tools/exchange.ts'
import { type BpfObject, prepareObjects } from '../tools/object.ts'
import { type Part, partsFor } from '../tools/parts.ts'
import { removePins } from '../tools/pins.ts'
import { handOnSteps } from './balance-maps.ts'
import { blankSteps } from './lower.ts'

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
  /** Of the build that its programs are of, and their parts. */
  readonly digest: Uint8Array
  readonly parts: readonly Part[]
}

export interface Staging {
  readonly generation: number
  /** undefined: it cannot be, for whatever reason, and nothing is left of it; the apply that it is for will find why. */
  readonly stage: Promise<Stage | undefined>
}

/**
 * Begins to stage the generation after `last`, with programs of an object that have these parts. For whoever holds the
 * lock. undefined: there is one with that number, which is not ours to fill, or none can be.
 */
export async function stageAfter(
  paths: Paths,
  last: Committed,
  object: BpfObject,
  parts: readonly Part[],
): Promise<Staging | undefined> {
  const generation = last.number + 1
  try {
    await mkdir(paths.generation(generation), { mode: 0o700 })
  } catch {
    return undefined
  }
  const stage = load(paths, last, object, parts)
  // Whoever does not get as far as to wait for it need not know.
  stage.catch(() => undefined)
  return { generation, stage }
}

async function load(
  paths: Paths,
  last: Committed,
  object: BpfObject,
  parts: readonly Part[],
): Promise<Stage | undefined> {
  const [generation, { lines }] = [last.number + 1, last]
  const balance = handOnSteps(paths, last.number, generation)
  const blank = { generation, lines, object, parts, previous: last.number, balance }
  const { create, load: loading } = blankSteps(paths, blank)
  try {
    await withExchange(async (files) => {
      const created = runBatch(create)
      // While bpftool makes the maps.
      const prepared = prepareObjects(files, object, parts)
      await allDone<unknown>([created, prepared])
      await allDone(loading.commands(await prepared).map((command) => runBatch([command])))
    })
    return { generation, lines, digest: object.digest, parts }
  } catch (error) {
    await unstage(paths, generation)
    if (error instanceof XdpError) return undefined
    throw error
  }
}

/** Whether a stage has the programs that an image and the state in it are to get. */
export const hasPrograms = ({ digest, parts }: Stage, { meta }: Image, state: State): boolean =>
  Buffer.compare(digest, meta.object_digest) === 0 && parts.join() === partsFor(state).join()

export const unstage = (paths: Paths, generation: number): Promise<void> => removePins(paths.generation(generation))

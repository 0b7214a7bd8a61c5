// Stages a generation before its content is known: loading programs takes most of the time of an edit, and most edits
// change neither the programs nor the number of lines.

import { mkdir } from 'node:fs/promises'
import { type ProgramParts, sameParts } from '../../abi/object.ts'
import type { Paths } from '../../abi/paths.ts'
import { XdpError } from '../../diagnostics.ts'
import { OWN_MAPS } from '../../features/features.ts'
import type { Image } from '../../tables/layout/layout.ts'
import type { Host } from '../host/host.ts'
import type { BpfObject } from '../tools/object.ts'
import { removePins } from '../tools/pins.ts'
import { runAside } from './execute.ts'
import { loadSteps, mapSteps } from './lower.ts'

/** A committed generation. */
export interface Committed {
  readonly number: number
  /** Lines of its policy map. */
  readonly lines: number
}

/** A map of zeros with the programs over it, which can copy lines of the generation before. */
export interface Stage {
  readonly generation: number
  readonly lines: number
  /** Identifies the build that its programs are of. */
  readonly digest: Uint8Array
  readonly parts: ProgramParts
}

export interface Staging {
  readonly generation: number
  /** undefined: staging failed and left nothing; the apply then fails with the same error. */
  readonly stage: Promise<Stage | undefined>
}

/**
 * Begins to stage the generation after `last`, with programs that have these parts. The caller holds the lock. Returns
 * undefined if a generation with that number exists, or its directory cannot be made.
 */
export async function stageAfter(
  host: Host,
  paths: Paths,
  last: Committed,
  object: BpfObject,
  parts: ProgramParts,
): Promise<Staging | undefined> {
  const generation = last.number + 1
  try {
    await mkdir(paths.generation(generation), { mode: 0o700 })
  } catch {
    return undefined
  }
  const stage = load(host, paths, last, object, parts)
  // Callers that never wait for it ignore its failure.
  stage.catch(() => undefined)
  return { generation, stage }
}

async function load(
  host: Host,
  paths: Paths,
  last: Committed,
  { objects, digest }: BpfObject,
  parts: ProgramParts,
): Promise<Stage | undefined> {
  const [generation, { lines }] = [last.number + 1, last]
  const ownMaps = OWN_MAPS.map((name) => ({ shape: { name }, handedOn: paths.ownMap(last.number, { name }) }))
  const blank = { generation, lines, objects, parts, previous: last.number, ownMaps }
  try {
    await runAside(host, paths, [...mapSteps(paths, blank), ...loadSteps(paths, blank)])
    return { generation, lines, digest, parts }
  } catch (error) {
    await unstage(paths, generation)
    if (error instanceof XdpError) return undefined
    throw error
  }
}

/** Whether a stage has the programs that an image is to get. */
export const hasPrograms = (stage: Stage, { meta }: Image, parts: ProgramParts): boolean =>
  Buffer.compare(stage.digest, meta.object_digest) === 0 && sameParts(stage.parts, parts)

export const unstage = (paths: Paths, generation: number): Promise<void> => removePins(paths.generation(generation))

// The files that a config was read from, with their digests.

import { dirname, relative, resolve } from 'node:path'
import type { Desired } from '../model/desired.ts'
import type { PlanInput } from '../model/saved-plan.ts'
import { isUnusable, LIST_LIMIT, type Reads, readBytes, sha256 } from './text/source.ts'

/** The path of a file for comparisons: relative if it lies beside the config, so that a config can move with its files. */
function nameOf(config: string, file: string): string {
  const path = relative(dirname(resolve(config)), resolve(file))
  return path === '..' || path.startsWith('../') ? resolve(file) : path
}

/** Every file of a config that has been read, the config first; a file that several entries name once. */
export function inputsOf({ config, feeds, state }: Desired, { files, digests }: Reads): PlanInput[] {
  const lists = new Map(feeds.flatMap(({ list, files: own }) => own.map(({ path }) => [path, list] as const)))
  const inputs = files.map((file, i): PlanInput => {
    const list = state.lists.get(lists.get(file) ?? '')
    const kind = i === 0 ? 'config' : (list?.kind ?? 'included')
    return { kind, path: nameOf(config.path, file), sha256: digests.get(file) ?? '' }
  })
  return [...new Map(inputs.map((input) => [input.path, input])).values()]
}

/** Inputs of a config as they are on the disk now, where it cannot be loaded. The digest of an unreadable one is empty. */
export function inputsNow(config: string, known: readonly PlanInput[]): PlanInput[] {
  const directory = dirname(resolve(config))
  return known.map((input) => {
    const bytes = readBytes(input.kind === 'config' ? config : resolve(directory, input.path), LIST_LIMIT)
    return { ...input, sha256: isUnusable(bytes) ? '' : sha256(bytes) }
  })
}

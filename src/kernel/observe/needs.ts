// The parts that features lack on a version of the kernel.

import { release } from 'node:os'
import { FEATURES } from '../../features/features.ts'
import type { State } from '../../model/state.ts'
import { atLeast, type Version } from '../../model/version.ts'

export interface Lack {
  /** Name of the feature. */
  readonly feature: string
  /** Parts of the kernel that are missing, each with the version that brought it. */
  readonly missing: readonly string[]
}

/** The features that lack something on this version, in their order; with a state only those that it uses. */
export function lacking(version: Version, state?: State): readonly Lack[] {
  const used = FEATURES.filter(({ parts }) => !state || !parts || Object.values(parts).some((isUsed) => isUsed(state)))
  const lacks = used.map(({ name, needs }) => ({
    feature: name,
    missing: needs
      .filter(({ since }) => !atLeast(version, since))
      .map(({ since, what }) => `${what}, Linux ${since.join('.')}`),
  }))
  return lacks.filter(({ missing }) => missing.length > 0)
}

/** The end of a sentence: `for filter: …; …. For syn: …` */
export const lackingWords = (lacks: readonly Lack[]): string =>
  `for ${lacks.map(({ feature, missing }) => `${feature}: ${missing.join('; ')}`).join('. For ')}`

/** The release of this host's kernel, such as 6.1.0-57-cloud-amd64. */
export const kernelRelease = (): string => release()

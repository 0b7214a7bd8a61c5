// Facts about the programs of others on interfaces.

import { pinnedProgram } from '../../abi/answer.ts'
import type { Instance } from '../../abi/instance.ts'
import type { Paths } from '../../abi/paths.ts'
import type { AttachedProgram } from '../../model/live.ts'
import type { State } from '../../model/state.ts'
import { effectiveCapabilities, mayOpenForeign } from '../host/host.ts'
import type { RawLink } from '../host/links.ts'
import { askBpftool } from '../tools/bpftool.ts'

/** Facts about a foreign program that netlink does not report. */
export type ForeignFacts = Pick<AttachedProgram, 'loadedAt' | 'pin'>

/** Those of the foreign programs on interfaces, by id. Empty without permission to open them. */
export async function foreignFacts(
  rawLinks: ReadonlyMap<string, RawLink>,
  instance: Instance,
  { root }: Paths,
  wanted: State | undefined,
): Promise<Map<number, ForeignFacts>> {
  const own = new Set(instance.generations.map(({ program }) => program.id))
  const on = (links: readonly RawLink[]): number[] => links.flatMap(({ programs }) => programs.map(({ id }) => id))
  const foreign = [...new Set(on([...rawLinks.values()]).filter((id) => !own.has(id)))]
  const ofFile = on([...rawLinks.values()].filter(({ name }) => wanted?.interfaces.has(name)))
  if (foreign.length === 0 || !mayOpenForeign(await effectiveCapabilities())) return new Map()
  const shown = await Promise.all(
    // With -f bpftool looks for pins in all of the bpffs.
    foreign.map((id) =>
      askBpftool(pinnedProgram, ...(ofFile.includes(id) ? ['-f'] : []), 'prog', 'show', 'id', `${id}`),
    ),
  )
  return new Map(
    shown.map(({ id, loaded_at, pinned = [] }) => {
      const [pin] = pinned.filter((path) => !path.startsWith(`${root}/`)).toSorted()
      return [id, { loadedAt: loaded_at ?? 0, pin }]
    }),
  )
}

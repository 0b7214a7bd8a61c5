// xdp fetch

import { findConfig, loadConfig } from '../../config/load.ts'
import type { Remote } from '../../config/text/remote.ts'
import { newReads } from '../../config/text/source.ts'
import { type Diagnostic, EXIT, type Exit, fail } from '../../diagnostics.ts'
import { fetchSource, type Group, groupsOf } from '../../fetch/fetch.ts'
import { openStore, type Store } from '../../fetch/store.ts'
import { nearest } from '../../model/nearest.ts'
import { computing } from '../../pipelines/computing.ts'
import { renderFetch, renderFetchJson } from '../../render/fetch.ts'
import type { Fetched } from '../../report/fetch.ts'
import type { Context } from '../cli/context.ts'
import type { Arguments } from '../cli/flag.ts'
import type { FETCH_FLAGS } from '../cli/flags.ts'
import { copiesOf, showWarnings, trustOf } from './config.ts'

/** Sources that are fetched at a time: most of the time goes to waiting for servers. */
const AT_ONCE = 4

/** The sources that the config names; reads no copy. */
async function remotesOf(context: Context): Promise<readonly Remote[]> {
  const reads = newReads(trustOf(context), undefined, { ...copiesOf(context), missing: 'none' })
  await computing(context.host, () =>
    loadConfig(findConfig(context.flags.file), { shelf: { cache: context.cache }, reads }),
  )
  return reads.remotes
}

/** The sources of one list, or one source. Throws E300 for a name that the config does not have. */
function named(groups: readonly Group[], name: string): readonly Group[] {
  const found = groups.filter((group) =>
    group.some((remote) => [remote.list, remote.name, remote.shown].includes(name)),
  )
  if (found.length > 0) return found
  const known = [...new Set(groups.flatMap((group) => group.flatMap(({ list, shown }) => [list, shown])))]
  const meant = nearest(name, known)
  const choice = known.length === 0 ? 'the config names no `url` and no `host`' : `there are ${known.join(', ')}`
  const message = `no list with a \`url\` or \`host\`, and no such source, is named "${name}"`
  throw fail('E300', message, meant === undefined ? choice : `did you mean ${meant}?`)
}

async function fetchAll(
  groups: readonly Group[],
  { host }: Context,
  store: Store,
  acceptShrink: boolean,
): Promise<Fetched[]> {
  const results: Fetched[] = []
  const left = [...groups.entries()]
  const work = async (): Promise<void> => {
    for (let next = left.shift(); next !== undefined; next = left.shift()) {
      const [index, group] = next
      host.progress?.(`fetching ${group[0].shown} (${index + 1} of ${groups.length})`)
      results[index] = await fetchSource(group, { store, signal: host.signal, clock: Date.now, acceptShrink })
      host.signal?.throwIfAborted()
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, work))
  return results
}

export async function run(context: Context, { positionals, options }: Arguments<typeof FETCH_FLAGS>): Promise<Exit> {
  const [name] = positionals
  const groups = groupsOf(await remotesOf(context))
  const chosen = name === undefined ? groups : named(groups, name)
  const store = openStore(copiesOf(context).directory, context.host.copies?.uid ?? 0)
  const results = await fetchAll(chosen, context, store, options['accept-shrink'])
  store.forget(new Set(groups.map(([{ path }]) => path)), Math.floor(Date.now() / 1000))
  const problems = results.flatMap(({ problem }): readonly Diagnostic[] => (problem ? [problem] : []))
  if (!context.flags.json) showWarnings(context, problems)
  context.stdout(context.flags.json ? renderFetchJson(results) : renderFetch(results))
  if (results.some(({ outcome }) => outcome === 'failed')) return EXIT.failed
  return results.some(({ outcome }) => outcome === 'kept') ? EXIT.refused : EXIT.ok
}

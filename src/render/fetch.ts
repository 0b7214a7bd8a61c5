// Renders the results of `xdp fetch` as text and JSON (schemas/fetch.schema.json), and the copies of sources for other
// commands.

import { formatCount } from '../model/numbers.ts'
import type { CopyFacts, Fetched, FetchOutcome } from '../report/fetch.ts'
import { diagnosticsJson } from './diagnostic.ts'
import { formatDuration } from './duration.ts'
import { jsonDocument } from './json.ts'
import { formatBytes } from './numbers.ts'
import { formatTable } from './table.ts'

const WORDS: Readonly<Record<FetchOutcome, string>> = {
  new: 'new',
  updated: 'updated',
  unchanged: 'unchanged',
  kept: 'refused, it shrank',
  failed: 'failed',
}

const count = (prefixes: number | undefined): string => (prefixes === undefined ? '-' : formatCount(prefixes))

export function renderFetch(results: readonly Fetched[]): string {
  if (results.length === 0) return 'The config names no `url` and no `host`: there is nothing to fetch.\n'
  const columns = [
    { title: 'SOURCE' },
    { title: 'LISTS' },
    { title: 'RESULT' },
    { title: 'PREFIXES', align: 'right' },
    { title: 'RECEIVED', align: 'right' },
  ] as const
  const rows = results.map(({ source, lists, outcome, prefixes, bytes }) => [
    source,
    lists.join(', '),
    WORDS[outcome],
    count(prefixes),
    formatBytes(bytes),
  ])
  const changed = results.some(({ outcome }) => outcome === 'new' || outcome === 'updated')
  const next = changed ? ['To put the new content in force: xdp apply'] : []
  return `${[...formatTable(columns, rows), ...next].join('\n')}\n`
}

export const renderFetchJson = (results: readonly Fetched[]): string =>
  jsonDocument({
    sources: results.map(({ kind, source, lists, outcome, path, prefixes, offered, bytes, problem }) => ({
      kind,
      source,
      lists,
      outcome,
      path,
      prefixes: prefixes ?? null,
      offered_prefixes: offered ?? null,
      bytes,
      problem: problem ? diagnosticsJson([problem])[0] : null,
    })),
  })

/** A problem in lines of at most 80 columns, as far as its words permit. */
function wrapped(problem: string): string[] {
  const lines: string[] = []
  for (const word of problem.split(' ')) {
    const last = lines.at(-1)
    if (last !== undefined && last.length + 1 + word.length <= 76) lines[lines.length - 1] = `${last} ${word}`
    else lines.push(word)
  }
  return lines.map((text, index) => `${index === 0 ? '!' : ' '}   ${text}`)
}

/** The copies of sources on this host. `now`: Unix time in milliseconds. */
export function copyTable(copies: readonly CopyFacts[], now: number): string[] {
  if (copies.length === 0) return []
  const ago = (seconds: number): string => formatDuration(Math.max(0, now - seconds * 1000))
  const rows = copies.map(({ source, goodAt, checkedAt, problem }) => [
    source,
    goodAt === undefined ? 'no copy' : ago(goodAt),
    ago(checkedAt),
    problem === undefined ? 'ok' : 'failed',
  ])
  const columns = [{ title: 'SOURCE' }, { title: 'AGE' }, { title: 'CHECKED' }, { title: 'LAST FETCH' }]
  const problems = copies.flatMap(({ problem }) => (problem === undefined ? [] : wrapped(problem)))
  return ['', ...formatTable(columns, rows), ...problems]
}

export const copiesJson = (copies: readonly CopyFacts[]) =>
  copies.map(({ kind, source, path, goodAt, checkedAt, problem, failures }) => ({
    kind,
    source,
    path,
    good_at: goodAt ?? null,
    checked_at: checkedAt,
    failures,
    problem: problem ?? null,
  }))

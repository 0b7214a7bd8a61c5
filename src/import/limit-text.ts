// Imported rate limits and SYN protection → their parts of a config.

import { Document, isMap, type YAMLMap, type YAMLSeq } from 'yaml'
import type { PortRange } from '../model/ports.ts'
import { listText } from './list-text.ts'
import { uniqueNames } from './names.ts'
import { FLOWING, scopeFields } from './scope-text.ts'
import type { ImportedLimit } from './source.ts'
import { addressTexts, portsField } from './written-scope.ts'

/** One limit of the result of an import. */
export interface LimitSummary {
  readonly name: string
  readonly per: string
  readonly packets_per_second: number
}

interface NamedLimit {
  readonly limit: ImportedLimit
  readonly fields: Record<string, unknown>
  readonly summary: LimitSummary
  /** Its sources, if they are too many for the config. */
  readonly file: { readonly path: string; readonly content: Uint8Array } | undefined
}

/** Most ranges of sources inside the config; more of them get a file. */
const INLINE = 20

/** Turns off the guards against mistakes in public feeds, because they would change the sources. */
const AS_WRITTEN = { exclude_private: false, min_prefix: { v4: 0, v6: 0 } } as const

const sourceFields = (texts: readonly string[]): Record<string, unknown> =>
  texts.length === 1 ? { cidr: texts[0] } : { cidrs: texts }

/** Number of ranges of sources that a limit names. */
export const sourceRanges = ({ sources }: ImportedLimit): number =>
  sources ? sources.v4.length + sources.v6.length : 0

/** The file for the sources of a limit, relative to the config. No list has its path. */
export const sourcesPath = (limit: string): string => `lists/rate_limits/${limit}.txt`

function fileOf(limit: ImportedLimit, name: string): NamedLimit['file'] {
  const { sources, place } = limit
  if (sources === undefined || sourceRanges(limit) <= INLINE) return undefined
  const head = `# sources of rate limit ${name}, from ${place.text.replaceAll(/\s+/g, ' ')}\n`
  return { path: sourcesPath(name), content: listText(head, sources) }
}

function fieldsOf({ scope, sources, rate }: ImportedLimit, name: string, path?: string): Record<string, unknown> {
  const { per, prefix, perSecond, burst } = rate
  return {
    name,
    ...(path === undefined ? sources && sourceFields(addressTexts(sources)) : { file: path, ...AS_WRITTEN }),
    ...scopeFields(scope),
    per,
    ...(prefix && per !== 'all' && { prefix }),
    packets_per_second: perSecond,
    ...(burst !== perSecond && { burst }),
  }
}

/** Each limit with a name that no other has. `files`: whether long sets of sources get a file. */
export function namedLimits(limits: readonly ImportedLimit[], files = false): readonly NamedLimit[] {
  const names = uniqueNames(limits.map(({ name }) => name))
  return limits.map((limit, index) => {
    const name = names[index] as string
    const summary = { name, per: limit.rate.per, packets_per_second: limit.rate.perSecond }
    const file = files ? fileOf(limit, name) : undefined
    return { limit, fields: fieldsOf(limit, name, file?.path), summary, file }
  })
}

/** Writes short lists on one line, and a comment with the origin above each limit. */
export function styleLimits(items: YAMLSeq, limits: readonly NamedLimit[], oneLine: (text: string) => string): void {
  for (const [index, item] of items.items.entries()) {
    if (!isMap(item)) continue
    item.commentBefore = ` from ${oneLine(limits[index]?.limit.place.text ?? '')}`
    for (const key of FLOWING) {
      const value = item.get(key)
      if (typeof value === 'object' && value !== null) (value as YAMLMap).flow = true
    }
  }
}

/** Limits as a comment, to copy from. */
export function suggestionText(limits: readonly ImportedLimit[], oneLine: (text: string) => string): string {
  if (limits.length === 0) return ''
  const lines = namedLimits(limits).flatMap(({ limit, fields }) => {
    const document = new Document(fields)
    if (isMap(document.contents)) document.contents.flow = true
    const text = document.toString({ lineWidth: 0, flowCollectionPadding: true }).replaceAll(/\s+/g, ' ').trim()
    return [`#   from ${oneLine(limit.place.text)}`, `#   - ${oneLine(text)}`]
  })
  return [
    '',
    '# Near to rules that were left out, but these could drop more. Try them under `rate_limits` with',
    ...OBSERVE,
    ...lines,
    '',
  ].join('\n')
}

const OBSERVE = ['# `action: observe`:']

/** Netfilter answers every SYN. */
export const synFields = (ports: readonly PortRange[]): Record<string, unknown> => ({
  ports: [portsField(ports)].flat(),
  mode: 'always',
})

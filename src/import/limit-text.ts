// Imported rate limits and SYN protection → their parts of a config.

import { Document, isMap, type YAMLMap, type YAMLSeq } from 'yaml'
import type { PortRange } from '../model/ports.ts'
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
}

const sourceFields = (texts: readonly string[]): Record<string, unknown> =>
  texts.length === 1 ? { cidr: texts[0] } : { cidrs: texts }

function fieldsOf({ scope, sources, rate }: ImportedLimit, name: string): Record<string, unknown> {
  const { per, prefix, perSecond, burst } = rate
  return {
    name,
    ...(sources && sourceFields(addressTexts(sources))),
    ...scopeFields(scope),
    per,
    ...(prefix && per !== 'all' && { prefix }),
    packets_per_second: perSecond,
    ...(burst !== perSecond && { burst }),
  }
}

/** Each limit with a name that no other has. */
export function namedLimits(limits: readonly ImportedLimit[]): readonly NamedLimit[] {
  const names = uniqueNames(limits.map(({ name }) => name))
  return limits.map((limit, index) => {
    const name = names[index] as string
    const summary = { name, per: limit.rate.per, packets_per_second: limit.rate.perSecond }
    return { limit, fields: fieldsOf(limit, name), summary }
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

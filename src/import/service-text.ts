// Imported services → the part of a config below `services`.

import { isMap, isScalar, isSeq, type Pair, type YAMLMap } from 'yaml'
import type { ImportedService } from './source.ts'

/** Values on one line. */
const ON_ONE_LINE = ['health', 'sorry']

export interface NamedService {
  readonly name: string
  readonly service: ImportedService
}

/** The mapping to put below `services`. */
export const serviceFields = (services: readonly NamedService[]): Record<string, unknown> =>
  Object.fromEntries(services.map(({ name, service }) => [name, service.fields]))

const onOneLine = (value: unknown): void => {
  if (isMap(value)) value.flow = true
}

/** Writes backends and checks on one line each. */
function styleService(value: unknown): void {
  if (!isMap(value)) return
  for (const name of ON_ONE_LINE) onOneLine(value.get(name))
  const backends = value.get('backends')
  if (isSeq(backends)) for (const item of backends.items) onOneLine(item)
}

/** Sets how the mapping is written, and adds a comment with the origin above each service. */
export function styleServices(
  services: YAMLMap,
  named: readonly NamedService[],
  oneLine: (text: string) => string,
): void {
  for (const [index, { key, value }] of (services.items as Pair[]).entries()) {
    styleService(value)
    if (!isScalar(key)) continue
    key.commentBefore = ` from ${oneLine(named[index]?.service.place.text ?? '')}`
    if (index > 0) key.spaceBefore = true
  }
}

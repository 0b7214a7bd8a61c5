// The fill of the maps of features, read for one generation in the caller's bpftool process.

import type { Part } from '../../abi/command.ts'
import type { Feature, GaugeFacts, ReadableGeneration } from '../../features/feature.ts'
import { FEATURES } from '../../features/features.ts'
import type { Fill } from '../../report/stats.ts'
import { joinParts } from '../tools/bpftool.ts'

/** Readings by feature; a feature whose program or map is missing has none. */
export type GaugeReadings = ReadonlyMap<Feature['name'], unknown>

export function gaugesPart(from: ReadableGeneration): Part<GaugeReadings> {
  const asked = FEATURES.flatMap(({ name, gauges }) => {
    const part = gauges?.part(from)
    return part ? [{ name, part }] : []
  })
  const { commands, finish } = joinParts<unknown[]>(...asked.map(({ part }) => part))
  return {
    commands,
    finish: (outputs) => new Map(finish(outputs).map((reading, i) => [asked[i]?.name as string, reading])),
  }
}

/** Rows of every feature, in the order of the features. */
export const gaugeRows = (readings: GaugeReadings, facts: GaugeFacts): Fill[] =>
  FEATURES.flatMap(({ name, gauges }) => (gauges && readings.has(name) ? gauges.fill(readings.get(name), facts) : []))

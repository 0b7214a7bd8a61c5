// `anomalies:` of the top file: packets such as no ordinary sender sends.

import type { Anomaly } from '../../model/anomaly.ts'
import { type KnownInterfaces, readInterfaces } from '../entries/scope.ts'
import type { Part } from '../text/part.ts'
import { fieldOf } from '../text/place.ts'
import type { Report } from '../text/report.ts'
import type { Placed } from '../text/tree.ts'
import type { WrittenAnomaly } from '../text/written.ts'

/**
 * The anomalies that the top file names, in its order. Reports one that it names twice, and unknown interfaces.
 *
 * @param interfaces gets the sets of interfaces that anomalies name, which count with those of the lists
 */
export function readAnomalies({ root, source, wrong }: Part, interfaces: KnownInterfaces, report: Report): Anomaly[] {
  const items = root.fields?.get('anomalies')?.items ?? []
  const first = new Map<string, Placed>()
  return items.flatMap((placed, index): Anomaly[] => {
    if (wrong.has(`anomalies/${index}`)) return []
    const { value } = placed
    const written = typeof value === 'string' ? { name: value as Anomaly['name'] } : (value as WrittenAnomaly)
    const { name, action = 'drop', interfaces: names }: WrittenAnomaly = written
    const at = typeof value === 'string' ? placed : fieldOf(placed, 'name')
    const other = first.get(name)
    if (other !== undefined) {
      const message = `the anomaly ${name} is named twice; the first is on line ${source.lineOf(other.from)}`
      const hint = 'remove one; an entry can name several `interfaces`'
      report.error('E031', source.locate(at.from, at.to), message, hint)
      return []
    }
    first.set(name, at)
    const sorted = readInterfaces(names, placed.fields?.get('interfaces'), { source, report, interfaces })
    return [{ name, action, ...(sorted && { interfaces: sorted }) }]
  })
}

// Anomalies in `xdp status` and `xdp stats`: how many packets had them. Without any in the policy it costs nothing.

import type { Paths } from '../../abi/paths.ts'
import { ANOMALY_NAMES, parseAnomaly } from '../../model/anomaly.ts'
import type { Policy } from '../../model/policy.ts'
import type { AnomalyStatus } from '../../report/result.ts'
import { readAnomalyCounters } from '../live/service-counters.ts'

const NONE = { packets: 0, bytes: 0, dropped_packets: 0, dropped_bytes: 0 }

/** The anomalies that a policy names, with their counters, which last while the instance does. */
export async function anomalyStatus(
  paths: Paths,
  generation: number,
  texts: Policy['anomalies'],
): Promise<AnomalyStatus[]> {
  const sought = texts.map(parseAnomaly).map((anomaly) => ({ anomaly, slot: ANOMALY_NAMES.indexOf(anomaly.name) }))
  const counters = await readAnomalyCounters(
    paths,
    generation,
    sought.map(({ slot }) => slot),
  )
  return sought.map(({ anomaly: { name, action, interfaces = [] }, slot }) => ({
    name,
    action,
    interfaces,
    ...(counters.get(slot) ?? NONE),
  }))
}

// Anomalies: packets such as no ordinary sender sends, and their counters (bpf/include/anomaly.h).

import { ANOMALY_SLOTS, anomalyCounterCodec } from '../abi/generated.ts'
import { perCpuMap } from '../abi/paths.ts'
import type { Metric, Report, Sample } from '../report/metric.ts'
import type { AnomalyStatus } from '../report/result.ts'
import type { Feature } from './feature.ts'

const counter = (name: Metric['name'], help: string, value: (status: AnomalyStatus) => number): Metric => ({
  name,
  type: 'counter',
  help,
  labels: ['anomaly'],
  samples: ({ stats }: Report): readonly Sample[] =>
    stats.anomalies.map((status): Sample => [[status.name], value(status)]),
})

const METRICS: readonly Metric[] = [
  counter('xdp_anomaly_packets_total', 'Packets with an anomaly that the policy names.', ({ packets }) => packets),
  counter('xdp_anomaly_bytes_total', 'Bytes of these packets.', ({ bytes }) => bytes),
  counter(
    'xdp_anomaly_dropped_packets_total',
    'Packets dropped for an anomaly: none while its action is `observe`.',
    ({ dropped_packets }) => dropped_packets,
  ),
  counter('xdp_anomaly_dropped_bytes_total', 'Bytes of these packets.', ({ dropped_bytes }) => dropped_bytes),
]

export const ANOMALIES = {
  name: 'anomalies',
  maps: { stats: perCpuMap('anomaly_stats', anomalyCounterCodec.size, ANOMALY_SLOTS) },
  programs: {},
  parts: { anomalies: ({ policy }) => (policy?.anomalies.length ?? 0) > 0 },
  reasons: ['anomaly'],
  needs: [],
  metrics: METRICS,
} as const satisfies Feature

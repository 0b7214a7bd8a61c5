// Metrics as Prometheus reads them, for the endpoint and for node_exporter's textfile collector alike. prom-client is
// written for values that a process counts itself; ours are the kernel's, so each report fills a registry of its own.

import { Counter, Gauge, Registry } from 'prom-client'
import { METRICS, type Metric, type Report, type Sample } from './table.ts'

/** Longest label value. A path may have 4096 bytes, and none of ours means more for it. */
const LONGEST = 128

/** A label value that Prometheus takes: Unicode without halves of characters, not endless. */
export const labelValue = (text: string): string =>
  [...text.replace(/\p{Surrogate}/gu, '\ufffd')].slice(0, LONGEST).join('')

function addMetric(registry: Registry, { name, type, help, labels }: Metric, samples: readonly Sample[]): void {
  const settings = { name, help, labelNames: [...labels], registers: [registry] }
  const labelled = (values: readonly string[]): Record<string, string> =>
    Object.fromEntries(labels.map((label, i) => [label, labelValue(values[i] ?? '')]))
  if (type === 'counter') {
    const counter = new Counter(settings)
    for (const [values, value] of samples) counter.inc(labelled(values), value)
    return
  }
  const gauge = new Gauge(settings)
  for (const [values, value] of samples) gauge.set(labelled(values), value)
}

/** A report in the text format 0.0.4 (https://prometheus.io/docs/instrumenting/exposition_formats/). Metrics without samples are left out. */
export async function exposition(report: Report): Promise<string> {
  const registry = new Registry()
  for (const metric of METRICS) {
    const samples = metric.samples(report)
    if (samples.length > 0) addMetric(registry, metric, samples)
  }
  return registry.metrics()
}

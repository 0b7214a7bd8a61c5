// Renders metrics for Prometheus, for the endpoint and for node_exporter's textfile collector alike: text format 0.0.4
// of https://prometheus.io/docs/instrumenting/exposition_formats/.

import type { Report, Sample } from '../report/metric.ts'
import { METRICS } from './table.ts'

/** Most characters of a label value. A path may have 4096 bytes. */
const LONGEST = 128

/** Matches nearly every value: short, and without characters to escape. */
const PLAIN = /^[ !#-[\]-~]{0,128}$/

/** Escapes a label value for its quotes: replaces lone surrogates, and cuts long values. */
export function labelValue(text: string): string {
  if (PLAIN.test(text)) return text
  const whole = [...text.replace(/\p{Surrogate}/gu, '\ufffd')].slice(0, LONGEST).join('')
  return whole.replace(/[\\"\n]/g, (character) => (character === '\n' ? '\\n' : `\\${character}`))
}

function sampleLine(name: string, labels: readonly string[], [values, value]: Sample): string {
  if (labels.length === 0) return `${name} ${value}\n`
  let pairs = ''
  for (const [at, label] of labels.entries()) {
    pairs += `${at === 0 ? '' : ','}${label}="${labelValue(values[at] ?? '')}"`
  }
  return `${name}{${pairs}} ${value}\n`
}

/** Renders a report. Leaves out metrics without samples. */
export function exposition(report: Report): string {
  let text = ''
  for (const { name, type, help, labels, samples } of METRICS) {
    const found = samples(report)
    if (found.length === 0) continue
    text += `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n`
    for (const sample of found) text += sampleLine(name, labels, sample)
  }
  return text
}

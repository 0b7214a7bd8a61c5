// Makes the tables of docs/metrics.md.
import { code, table, withParts } from './markdown.mjs'

/** The text with both tables: all metrics, and the values of the label `table`. */
export function withMetrics(text, { metrics, rows }) {
  const all = metrics.map(({ name, type, labels, help }) => [code(name), type, labels.map(code).join(', '), help])
  const tables = Object.entries(rows).map(([name, description]) => [code(name), description])
  const page = withParts(text, 'metrics', () => table(['Metric', 'Type', 'Labels', 'Means'], all))
  return withParts(page, 'tables', () => table(['Table', 'Holds'], tables))
}

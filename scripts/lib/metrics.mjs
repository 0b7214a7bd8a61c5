// Makes the tables of docs/metrics.md. Each stands between two comments, such as:
//
//   <!-- metrics -->
//   <!-- end of metrics -->
import { code, table } from './markdown.mjs'

function replaced(text, name, content) {
  const [begin, end] = [`<!-- ${name} -->`, `<!-- end of ${name} -->`]
  const [from, to] = [text.indexOf(begin), text.indexOf(end)]
  if (from < 0 || to < from) throw new Error(`the page has no comments "${begin}" and "${end}"`)
  return `${text.slice(0, from + begin.length)}\n\n${content}\n\n${text.slice(to)}`
}

/** The text with both tables: all metrics, and the values of the label `table`. */
export function withMetrics(text, { metrics, rows }) {
  const all = metrics.map(({ name, type, labels, help }) => [code(name), type, labels.map(code).join(', '), help])
  const tables = Object.entries(rows).map(([name, description]) => [code(name), description])
  return replaced(
    replaced(text, 'metrics', table(['Metric', 'Type', 'Labels', 'Means'], all)),
    'tables',
    table(['Table', 'Holds'], tables),
  )
}

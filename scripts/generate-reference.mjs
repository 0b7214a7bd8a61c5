// generate-reference.mjs: the tables of keys in docs/config.md, from schemas/xdp.schema.json, and those of metrics in
// docs/metrics.md, from src/metrics and src/features.
import { readFileSync, writeFileSync } from 'node:fs'
import { evaluate } from './lib/evaluate.mjs'
import { withMetrics } from './lib/metrics.mjs'
import { at } from './lib/paths.mjs'
import { withTables } from './schema/reference.mjs'

function write(page, make) {
  const text = readFileSync(at(page), 'utf8')
  const made = make(text)
  if (made !== text) writeFileSync(at(page), made)
}

const records = await evaluate(`
export { METRICS as metrics } from './src/metrics/table.ts'
export { ROWS as rows } from './src/features/rows.ts'
`)

write('docs/config.md', (text) => withTables(text, JSON.parse(readFileSync(at('schemas/xdp.schema.json'), 'utf8'))))
write('docs/metrics.md', (text) => withMetrics(text, records))

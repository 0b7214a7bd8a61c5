// generate-reference.mjs: the tables of keys in docs/config.md, from schemas/xdp.schema.json, those of metrics in
// docs/metrics.md, from src/metrics and src/features, those of drivers in docs/drivers.md, from src/drivers, and those of
// docs/compatibility.md, from test/kernels/results.json.
import { readFileSync, writeFileSync } from 'node:fs'
import { withCompatibility } from './lib/compatibility.mjs'
import { withDrivers } from './lib/drivers.mjs'
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
export { BOARDS as boards } from './src/drivers/boards.ts'
export { CARDS as cards } from './src/drivers/cards.ts'
export { VIRTUAL as virtual } from './src/drivers/virtual.ts'
export { FEATURES as features } from './src/features/features.ts'
`)

write('docs/config.md', (text) => withTables(text, JSON.parse(readFileSync(at('schemas/xdp.schema.json'), 'utf8'))))
write('docs/metrics.md', (text) => withMetrics(text, records))
write('docs/drivers.md', (text) => {
  const { virtual, cards, boards } = records
  return withDrivers(text, { virtual, cards, boards })
})
write('docs/compatibility.md', (text) =>
  withCompatibility(text, JSON.parse(readFileSync(at('test/kernels/results.json'), 'utf8')), records.features),
)

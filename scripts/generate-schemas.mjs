// generate-schemas.mjs DIRECTORY: the schemas as they are published and as `xdp schema` prints them, each in one file.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { evaluate } from './lib/evaluate.mjs'
import { at } from './lib/paths.mjs'
import { bundled } from './schema/bundle.mjs'

const SHARED = 'shared.schema.json'

const read = (file) => JSON.parse(readFileSync(at('schemas', file), 'utf8'))
const target = at(process.argv[2])
const { FACT_KINDS, REASONS, ROWS, SETTINGS } = await evaluate(
  `export { FACT_KINDS } from './src/model/saved-plan.ts'
  export { ROWS } from './src/features/rows.ts'
  export { SETTINGS } from './src/model/policy.ts'
  export { REASONS } from './src/report/reason.ts'`,
)
const settings = Object.entries(SETTINGS).map(([name, { schema }]) => [name, schema])
const provided = {
  fact_kinds: FACT_KINDS,
  tables: Object.keys(ROWS),
  reasons: REASONS,
  policy: { required: Object.keys(SETTINGS), properties: Object.fromEntries(settings) },
}

mkdirSync(target, { recursive: true })
for (const file of readdirSync(at('schemas'))) {
  if (file === SHARED) continue
  writeFileSync(join(target, file), `${JSON.stringify(bundled(file, read, provided), null, 2)}\n`)
}

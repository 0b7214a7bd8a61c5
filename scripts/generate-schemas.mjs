// generate-schemas.mjs DIRECTORY: the schemas as they are published and as `xdp schema` prints them, each in one file.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { evaluate } from './lib/evaluate.mjs'
import { at } from './lib/paths.mjs'
import { bundled } from './schema/bundle.mjs'

const SHARED = 'shared.schema.json'

const read = (file) => JSON.parse(readFileSync(at('schemas', file), 'utf8'))
const target = at(process.argv[2])
const { rows } = await evaluate(`export { ROWS as rows } from './src/features/rows.ts'`)
const names = { tables: Object.keys(rows) }

mkdirSync(target, { recursive: true })
for (const file of readdirSync(at('schemas'))) {
  if (file === SHARED) continue
  writeFileSync(join(target, file), `${JSON.stringify(bundled(file, read, names), null, 2)}\n`)
}

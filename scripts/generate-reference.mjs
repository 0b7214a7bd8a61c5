// generate-reference.mjs: the tables of keys in docs/config.md, from schemas/xdp.schema.json.
import { readFileSync, writeFileSync } from 'node:fs'
import { at } from './lib/paths.mjs'
import { withTables } from './schema/reference.mjs'

const path = at('docs/config.md')
const text = readFileSync(path, 'utf8')
const made = withTables(text, JSON.parse(readFileSync(at('schemas/xdp.schema.json'), 'utf8')))
if (made !== text) writeFileSync(path, made)

// Makes the tables of keys in docs/config.md. The first comment of each names the mapping:
//
//   <!-- keys: services.NAME -->            the keys of a mapping; NAME stands for any name, [] for each of a list
//   <!-- keys: allowlist[] with file -->    those that need another key, or others in its place; the table without "with" has the rest
//   <!-- keys: of the file -->              those of the top level
//   <!-- end of keys -->
import { code, partsOf, table, withParts } from '../lib/markdown.mjs'
import { describe } from './describe.mjs'
import { place } from './places.mjs'

const HEAD = ['Key', 'Value', 'Default', 'Example', 'Description']

/** The place at a path such as `services.NAME.backends[]`. Throws if there is none. */
function placeAt(whole, path) {
  const steps = path === 'of the file' ? [] : path.replaceAll('[]', '.[]').split('.')
  return steps.reduce((at, step) => {
    const found = step === 'NAME' || step === '[]' ? at.each : at.below.get(step)
    if (found === undefined) throw new Error(`the config has no ${path}`)
    return found
  }, whole)
}

function row(path, one, isRequired) {
  const { value, standard, example, description } = describe(one, isRequired)
  return [code(path), value, standard, example, description]
}

/** Rows of a mapping, and of those inside it that have no table. `needed`: only keys that need this one. */
function rows(at, needed, listed, prefix = '') {
  return [...at.below].flatMap(([key, one]) => {
    const [first] = at.needs[key] ?? []
    if (prefix === '' && first !== needed) return []
    const inside = one.mapping === undefined || listed.has(one.mapping) ? [] : rows(one, undefined, listed, `${key}.`)
    return [row(`${prefix}${key}`, one, at.required.includes(key)), ...inside]
  })
}

/** The text with every table made from the schema. */
export function withTables(text, schema) {
  const whole = place(schema, schema, 'the file')
  const listed = new Set(partsOf(text, 'keys').map((words) => placeAt(whole, words.split(' with ')[0]).mapping))
  return withParts(text, 'keys', (words) => {
    const [path, needed] = words.split(' with ')
    return table(HEAD, rows(placeAt(whole, path), needed, listed))
  })
}

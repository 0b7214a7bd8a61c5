// schemas/xdp.schema.json → src/config/generated/words.js and its types: the words of errors, key by key. They are a
// function that the first error calls: a config without errors only loads its text.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { Ajv } from 'ajv'
import { at } from './lib/paths.mjs'
import { X_ERROR } from './schema/keyword.mjs'
import { place } from './schema/places.mjs'
import { flow } from './schema/yaml.mjs'

const HEADER = '// Made by scripts/generate-words.mjs from schemas/xdp.schema.json. Do not edit.\n'

const TYPES = `${HEADER}
import type { Code } from '../../diagnostics.ts'

/** The words of errors about one place of a config. */
export interface Words {
  /** Name of the value in a message: \`mode\`, \`an entry\`. */
  readonly what: string
  /** Completes "must be …". */
  readonly expected: string
  /** Error for a value of the right kind that is not allowed; default E013. */
  readonly code?: Code
  /** Error for a value of the wrong kind; default \`code\`, then E012. */
  readonly kindCode?: Code
  /** Hint for a value that is not allowed. */
  readonly hint?: string
  /** Whether messages must not quote the value. */
  readonly secret?: true
  /** Hint for an empty value. */
  readonly whenEmpty?: string
  /** Hint for a missing key. */
  readonly whenMissing?: string
  /** The place of the keys of this mapping, for a misplaced one. */
  readonly home?: string
  /** Other names that people write for this key. */
  readonly aliases?: readonly string[]
  /** Words to choose from, for "did you mean". */
  readonly words?: readonly string[]
  /** By key of a mapping. */
  readonly below?: Readonly<Record<string, Words>>
  /** Each element of a list, or the value under each name of a mapping. */
  readonly each?: Words
  /** The names of such a mapping. */
  readonly names?: { readonly what: string; readonly expected: string; readonly code: Code }
}

/** The words about a whole config. */
export const words: () => Words
`

/** The first example of a place; of an element also the first of its list. */
const exampleOf = ({ spec: { examples = [] } }, list) => examples[0] ?? list?.spec.examples?.find(Array.isArray)?.[0]

/** A list of more keys is no hint. */
const MANY_KEYS = 20

/** A hint for a value, where the schema has none: one to copy, or the keys of a mapping. */
function hintFrom(one, key, list) {
  const { error, spec, words, below } = one
  if (error.hint !== undefined || words.length > 0) return {}
  const keys = [...below.keys()]
  if (keys.length === 1) return { hint: `its key is ${keys[0]}` }
  if (keys.length > 1 && keys.length <= MANY_KEYS) return { hint: `its keys are ${keys.join(', ')}` }
  if (spec.type === 'boolean') return { hint: 'write true or false, without quotes' }
  const example = exampleOf(one, list)
  if (example === undefined) return {}
  return { hint: key === undefined ? `for example ${flow(example)}` : `for example \`${key}: ${flow(example)}\`` }
}

/** A hint for a missing key, where the schema has none. */
function missingFrom(one, key) {
  const example = exampleOf(one) ?? one.words[0]
  return one.error.whenMissing !== undefined || example === undefined
    ? {}
    : { whenMissing: `for example \`${key}: ${flow(example)}\`` }
}

/** `key`: of the value, and whether it is required; `list`: of which it is an element. */
function plain(one, { key, isRequired = false, list } = {}) {
  const { error, words, names, below, each, required } = one
  const inner = [...below].map(([name, inside]) => [
    name,
    plain(inside, { key: name, isRequired: required.includes(name) }),
  ])
  return {
    ...error,
    ...hintFrom(one, key, list),
    ...(isRequired ? missingFrom(one, key) : {}),
    ...(words.length > 0 ? { words } : {}),
    ...(names ? { names: { what: names.what, expected: names.expected, code: names.code } } : {}),
    ...(inner.length > 0 ? { below: Object.fromEntries(inner) } : {}),
    ...(each ? { each: plain(each, { list: one }) } : {}),
  }
}

/** The code of a value; parts that occur several times become constants. */
function emit(value) {
  const counts = new Map()
  const isObject = (one) => typeof one === 'object' && one !== null
  const count = (one) => {
    if (!isObject(one)) return
    const key = JSON.stringify(one)
    counts.set(key, (counts.get(key) ?? 0) + 1)
    if (counts.get(key) === 1) Object.values(one).forEach(count)
  }
  count(value)
  const constants = new Map()
  const write = (one) => {
    if (!isObject(one)) return JSON.stringify(one)
    const key = JSON.stringify(one)
    const known = constants.get(key)
    if (known !== undefined) return known.name
    const parts = Object.entries(one).map(
      ([name, inner]) => (Array.isArray(one) ? '' : `${JSON.stringify(name)}: `) + write(inner),
    )
    const code = Array.isArray(one) ? `[${parts.join(', ')}]` : `{ ${parts.join(', ')} }`
    if (counts.get(key) === 1) return code
    const name = `part${constants.size}`
    constants.set(key, { name, code })
    return name
  }
  const whole = write(value)
  const lines = [...constants.values()].map(({ name, code }) => `  const ${name} = ${code}\n`)
  return `export const words = () => {\n${lines.join('')}  return ${whole}\n}\n`
}

const schema = JSON.parse(readFileSync(at('schemas/xdp.schema.json'), 'utf8'))
// Refuses an x-error with an unknown key.
new Ajv({ strict: true, strictRequired: false, allowUnionTypes: true }).addKeyword(X_ERROR).compile(schema)
mkdirSync(at('src/config/generated'), { recursive: true })
writeFileSync(at('src/config/generated/words.js'), HEADER + emit(plain(place(schema, schema, 'the file'))))
writeFileSync(at('src/config/generated/words.d.ts'), TYPES)

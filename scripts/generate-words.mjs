// schemas/xdp.schema.json → src/config/generated/words.js and its types: the words of errors, key by key. They are a
// function that the first error calls: a config without errors only loads its text.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { Ajv } from 'ajv'
import { at } from './lib/paths.mjs'
import { X_ERROR } from './schema/keyword.mjs'
import { place } from './schema/places.mjs'

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

const plain = ({ error, words, names, below, each }) => ({
  ...error,
  ...(words.length > 0 ? { words } : {}),
  ...(names ? { names: { what: names.what, expected: names.expected, code: names.code } } : {}),
  ...(below.size > 0 ? { below: Object.fromEntries([...below].map(([key, one]) => [key, plain(one)])) } : {}),
  ...(each ? { each: plain(each) } : {}),
})

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

// schemas/xdp.schema.json → src/config/generated/validate.js and its types: the schema as plain code, so that the tool
// neither loads a schema compiler nor compiles a schema at every start.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { Ajv } from 'ajv'
import standalone from 'ajv/dist/standalone/index.js'
import { build } from 'esbuild'
import { at, root } from './lib/paths.mjs'
import { lookup } from './schema/bundle.mjs'

const HEADER = '// Made by scripts/generate-validator.mjs from schemas/xdp.schema.json. Do not edit.\n'

const TYPES = `${HEADER}
/** One violation, in the form ajv gives it. */
export interface SchemaError {
  /** JSON Pointer of the value. */
  readonly instancePath: string
  readonly schemaPath: string
  readonly keyword: string
  readonly params: {
    /** \`additionalProperties\`: the key that the schema does not know. */
    readonly additionalProperty?: string
    /** \`propertyNames\`: the invalid key. */
    readonly propertyName?: string
    /** \`required\`: the missing key. */
    readonly missingProperty?: string
    /** \`dependencies\`: the key that needs another. */
    readonly property?: string
    /** \`uniqueItems\`: the indexes of the equal items. */
    readonly i?: number
    readonly j?: number
  }
  readonly propertyName?: string
}

/** Whether \`value\` follows the schema; if not, \`validate.errors\` lists every violation until the next call. */
export const validate: ((value: unknown) => boolean) & { readonly errors: readonly SchemaError[] | null }
`

/** Keywords that validate nothing. The emitted code carries the schema along, and each start would parse them. */
const PROSE = ['description', 'default', 'examples', 'x-error']
/** Keywords whose keys are names. */
const MAPS = ['properties', 'definitions', 'dependencies']

const isObject = (value) => typeof value === 'object' && value !== null

function withoutProse(node, isMap = false) {
  if (Array.isArray(node)) return node.map((one) => withoutProse(one))
  if (!isObject(node)) return node
  const kept = Object.entries(node).filter(([key]) => isMap || !PROSE.includes(key))
  return Object.fromEntries(kept.map(([key, one]) => [key, withoutProse(one, !isMap && MAPS.includes(key))]))
}

/** Inlines references to simple kinds of values: ajv's code for a check is shorter than its code for a reference. */
function inlined(node, root) {
  if (Array.isArray(node)) return node.map((one) => inlined(one, root))
  if (!isObject(node)) return node
  const { allOf, ...rest } = Object.fromEntries(Object.entries(node).map(([key, one]) => [key, inlined(one, root)]))
  if (allOf === undefined) return rest
  if (allOf.length > 1) return { ...rest, allOf }
  const kind = lookup(root, allOf[0].$ref.slice(1))
  return Object.values(kind).some(isObject) ? { ...rest, allOf } : { ...kind, ...rest }
}

const source = withoutProse(JSON.parse(readFileSync(at('schemas/xdp.schema.json'), 'utf8')))
const schema = inlined(source, source)
const ajv = new Ajv({
  strict: true,
  strictRequired: false, // `oneOf: [{ required: [cidr] }, …]` names properties that stand beside the oneOf
  allowUnionTypes: true,
  allErrors: true,
  messages: false, // the text is made in src/config/text/schema-errors.ts
  code: { source: true, esm: true, lines: true },
})
ajv.addSchema(schema, 'config')
// ajv joins the errors of referenced schemas by copying all that came before, which takes minutes for 100,000 errors.
const JOIN = /(\w+\.errors) : vErrors\.concat\(\1\)/g
const emitted = standalone.default(ajv, { validate: 'config' })
const joined = emitted.replaceAll(JOIN, '$1 : join(vErrors, $1)')
if (joined === emitted || joined.includes('.concat(')) throw new Error('ajv emits other code than this script knows')
// It makes an error and appends it in 200 characters, at 900 places; they would be half of the code.
const ADD =
  /const (err\d+) = ([\s\S]+?);\s*if\(vErrors === null\)\{\s*vErrors = \[\1\];\s*\}\s*else \{\s*vErrors\.push\(\1\);\s*\}/g
const added = joined.replaceAll(ADD, 'vErrors = add(vErrors, $2);')
if (added.includes('vErrors.push')) throw new Error('ajv emits other code than this script knows')
const code = `${added}
function join(all, more) { for (const one of more) all.push(one); return all }
function add(all, one) { if (all === null) return [one]; all.push(one); return all }
`

// The emitted code requires two small helpers of ajv; bundling puts them into the file.
const { outputFiles } = await build({
  stdin: { contents: code, resolveDir: root, loader: 'js' },
  bundle: true,
  format: 'esm',
  platform: 'neutral',
  mainFields: ['main'],
  target: 'node20',
  minify: true,
  write: false,
  logLevel: 'silent',
})

mkdirSync(at('src/config/generated'), { recursive: true })
writeFileSync(at('src/config/generated/validate.js'), HEADER + outputFiles[0].text)
writeFileSync(at('src/config/generated/validate.d.ts'), TYPES)

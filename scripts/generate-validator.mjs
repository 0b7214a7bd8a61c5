// schemas/xdp.schema.json → src/config/generated/validate.js and its types: the schema as plain code, so that the tool
// need not load a schema compiler, or compile a schema, at every start.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { Ajv } from 'ajv'
import standalone from 'ajv/dist/standalone/index.js'
import { build } from 'esbuild'
import { at, root } from './lib/paths.mjs'

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
    /** \`propertyNames\`: the key with an invalid name. */
    readonly propertyName?: string
    /** \`required\`: the missing key. */
    readonly missingProperty?: string
    /** \`dependencies\`: the key that needs another. */
    readonly property?: string
    /** \`uniqueItems\`: the indexes of the two. */
    readonly i?: number
    readonly j?: number
  }
  readonly propertyName?: string
}

/** Whether \`value\` follows the schema; if not, \`validate.errors\` lists every violation until the next call. */
export const validate: ((value: unknown) => boolean) & { readonly errors: readonly SchemaError[] | null }
`

// The emitted code contains the schema; without descriptions there is less to parse at every start.
const schema = JSON.parse(readFileSync(at('schemas/xdp.schema.json'), 'utf8'), (key, value) =>
  key === 'description' && typeof value === 'string' ? undefined : value,
)
const ajv = new Ajv({
  strict: true,
  strictRequired: false, // `oneOf: [{ required: [cidr] }, …]` names properties defined beside the oneOf
  allowUnionTypes: true,
  allErrors: true,
  messages: false, // src/config/text/schema-errors.ts creates the messages
  code: { source: true, esm: true, lines: true },
})
ajv.addSchema(schema, 'config')
// ajv joins the errors of referenced schemas by copying all previous ones, which takes minutes for 100,000 errors.
const JOIN = /(\w+\.errors) : vErrors\.concat\(\1\)/g
const emitted = standalone.default(ajv, { validate: 'config' })
const joined = emitted.replaceAll(JOIN, '$1 : join(vErrors, $1)')
if (joined === emitted || joined.includes('.concat(')) throw new Error('ajv emits code that this script does not know')
const code = `${joined}\nfunction join(all, more) { for (const one of more) all.push(one); return all }\n`

// The emitted code requires two small helpers of ajv; bundling includes them in the file.
const { outputFiles } = await build({
  stdin: { contents: code, resolveDir: root, loader: 'js' },
  bundle: true,
  format: 'esm',
  platform: 'neutral',
  mainFields: ['main'],
  target: 'node20',
  write: false,
  logLevel: 'silent',
})

mkdirSync(at('src/config/generated'), { recursive: true })
writeFileSync(at('src/config/generated/validate.js'), HEADER + outputFiles[0].text)
writeFileSync(at('src/config/generated/validate.d.ts'), TYPES)

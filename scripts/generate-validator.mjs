// schemas/xdp.schema.json → src/config/generated/validate.js and its types: the schema as plain code, so that the tool
// neither loads a schema compiler nor compiles a schema at every start.
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
  readonly params: Readonly<Record<string, unknown>>
  readonly propertyName?: string
}

/** Whether \`value\` follows the schema; if not, \`validate.errors\` lists every violation until the next call. */
export const validate: ((value: unknown) => boolean) & { readonly errors: readonly SchemaError[] | null }
`

// The emitted code carries the schema along; prose need not be parsed at every start.
const schema = JSON.parse(readFileSync(at('schemas/xdp.schema.json'), 'utf8'), (key, value) =>
  key === 'description' && typeof value === 'string' ? undefined : value,
)
const ajv = new Ajv({
  strict: true,
  strictRequired: false, // `oneOf: [{ required: [cidr] }, …]` names properties that stand beside the oneOf
  allowUnionTypes: true,
  allErrors: true,
  messages: false, // the text is made in src/config/schema-errors.ts
  code: { source: true, esm: true, lines: true },
})
ajv.addSchema(schema, 'config')
const code = standalone.default(ajv, { validate: 'config' })

// The emitted code requires two small helpers of ajv; bundling puts them into the file.
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

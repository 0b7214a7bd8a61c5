// Published schemas: each stands alone, compiles in strict mode, and has the words of the code.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Ajv } from 'ajv'
import { describe, expect, test } from 'vitest'
import { bundled } from '../../../scripts/schema/bundle.mjs'
import { ROWS } from '../../../src/features/rows.ts'
import { REASONS, VERDICTS } from '../../../src/report/reason.ts'
import { OUTCOMES } from '../../../src/report/watch.ts'
import { readSchema, SCHEMAS, type Schema } from '../../support/schemas.ts'

const ROOT = join(import.meta.dirname, '../../..')
const names = readdirSync(SCHEMAS).map((file) => file.replace('.schema.json', ''))

/** Every object inside a document, and the document. */
function* objects(node: unknown): Generator<Record<string, unknown>> {
  if (typeof node !== 'object' || node === null) return
  if (!Array.isArray(node)) yield node as Record<string, unknown>
  for (const below of Object.values(node)) yield* objects(below)
}

const strings = (key: string, schema: unknown): string[] =>
  [...objects(schema)].flatMap((one) => (typeof one[key] === 'string' ? [one[key]] : []))

describe.each(names)('%s', (name) => {
  const schema = readSchema(name)

  test('refers to nothing outside of it, and defines nothing in vain', () => {
    const targets = strings('$ref', schema)
    expect(targets.filter((ref) => !ref.startsWith('#/'))).toEqual([])
    const defined = Object.keys(schema.definitions ?? {}).map((one) => `#/definitions/${one}`)
    expect(defined.filter((one) => !targets.includes(one))).toEqual([])
  })

  test('compiles where unknown keywords are refused', () => {
    expect(() => new Ajv({ allowUnionTypes: true }).compile(schema)).not.toThrow()
  })

  test('has no keyword of ours', () => {
    const keys = [...objects(schema)].flatMap((one) => Object.keys(one))
    expect(keys.filter((key) => key.startsWith('x-'))).toEqual([])
  })

  test('has patterns that every dialect of regular expressions knows', () => {
    const patterns = strings('pattern', schema)
    expect(patterns.filter((pattern) => /\\p\{|\(\?[!=<]/.test(pattern))).toEqual([])
  })
})

describe('words', () => {
  const shared: Schema = JSON.parse(readFileSync(join(ROOT, 'schemas/shared.schema.json'), 'utf8'))
  const wordsOf = (name: string): unknown => shared.definitions?.[name]?.enum

  test('of reasons, verdicts, outcomes and tables are those of the code', () => {
    expect(readSchema('why').definitions?.['reason']?.enum).toEqual(REASONS)
    expect(wordsOf('verdict')).toEqual(VERDICTS)
    expect(wordsOf('outcome')).toEqual(OUTCOMES)
    expect(readSchema('stats').properties?.['tables']?.items?.properties?.['name']?.enum).toEqual(Object.keys(ROWS))
    expect(Object.keys(shared.definitions?.['by_verdict']?.properties ?? {})).toEqual(VERDICTS)
  })

  test('stand in one file of all the sources', () => {
    const folder = join(ROOT, 'schemas')
    const perFile = readdirSync(folder).map((file) => {
      const found = [...objects(JSON.parse(readFileSync(join(folder, file), 'utf8')))].map((one) => one['enum'])
      const words = found.filter((one) => Array.isArray(one)).map((one) => one.map(String).toSorted().join(' '))
      // Keys of the config that have nothing to do with each other may offer the same words.
      return file === 'xdp.schema.json' ? [...new Set(words)] : words
    })
    const all = perFile.flat()
    expect(all.filter((words, index) => all.indexOf(words) !== index)).toEqual([])
  })

  test('that outputs share with the config are those of the config', () => {
    const { properties } = readSchema('plan').definitions?.['service'] ?? {}
    expect(properties?.['scheduler']).toEqual({
      description: 'Choice of the backend for a new flow.',
      enum: ['maglev', 'random'],
    })
  })
})

describe('bundling', () => {
  const files: Readonly<Record<string, object>> = {
    'a.schema.json': {
      properties: {
        own: { $ref: '#/definitions/own' },
        tree: { description: 'A tree.', allOf: [{ $ref: 'shared.schema.json#/definitions/tree' }] },
        word: { description: 'A word.', allOf: [{ $ref: 'xdp.schema.json#/definitions/word' }] },
      },
      definitions: { own: { type: 'string', 'x-error': {} } },
    },
    'clash.schema.json': { items: { $ref: 'shared.schema.json#/definitions/tree' }, definitions: { tree: {} } },
    'lost.schema.json': { items: { $ref: 'shared.schema.json#/definitions/nothing' } },
    'far.schema.json': { items: { $ref: 'a.schema.json#/definitions/own' } },
    'long.schema.json': { items: { $ref: 'xdp.schema.json#/definitions/text' } },
    'shared.schema.json': { definitions: { tree: { items: { $ref: '#/definitions/tree' } }, unused: {} } },
    'xdp.schema.json': { definitions: { word: { enum: ['x', 'y'], default: 'x' }, text: { type: 'string' } } },
  }
  const read = (name: string): object => files[name] ?? {}

  test('fills in names from the code', () => {
    const own = (): object => ({
      properties: { name: { description: 'A name.', 'x-from': 'things', type: 'string' } },
    })
    const name = { description: 'A name.', enum: ['a', 'b'], type: 'string' }
    expect(bundled('own.schema.json', own, { things: ['a', 'b'] })).toEqual({ properties: { name } })
    expect(() => bundled('own.schema.json', own, {})).toThrow(
      'own.schema.json: x-from is things, which the build does not know',
    )
  })

  test('takes along what is referred to, also by itself, and the words of the config', () => {
    expect(bundled('a.schema.json', read)).toEqual({
      properties: {
        own: { $ref: '#/definitions/own' },
        tree: { description: 'A tree.', allOf: [{ $ref: '#/definitions/tree' }] },
        word: { description: 'A word.', enum: ['x', 'y'] },
      },
      definitions: { own: { type: 'string' }, tree: { items: { $ref: '#/definitions/tree' } } },
    })
  })

  test.each([
    ['clash', 'defines tree too'],
    ['lost', 'there is nothing at /definitions/nothing'],
    ['far', 'is neither in shared.schema.json nor in xdp.schema.json'],
    ['long', 'has no words'],
  ])('refuses %s', (name, message) => {
    expect(() => bundled(`${name}.schema.json`, read)).toThrow(message)
  })
})

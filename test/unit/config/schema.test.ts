// The schema, the texts of its violations, the generated validator and the reference agree.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { SPECS, templateOf } from '../../../src/config/explain/spec.ts'
import { validate } from '../../../src/config/generated/validate.js'

interface Schema {
  readonly [keyword: string]: unknown
  readonly $ref?: string
  readonly description?: string
  readonly type?: string | readonly string[]
  readonly properties?: Readonly<Record<string, Schema>>
  readonly additionalProperties?: Schema | false
  readonly items?: Schema
  readonly anyOf?: readonly Schema[]
  readonly allOf?: readonly Schema[]
  readonly enum?: readonly unknown[]
  readonly definitions?: Readonly<Record<string, Schema>>
}

const read = (path: string): string => readFileSync(join(import.meta.dirname, '../../..', path), 'utf8')
const ROOT: Schema = JSON.parse(read('schemas/xdp.schema.json'))

/** A schema with all schemas that it references or chooses from. */
function parts(schema: Schema): Schema[] {
  const target = schema.$ref === undefined ? [] : [ROOT.definitions?.[schema.$ref.split('/').at(-1) ?? ''] as Schema]
  return [schema, ...[...target, ...(schema.anyOf ?? []), ...(schema.allOf ?? [])].flatMap(parts)]
}

/** Every place of the schema, with its parts. */
function* places(schema: Schema, path: readonly string[]): Generator<readonly [readonly string[], readonly Schema[]]> {
  const all = parts(schema)
  yield [path, all]
  for (const { properties, additionalProperties, items } of all) {
    for (const [key, value] of Object.entries(properties ?? {})) yield* places(value, [...path, key])
    if (additionalProperties) yield* places(additionalProperties, [...path, 'any'])
    if (items) yield* places(items, [...path, '0'])
  }
}

const known = new Map([...places(ROOT, [])].map(([path, all]) => [templateOf(path), { path, all }]))

test('every place of the schema has texts, and every text has a place', () => {
  expect(Object.keys(SPECS).toSorted()).toEqual([...known.keys()].toSorted())
})

test.each([...known])('texts of %j have the keys and words of the schema', (template, { all }) => {
  const spec = SPECS[template]
  const keys = all.flatMap(({ properties }) => Object.keys(properties ?? {}))
  const words = all.flatMap((one) => (one.enum ?? []) as readonly string[])
  expect(spec?.keys ?? []).toEqual(keys)
  expect(spec?.words ?? []).toEqual(words)
})

test('every key has a description', () => {
  for (const [template, { all }] of known) {
    expect([template, all.some(({ description }) => (description ?? '').length > 10)]).toEqual([template, true])
  }
})

test('the reference has a row for every key, with its default', () => {
  const text = read('docs/config.md')
  for (const { path, all } of known.values()) {
    const key = path.at(-1)
    if (key === undefined || key === 'any' || key === '0') continue
    const row = text.split('\n').find((line) => line.startsWith(`| \`${key}\` |`))
    expect(row).toBeDefined()
    const standard = all.find((one) => 'default' in one && typeof one['default'] === 'string')?.['default']
    if (standard !== undefined) expect(row).toContain(`\`${standard}\` |`)
  }
})

describe('the validator', () => {
  const config = (rest: object): object => ({ version: 1, interfaces: { eth0: null }, ...rest })

  test('accepts the example of the reference', () => {
    expect(
      validate(
        config({ policy: {}, allowlist: [], blocklist: ['x', { cidrs: ['x'], protocol: 6, source_port: [1, '2-3'] }] }),
      ),
    ).toBe(true)
  })

  test.each([
    {},
    null,
    [],
    { version: 1 },
    { version: 1, interfaces: {} },
    { version: 1, interfaces: Object.fromEntries(Array.from({ length: 64 }, (_, index) => [`eth${index}`, {}])) },
    ...['', '.', '..', 'a b', 'a/b', 'a:b', 'x'.repeat(16), 'a\u0000', 'a\u001b'].map((name) => ({
      version: 1,
      interfaces: { [name]: {} },
    })),
    config({ policy: null }),
    config({ blocklist: null }),
    config({ blocklist: [{ cidr: 'x', cidrs: ['x'] }] }),
    config({ blocklist: [{ cidr: 'x', source_port: 1 }] }),
    config({ blocklist: [{ cidr: 'x', source_port: 1, protocol: 'icmp' }] }),
    config({ blocklist: [{ cidr: 'x', name: 'x'.repeat(40) }] }),
    config({ rate_limits: [] }),
  ])('rejects %j', (value) => {
    expect(validate(value)).toBe(false)
  })
})

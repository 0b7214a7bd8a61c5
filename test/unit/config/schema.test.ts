// The schema of the config is the one source of words about keys: it is complete, its examples are valid, and the
// validator, the words of errors and the reference follow from it.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Ajv } from 'ajv'
import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { X_ERROR } from '../../../scripts/schema/keyword.mjs'
import { place } from '../../../scripts/schema/places.mjs'
import { withTables } from '../../../scripts/schema/reference.mjs'
import { flow } from '../../../scripts/schema/yaml.mjs'
import { validate } from '../../../src/config/generated/validate.js'
import { homesOf, keysOf, wordsOf } from '../../../src/config/text/words.ts'
import { CODES } from '../../../src/diagnostics.ts'
import type { Schema } from '../../support/schemas.ts'

const read = (path: string): string => readFileSync(join(import.meta.dirname, '../../..', path), 'utf8')
const ROOT: Schema = JSON.parse(read('schemas/xdp.schema.json'))

const ajv = new Ajv({ strict: true, strictRequired: false, allowUnionTypes: true }).addKeyword(X_ERROR)
const isValid = ajv.compile(ROOT)

interface Place {
  readonly spec: Schema & { readonly examples: readonly unknown[] }
  readonly error: Readonly<Record<string, string>>
  readonly words: readonly unknown[]
  readonly below: ReadonlyMap<string, Place>
  readonly each?: Place
  readonly required: readonly string[]
}

/** Every place of the config below one, by its path: `*` stands for a name or an index. */
function* places(at: Place, path: readonly string[] = []): Generator<readonly [string, Place]> {
  yield [path.join('.'), at]
  for (const [key, one] of at.below) yield* places(one, [...path, key])
  if (at.each) yield* places(at.each, [...path, '*'])
}

const all = [...places(place(ROOT, ROOT, 'the file'))]
const keys = all.filter(([path]) => path !== '' && !path.endsWith('*'))

/** Whether the values of a key can be read off its words. */
const isWord = ({ spec, words }: Place): boolean =>
  spec.type === 'boolean' || 'const' in spec || (spec.enum !== undefined && words.length > 0)

test.each(keys)('%s is described, with examples and a default that it accepts', (_, one) => {
  const { spec } = one
  const standards = 'default' in spec ? [spec['default']] : []
  expect(spec.description?.length).toBeGreaterThan(10)
  // Where a value can say it, prose need not.
  expect(spec.description).not.toMatch(standards.length > 0 ? /Example:|Default:/ : /Example:/)
  if (!isWord(one)) expect(spec.examples).not.toEqual([])
  const accepts = ajv.compile({ ...spec, 'x-error': {}, definitions: ROOT.definitions })
  for (const value of [...spec.examples, ...standards]) {
    expect([value, accepts(value)]).toEqual([value, true])
    expect(parse(flow(value))).toEqual(value)
  }
})

describe('words', () => {
  test('are complete at every place, and their codes are known', () => {
    for (const [path, { error }] of all) {
      expect([path, error['what'], error['expected']]).toEqual([path, expect.any(String), expect.any(String)])
      expect(JSON.stringify(error)).not.toMatch(/\{\w+\}/)
      for (const code of [error['code'], error['kindCode']]) if (code !== undefined) expect(CODES).toHaveProperty(code)
    }
  })

  test('are found by keys, names and indexes', () => {
    expect(wordsOf([])?.what).toBe('the file')
    expect(wordsOf(['interfaces', 'vip', 'mode', '1'])?.expected).toBe('native, generic or offload')
    expect(wordsOf(['services', 'constructor', 'backends', '0', 'health', 'rise'])?.code).toBe('E013')
    expect(wordsOf(['blocklist', '7', 'cidrs', '0'])).toEqual(wordsOf(['allowlist', '0', 'cidrs', '1']))
    expect(wordsOf(['policy', 'constructor'])).toBeUndefined()
    expect(wordsOf(['nothing', 'below'])).toBeUndefined()
    expect(keysOf(['limits'])).toEqual([
      ...['prefixes', 'max_removed', 'max_blocked', 'widest', 'confirm', 'flows', 'bans', 'rate_buckets'],
    ])
    expect(keysOf(['version'])).toEqual([])
  })

  test('name the places where a key belongs, the highest first', () => {
    expect(homesOf('vip')).toEqual(['a service'])
    expect(homesOf('port')).toEqual([
      ...['a service', 'a backend of a service', 'the health of a service', 'an entry of protect'],
    ])
    expect(homesOf('weight')).toEqual(['a backend of a service'])
    expect(homesOf('rise')).toEqual(['the health of a service'])
    expect(homesOf('established')).toEqual(['policy', 'an entry of a list'])
    expect(homesOf('v4')).toEqual([])
    expect(homesOf('constructor')).toEqual([])
  })

  test('have a hint for every value that is not allowed, and for every missing key', () => {
    for (const [path, { required }] of all) {
      const steps = path === '' ? [] : path.split('.').map((step) => (step === '*' ? '0' : step))
      const { hint, words } = wordsOf(steps) ?? {}
      expect([path, hint ?? words]).toEqual([path, expect.anything()])
      for (const key of required)
        expect([path, key, typeof wordsOf([...steps, key])?.whenMissing]).toEqual([path, key, 'string'])
    }
  })
})

test('x-error has only the keys that the build knows', () => {
  expect(isValid({ version: 1, interfaces: { eth0: {} } })).toBe(true)
  expect(() => ajv.compile({ 'x-error': { hnit: 'x' } })).toThrow()
})

test('the tables of the reference are up to date', () => {
  const text = read('docs/config.md')
  expect(withTables(text, ROOT)).toBe(text)
})

test('the reference has every key in one of its tables', () => {
  const listed = [...read('docs/config.md').matchAll(/^\| `([\w.]+)` \|/gm)].map(([, key]) => key?.split('.').at(-1))
  const missing = keys.map(([path]) => path.split('.').at(-1)).filter((key) => !listed.includes(key))
  expect(missing).toEqual([])
})

describe('the validator', () => {
  const config = (rest: object): object => ({ version: 1, interfaces: { eth0: null }, ...rest })

  const accepted = [
    config({ policy: {}, allowlist: [], blocklist: ['x', { cidrs: ['x'], protocol: 6, source_port: [1, '2-3'] }] }),
    config({ rate_limits: [{ name: 'x', bits_per_second: '1.5G', burst_bits: 64_000, prefix: { v6: 56 } }] }),
    config({ policy: { default: 'drop' }, watch: { debounce: '0ms' }, limits: { flows: 1024 } }),
  ]

  const refused = [
    {},
    null,
    [],
    { version: 1 },
    { version: 1, interfaces: {} },
    { version: 1, interfaces: Object.fromEntries(Array.from({ length: 64 }, (_, index) => [`eth${index}`, {}])) },
    ...['', '.', '..', 'a b', 'a/b', 'a:b', 'x'.repeat(16), 'a\u0000', 'a\u001b', 'a\u0085'].map((name) => ({
      version: 1,
      interfaces: { [name]: {} },
    })),
    config({ policy: null }),
    config({ blocklist: null }),
    config({ blocklist: [{ cidr: 'x', cidrs: ['x'] }] }),
    config({ blocklist: [{ cidr: 'x', source_port: 1 }] }),
    config({ blocklist: [{ cidr: 'x', source_port: 1, protocol: 'icmp' }] }),
    config({ blocklist: [{ cidr: 'x', name: 'x'.repeat(40) }] }),
    config({ watch: { debounce: '100' } }),
    config({ rate_limits: [{ packets_per_second: 1 }] }),
    config({ rate_limits: [{ name: 'x', packets_per_second: '1k' }] }),
    config({ rate_limits: [{ name: 'x', bits_per_second: '1Mbit' }] }),
    config({ rate_limits: [{ name: 'x', destination_port: 53, packets_per_second: 1 }] }),
    config({ rate_limits: {} }),
  ]

  test.each(accepted)('takes %j', (value) => {
    expect([validate(value), isValid(value)]).toEqual([true, true])
  })

  test.each(refused)('refuses %j', (value) => {
    expect([validate(value), isValid(value)]).toEqual([false, false])
  })
})

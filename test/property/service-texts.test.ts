// Services parsed one by one: for any text, the result is that of parsing the whole file, or none.

import fc from 'fast-check'
import { expect, test } from 'vitest'
import { validate } from '../../src/config/generated/validate.js'
import { type KnownServices, parseServices } from '../../src/config/services/service-texts.ts'
import { parse } from '../../src/config/text/parse.ts'
import { createReport } from '../../src/config/text/report.ts'
import { createSource, type Source } from '../../src/config/text/source.ts'
import type { Placed } from '../../src/config/text/tree.ts'
import { usually } from '../support/depth.ts'

const whole = (source: Source): Placed | undefined => parse(source, createReport([source.path]))

/** A value with the text at its locations, and its line. */
function seen(source: Source, { value, from, to, key, items, fields }: Placed): unknown {
  return {
    value,
    at: source.locate(from, to),
    key: key && source.locate(key.from, key.to),
    items: items?.map((item) => seen(source, item)),
    fields: fields && [...fields].map(([name, field]) => [name, seen(source, field)]),
  }
}

const arbitraryAddress = fc.integer({ min: 1, max: 250 }).map((last) => `10.0.0.${last}`)
const arbitraryBackend = fc.oneof(
  arbitraryAddress,
  arbitraryAddress.map((address) => `{ address: ${address}, weight: 3 }`),
  fc.constantFrom('"2001:db8::1"', "'10.9.9.9'"),
)
const arbitraryGap = fc.constantFrom('', '\n', '  # a comment\n', '# a comment at the edge\n', '      # deep\n\n')

/** A service whose name begins at column `indent`. */
const arbitraryService = (name: string, indent: string): fc.Arbitrary<string> =>
  fc
    .record({
      backends: fc.array(arbitraryBackend, { maxLength: 4 }),
      style: fc.constantFrom('flow', 'block', 'lines'),
      before: arbitraryGap,
      after: arbitraryGap,
      expected: fc.constantFrom(
        undefined,
        '"a\\n  b"',
        '|\n@a\n@b',
        '>-\n@a',
        "'it''s'",
        'a plain text\n@of two lines',
      ),
    })
    .map(({ backends, style, before, after, expected }) => {
      const inner = `${indent}    `
      const deep = `${inner}    `
      const facts = [`vip: 203.0.113.1`, 'port: 80', 'protocol: tcp', 'forwarding: dsr']
      if (style === 'flow')
        return `${before}${indent}${name}: { ${facts.join(', ')}, backends: [${backends.join(', ')}] }\n${after}`
      if (style === 'lines') {
        const list = backends.map((backend) => `${deep}${backend},\n`).join('')
        return `${before}${indent}${name}: { ${facts.join(`,\n${deep}`)},\n${deep}backends: [\n${list}${deep}] } # end\n${after}`
      }
      const list = backends.length === 0 ? ' []\n' : `\n${backends.map((backend) => `${inner}- ${backend}\n`).join('')}`
      const body = expected && `${deep}body: ${expected.replaceAll('@', `${deep}  `)}\n`
      const health = expected && `${inner}health:\n${deep}type: http\n${body}`
      const lines = facts.map((fact) => `${inner}${fact}\n`).join('')
      return `${before}${indent}${name}:\n${health ?? ''}${lines}${inner}backends:${list}${after}`
    })

const arbitraryText = fc
  .record({
    indent: fc.constantFrom('  ', ' ', '    '),
    names: fc.uniqueArray(fc.constantFrom('a', 'b', 'web', 'web2', 'x-1', '0a'), { minLength: 1, maxLength: 5 }),
    head: fc.constantFrom('version: 1\n', '# top\nversion: 1\ninterfaces: { eth0: {} }\n\n', ''),
    tail: fc.constantFrom('', 'blocklist: [192.0.2.1]\n', '# the end\n\nwatch: { debounce: 1s }\n', 'x: "a\n  b"\n'),
    key: fc.constantFrom('services:', 'services:  # all of them', 'services: '),
  })
  .chain(({ indent, names, head, tail, key }) =>
    fc
      .tuple(...names.map((name) => arbitraryService(name, indent)))
      .map((services) => `${head}${key}\n${services.join('')}${tail}`),
  )

/** Services of a file parsed as a whole, unless the schema rejects them. */
const soundServices = (root: Placed): Placed['fields'] => root.fields?.get('services')?.fields

function expectSame(source: Source, known?: KnownServices): boolean {
  const alone = parseServices(source, known)
  if (alone === undefined) return false
  const root = whole(source)
  expect(root).toBeDefined()
  const [services, others] = [soundServices(root as Placed), new Map(root?.fields)]
  others.delete('services')
  expect(alone.services.map(({ name }) => name)).toEqual([...(services?.keys() ?? [])])
  for (const { name, placed, source: own } of alone.services) {
    expect(seen(own, placed)).toEqual(seen(source, services?.get(name) as Placed))
    expect(validate({ version: 1, interfaces: { eth0: null }, services: { [name]: placed.value } })).toBe(true)
  }
  const rest = new Map(alone.root.fields)
  rest.delete('services')
  expect([...rest].map(([name, field]) => [name, seen(source, field)])).toEqual(
    [...others].map(([name, field]) => [name, seen(source, field)]),
  )
  return true
}

test('services parsed one by one equal those of the whole file, with equal locations', () => {
  fc.assert(
    fc.property(arbitraryText, (text) => {
      expect(expectSame(createSource('xdp.yaml', text))).toBe(true)
    }),
    { numRuns: usually(200, { thoroughly: 5_000 }) },
  )
})

const arbitraryDamage = fc.record({
  at: fc.nat(),
  cut: fc.constantFrom(0, 0, 1, 2, 5, 40),
  put: fc.constantFrom(
    ...[
      '',
      '\n',
      '"',
      "'",
      '{',
      '}',
      '[',
      ']',
      ':',
      ': ',
      ',',
      '- ',
      '#',
      ' #',
      '&a ',
      '*a',
      '|',
      '>',
      '!',
      '%',
      '?',
      '? ',
    ],
    ...['\r', '\u2028', '\u2029', '\u0085', '\ufeff', '\u2028  late: {}\n', '# \u2028policy: { default: drop }\n'],
    ...['{\n', '\n}\n', '%TAG !! tag:x,2000:\n---\n', '!!int ', '<<: '],
    ...['\t', '\r\n', '---\n', '...\n', '\n---\n', '\nservices:\n', '\n  web: {}\n', '  ', '\n  ', '\n x', 'web: '],
  ),
})

test('after any edit of the text, parsing one by one gives the result of the whole file', () => {
  let parsed = 0
  fc.assert(
    fc.property(arbitraryText, fc.array(arbitraryDamage, { minLength: 1, maxLength: 3 }), (text, damages) => {
      const known: KnownServices = new Map()
      // Previously known services must not make a difference.
      parseServices(createSource('xdp.yaml', text), known)
      const damaged = damages.reduce((now, { at, cut, put }) => {
        const place = at % (now.length + 1)
        return now.slice(0, place) + put + now.slice(place + cut)
      }, text)
      if (expectSame(createSource('xdp.yaml', damaged), known)) parsed++
    }),
    { numRuns: usually(1_500, { thoroughly: 8_000 }) },
  )
  expect(parsed).toBeGreaterThan(0)
})

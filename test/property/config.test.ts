// No input makes the config room throw anything but an XdpError, and only the meaning of a file matters.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { stringify } from 'yaml'
import { loadConfig } from '../../src/config/load.ts'
import { type Diagnostic, XdpError } from '../../src/diagnostics.ts'
import type { AddressSet } from '../../src/model/address.ts'
import type { Desired } from '../../src/model/desired.ts'
import { type RateLimit, rateLimitKey } from '../../src/model/rate-limit.ts'
import { type Scope, scopeKey } from '../../src/model/state.ts'
import { formatRange, wordsOf } from '../../src/model/text.ts'
import { renderDiagnostics, renderErrorJson } from '../../src/render/diagnostic.ts'
import { writeFiles } from '../support/config.ts'

const EXAMPLES = join(import.meta.dirname, '../../examples')
const LIST = readFileSync(join(EXAMPLES, 'lists/scanners.txt'))

async function load(path: string): Promise<Desired | XdpError> {
  try {
    return (await loadConfig(path)).desired
  } catch (error) {
    if (error instanceof XdpError) return error
    throw error
  }
}

function expectPlace({ at }: Diagnostic): void {
  if (at === undefined) return
  expect(at.line).toBeGreaterThanOrEqual(1)
  expect(at.column).toBeGreaterThanOrEqual(1)
  expect(at.length).toBeGreaterThanOrEqual(1)
  if (at.text !== undefined) expect(at.column).toBeLessThanOrEqual(at.text.length + 1)
}

/** Loads bytes as a config beside a list file, and checks the invariants of every result. */
async function loadBytes(directory: string, bytes: Uint8Array): Promise<void> {
  const path = join(directory, 'xdp.yaml')
  writeFileSync(path, bytes)
  const result = await load(path)
  if (!(result instanceof XdpError)) return
  expect(result.diagnostics.length).toBeGreaterThan(0)
  expect(result.diagnostics.length).toBeLessThanOrEqual(20)
  for (const diagnostic of result.diagnostics) expectPlace(diagnostic)
  const text = renderDiagnostics(result.diagnostics, { color: false, omitted: result.omitted })
  expect(text).not.toMatch(/[^\P{Cc}\n]/u)
  expect(text).not.toMatch(/undefined|\[object/)
  JSON.parse(renderErrorJson(result.diagnostics, result.omitted))
}

const files = (): string => writeFiles({ 'lists/scanners.txt': LIST, 'lists/open-resolvers.txt': LIST })

test('random bytes are a config or an error', async () => {
  const directory = files()
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), (bytes) => loadBytes(directory, bytes)),
    { numRuns: 200 },
  )
})

test('examples with random edits are a config or an error', async () => {
  const directory = files()
  const sources = readdirSync(EXAMPLES)
    .filter((name) => name.endsWith('.yaml'))
    .map((name) => readFileSync(join(EXAMPLES, name), 'utf8').replaceAll(/^#.*\n/gm, ''))
  const pieces = [
    ':',
    '- ',
    '\n',
    ' ',
    '\t',
    '[',
    ']',
    '{',
    '}',
    '"',
    "'",
    '#',
    '&a ',
    '*a',
    '!',
    '|',
    '>',
    '%',
    '---\n',
  ]
  const words = [
    '::',
    '2001:db8::',
    '0',
    '-1',
    '65536',
    '1e3',
    'null',
    '~',
    'true',
    'cidr',
    'file',
    'name',
    '__proto__',
    '🦀',
  ]
  const edit = fc.record({
    at: fc.double({ min: 0, max: 1, noNaN: true }),
    remove: fc.nat({ max: 12 }),
    insert: fc.oneof(fc.constantFrom(...pieces, ...words), fc.string({ maxLength: 4 })),
  })
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...sources), fc.array(edit, { minLength: 1, maxLength: 6 }), (source, edits) => {
      let text = source
      for (const { at, remove, insert } of edits) {
        const from = Math.floor(at * text.length)
        text = text.slice(0, from) + insert + text.slice(from + remove)
      }
      return loadBytes(directory, Buffer.from(text))
    }),
    { numRuns: 400 },
  )
})

test('random lines of a list file are entries or errors', async () => {
  const directory = writeFiles({ 'xdp.yaml': 'version: 1\ninterfaces: { eth0: {} }\nblocklist: [{ file: list }]\n' })
  const byte = fc.oneof(
    { weight: 8, arbitrary: fc.constantFrom(...Buffer.from('0123456789abf.:/-# \t\r\n')) },
    { weight: 1, arbitrary: fc.nat(255) },
  )
  await fc.assert(
    fc.asyncProperty(fc.array(byte, { maxLength: 120 }), async (bytes) => {
      writeFileSync(join(directory, 'list'), Uint8Array.from(bytes))
      const result = await load(join(directory, 'xdp.yaml'))
      if (result instanceof XdpError) for (const diagnostic of result.diagnostics) expectPlace(diagnostic)
    }),
    { numRuns: 300 },
  )
})

/** A desired state without locations. */
function meaning({ state, options }: Desired): unknown {
  const lists = [...state.lists].map(([name, { kind, sets }]) => [
    name,
    kind,
    sets.map(({ scope, addresses }) => [scopeKey(scope), addresses]),
  ])
  const wishes = [...options].map(([name, { onConflict, missing }]) => [name, onConflict, missing])
  const limits = [...(state.rateLimits?.values() ?? [])].map((limit) => rateLimitKey(limit, scopeKey(limit.scope)))
  return { lists, wishes, limits, policy: state.policy, interfaces: [...state.interfaces] }
}

const word = fc.nat({ max: 0xffffffff })
const bounds = fc.oneof(
  fc.tuple(word, word).map(([left, right]) => {
    const [start, end] = [Uint32Array.of(Math.min(left, right)), Uint32Array.of(Math.max(left, right))]
    return formatRange(4, start, end)
  }),
  fc.tuple(word, word).map(([high, low]) => {
    const start = Uint32Array.of(0x20010db8, high, 0, 0)
    return formatRange(6, start, Uint32Array.of(0x20010db8, high, low, 0xffffffff))
  }),
)
const port = fc.oneof(
  fc.nat({ max: 99 }),
  fc.tuple(fc.nat({ max: 99 }), fc.nat({ max: 99 })).map(([a, b]) => `${Math.min(a, b)}-${Math.max(a, b)}`),
)
const scope = fc.oneof(
  fc.constant({}),
  fc.record({ protocol: fc.constantFrom('icmp', 47) }),
  fc.record(
    {
      protocol: fc.constantFrom('tcp', 'udp', 6, 17),
      source_port: port,
      destination_port: fc.array(port, { minLength: 1, maxLength: 4 }),
    },
    { requiredKeys: ['protocol'] },
  ),
)
const entry = fc.oneof(
  bounds,
  fc
    .tuple(
      scope,
      // Numbers of interfaces of the config.
      fc.option(fc.uniqueArray(fc.nat(3), { minLength: 1 }), { nil: undefined, freq: 1 }),
      fc.array(bounds, { minLength: 1, maxLength: 4 }),
    )
    .map(([base, interfaces, cidrs]) => ({ ...base, ...(interfaces && { interfaces }), cidrs })),
)

const bits = fc.oneof(fc.integer({ min: 1_000_000, max: 9_000_000 }), fc.constantFrom('1M', '1.5G', '2000k'))
/** Keys of a limit of packets, of bits, and of both. */
const rate = fc.oneof(
  fc.record(
    { packets_per_second: fc.integer({ min: 1, max: 9 }), burst: fc.integer({ min: 1, max: 3600 }) },
    { requiredKeys: ['packets_per_second'] },
  ),
  fc.record({ bits_per_second: bits, burst_bits: bits }, { requiredKeys: ['bits_per_second'] }),
  fc.record({ packets_per_second: fc.integer({ min: 1, max: 9 }), bits_per_second: bits }),
)
const counted = fc.oneof(
  fc.record({ per: fc.constant('all') }),
  fc.record(
    {
      per: fc.constantFrom('source', 'destination', 'service'),
      prefix: fc.record({ v4: fc.nat(32), v6: fc.nat(128) }, { requiredKeys: ['v4'] }),
    },
    { requiredKeys: [] },
  ),
  fc.record(
    {
      prefix: fc.record({ v4: fc.integer({ min: 8, max: 32 }), v6: fc.integer({ min: 16, max: 128 }) }),
      ban: fc.record(
        { for: fc.constantFrom('10s', '5m', '100d'), after: fc.constantFrom('1s', '10m') },
        { requiredKeys: ['for'] },
      ),
    },
    { requiredKeys: ['ban'] },
  ),
)
const limits = fc
  .array(
    fc.tuple(
      scope,
      rate,
      counted,
      fc.record(
        {
          cidrs: fc.array(fc.oneof(bounds, fc.constant('any')), { minLength: 1, maxLength: 3 }),
          action: fc.constantFrom('drop', 'observe'),
        },
        { requiredKeys: [] },
      ),
      fc.option(fc.uniqueArray(fc.nat(3), { minLength: 1 }), { nil: undefined, freq: 1 }),
    ),
    { maxLength: 4 },
  )
  .map((all) =>
    all.map(([base, perSecond, per, more, interfaces], index) => ({
      name: `limit${index}`,
      ...base,
      ...perSecond,
      ...per,
      ...more,
      ...(interfaces && { interfaces }),
    })),
  )

type Entry = string | { readonly interfaces?: readonly number[] }

/** The entries with names of interfaces in place of their numbers. */
const named = (names: readonly string[], entries: readonly Entry[]): unknown[] =>
  entries.map((one) => {
    if (typeof one === 'string' || one.interfaces === undefined) return one
    return { ...one, interfaces: [...new Set(one.interfaces.map((number) => names[number % names.length]))] }
  })

const numbered = fc.record(
  {
    version: fc.constant(1),
    interfaces: fc.dictionary(
      fc.stringMatching(/^[a-z]{1,5}[0-9]$/),
      fc.record(
        { mode: fc.constantFrom('native', ['generic', 'native']), missing: fc.constantFrom('skip', 'error') },
        { requiredKeys: [] },
      ),
      { minKeys: 1, maxKeys: 4 },
    ),
    policy: fc.record({ default: fc.constantFrom('pass', 'drop') }),
    allowlist: fc.array(entry, { maxLength: 6 }),
    blocklist: fc.array(entry, { maxLength: 10 }),
    rate_limits: limits,
    limits: fc.record({ rate_buckets: fc.integer({ min: 1024, max: 5000 }) }),
  },
  { requiredKeys: ['version', 'interfaces'] },
)
const config = numbered.map((written) => {
  const names = Object.keys(written.interfaces)
  const { allowlist, blocklist, rate_limits: own } = written
  return {
    ...written,
    ...(allowlist && { allowlist: named(names, allowlist) }),
    ...(blocklist && { blocklist: named(names, blocklist) }),
    ...(own && { rate_limits: named(names, own) }),
  }
})

/** Shuffles the keys of every mapping and the elements of every list in a value. */
function shuffled(value: unknown, random: () => number): unknown {
  const order = <T>(items: readonly T[]): T[] =>
    items
      .map((item) => ({ item, rank: random() }))
      .sort((left, right) => left.rank - right.rank)
      .map(({ item }) => item)
  if (Array.isArray(value)) {
    const items = value.map((item) => shuffled(item, random))
    // The only orders with a meaning: modes are in the order of preference, rate limits in that of judgement.
    const isOrdered = (item: unknown): boolean =>
      item === 'generic' || item === 'native' || `${(item as { readonly name?: string }).name}`.startsWith('limit')
    return value.every(isOrdered) ? items : order(items)
  }
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(order(Object.entries(value)).map(([key, item]) => [key, shuffled(item, random)]))
}

test('the order of keys and entries, and the YAML style, do not change the state', async () => {
  const directory = writeFiles({})
  const read = async (text: string): Promise<unknown> => {
    writeFileSync(join(directory, 'xdp.yaml'), text)
    const result = await load(join(directory, 'xdp.yaml'))
    if (result instanceof XdpError) throw result
    return meaning(result)
  }
  await fc.assert(
    fc.asyncProperty(config, fc.infiniteStream(fc.double({ min: 0, max: 1, noNaN: true })), async (written, ranks) => {
      const random = (): number => ranks.next().value ?? 0
      const expected = await read(stringify(written))
      expect(await read(stringify(shuffled(written, random)))).toEqual(expected)
      expect(await read(JSON.stringify(shuffled(written, random)))).toEqual(expected)
      expect(await read(stringify(written).replaceAll('\n', '\r\n'))).toEqual(expected)
    }),
    { numRuns: 60 },
  )
})

/** The ports and interfaces of a scope as keys of an entry. */
const scopeKeys = ({ protocol, sourcePorts, destinationPorts, interfaces }: Scope) => ({
  ...(protocol === 'any' ? {} : { protocol }),
  ...(sourcePorts.length > 0 && { source_port: sourcePorts.map((at) => `${at.first}-${at.last}`) }),
  ...(destinationPorts.length > 0 && { destination_port: destinationPorts.map((at) => `${at.first}-${at.last}`) }),
  ...(interfaces && { interfaces }),
})

const rangeTexts = ({ v4, v6 }: AddressSet): string[] =>
  [v4, v6].flatMap(({ family, length, start, end }) =>
    Array.from({ length }, (_, at) => formatRange(family, start, end, at * wordsOf(family))),
  )

/** A limit with every key that it can have. */
const writtenLimit = ({ name, scope: of, sources, per, prefix, packets, bits: bitRate, action, ban }: RateLimit) => ({
  name,
  ...scopeKeys(of),
  ...(typeof sources === 'object' ? { cidrs: rangeTexts(sources) } : { cidr: 'any' }),
  per,
  ...(per === 'all' ? {} : { prefix }),
  ...(packets && { packets_per_second: packets.perSecond, burst: packets.burst }),
  ...(bitRate && { bits_per_second: bitRate.perSecond, burst_bits: bitRate.burst }),
  action,
  ...(ban && { ban: { for: `${ban.forMs / 1000}s`, after: `${ban.afterMs / 1000}s` } }),
})

test('a state written as a file reads back as that state', async () => {
  const directory = writeFiles({})
  const path = join(directory, 'xdp.yaml')
  const read = async (text: string): Promise<Desired> => {
    writeFileSync(path, text)
    const result = await load(path)
    if (result instanceof XdpError) throw result
    return result
  }
  await fc.assert(
    fc.asyncProperty(config, async (written) => {
      const first = await read(stringify(written))
      const entries = (kind: string): unknown[] =>
        [...first.state.lists.values()]
          .filter((list) => list.kind === kind)
          .flatMap(({ sets }) =>
            sets.map(({ scope: of, addresses }) => ({ cidrs: rangeTexts(addresses), ...scopeKeys(of) })),
          )
      const again = await read(
        stringify({
          ...written,
          allowlist: entries('allowlist'),
          blocklist: entries('blocklist'),
          rate_limits: [...(first.state.rateLimits?.values() ?? [])].map(writtenLimit),
        }),
      )
      expect(meaning(again)).toEqual(meaning(first))
    }),
    { numRuns: 60 },
  )
})

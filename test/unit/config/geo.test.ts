// Entries with `country` or `asn`: the networks of a database, and databases of any content.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { type CountryResponse, Reader } from 'mmdb-lib'
import { expect, onTestFinished, test } from 'vitest'
import { openCache } from '../../../src/cache/cache.ts'
import { readGeo } from '../../../src/config/feed/mmdb.ts'
import { type Loaded, loadConfig } from '../../../src/config/load.ts'
import type { Diagnostic } from '../../../src/diagnostics.ts'
import { originOf } from '../../../src/model/provenance.ts'
import { contains } from '../../../src/model/ranges.ts'
import { formatAddress, formatRange, parsePrefix } from '../../../src/model/text.ts'
import { errorsOf, HEAD, loadText, writeFiles } from '../../support/config.ts'
import { country, type Database, database, system } from '../../support/mmdb.ts'

const NETWORKS: Database['networks'] = [
  ['192.0.2.0/24', country('XX')],
  ['192.0.2.128/25', country('YY')],
  ['198.51.100.0/24', country('XX')],
  ['203.0.113.0/24', { registered_country: { iso_code: 'XX' } }],
  ['2001:db8::/32', country('XX')],
  ['2001:db8:5::/48', country('YY')],
]

/** The ranges of a set as texts. */
const rangesOf = ({ desired }: Loaded, list: string): string[] => {
  const addresses = desired.state.lists.get(list)?.sets[0]?.addresses
  return [addresses?.v4, addresses?.v6].flatMap((ranges) =>
    ranges
      ? Array.from({ length: ranges.length }, (_, i) =>
          formatRange(ranges.family, ranges.start, ranges.end, i * (ranges.family === 4 ? 1 : 4)),
        )
      : [],
  )
}

const GEO = 'geo: { country: geo/country.mmdb, asn: geo/asn.mmdb }\n'
const files = (networks = NETWORKS) => ({
  'geo/country.mmdb': database({ networks, aliased: true }),
  'geo/asn.mmdb': database({
    type: 'Test-ASN',
    networks: [
      ['192.0.2.0/25', system(64496)],
      ['198.51.100.0/24', system(64511)],
    ],
  }),
})

test('countries and systems become lists, with their database as origin', async () => {
  const text = `${HEAD}${GEO}blocklist:\n  - { name: abroad, country: [XX, YY] }\n  - { name: one, country: YY, protocol: tcp }\nallowlist:\n  - { name: partner, asn: 64496 }\n`
  const loaded = await loadText(text, files())
  expect(loaded.warnings).toEqual([])
  expect(rangesOf(loaded, 'abroad')).toEqual(['192.0.2.0/24', '198.51.100.0/24', '2001:db8::/32'])
  expect(rangesOf(loaded, 'one')).toEqual(['192.0.2.128/25', '2001:db8:5::/48'])
  expect(rangesOf(loaded, 'partner')).toEqual(['192.0.2.0/25'])
  const { desired } = loaded
  expect(originOf(desired.provenance, 'abroad', 4, Uint32Array.of(0xc0000281))).toEqual({
    at: expect.stringMatching(/\/geo\/country\.mmdb$/),
    about: 'country YY of Test-Country, built 2026-09-21',
    entry: '192.0.2.128/25',
  })
  expect(originOf(desired.provenance, 'partner', 4, Uint32Array.of(0xc0000201))?.about).toContain('AS64496 of Test-ASN')
  expect(desired.feeds.map(({ list, maxShrink, files: [file] }) => [list, maxShrink, file?.format])).toContainEqual([
    'abroad',
    0.5,
    'mmdb',
  ])
  expect(desired.sources?.files.filter(({ path }) => path.endsWith('.mmdb'))).toHaveLength(2)
})

const CASES: readonly (readonly [what: string, entry: string, code: string, words: string, geo?: string])[] = [
  ['no database', 'country: XX', 'E267', 'names no database of countries', ''],
  ['an unknown country', 'country: [XX, ZZ]', 'E268', 'no network of the country "ZZ"'],
  ['a code that is no country', 'country: UK', 'E268', 'no network of the country "UK"'],
  ['no system of the database', 'asn: [65000, 65001]', 'E268', 'the entry is empty'],
  [
    'a database of the other kind',
    'asn: 64496',
    'E267',
    'has no autonomous systems',
    'geo: { asn: geo/country.mmdb }\n',
  ],
  ['no such file', 'country: XX', 'E001', 'does not exist', 'geo: { country: geo/none.mmdb }\n'],
  ['another file', 'country: XX', 'E267', 'is damaged', 'geo: { country: xdp.yaml }\n'],
  ['a small letter', 'country: xx', 'E013', 'two capital letters'],
  ['a number with AS', 'asn: AS64496', 'E013', 'a number without AS'],
  ['a key of files', 'country: XX, format: csv', 'E038', 'format applies to entries with file or url'],
  ['two sources', 'country: XX, asn: 64496', 'E026', 'country and asn'],
]

test.each(CASES.map(([what, entry, code, words, geo = GEO]) => ({ what, entry, code, words, geo })))(
  '$what is an error with its place',
  async ({ entry, code, words, geo }) => {
    const directory = writeFiles({ ...files(), 'xdp.yaml': `${HEAD}${geo}blocklist: [{ name: abroad, ${entry} }]\n` })
    const errors: readonly Diagnostic[] = await errorsOf(join(directory, 'xdp.yaml'))
    expect(errors).toMatchObject([{ code, message: expect.stringContaining(words), at: { line: expect.any(Number) } }])
  },
)

test('a system that ended is a warning while others of the entry are there', async () => {
  const { warnings } = await loadText(`${HEAD}${GEO}blocklist: [{ asn: [64496, 65000] }]\n`, files())
  expect(warnings).toMatchObject([{ code: 'W264', message: expect.stringContaining('AS65000') }])
})

test('the cache gives what the database gives', async () => {
  const directory = writeFiles({
    ...files(),
    'xdp.yaml': `${HEAD}${GEO}blocklist: [{ name: abroad, country: [XX, YY] }]\n`,
  })
  const place = mkdtempSync(join(tmpdir(), 'xdp-geo-'))
  onTestFinished(() => rmSync(place, { recursive: true }))
  const load = () => {
    const reads: string[] = []
    const cache = openCache(join(place, 'cache'), process.geteuid?.() ?? 0)
    const noted = {
      ...cache,
      problem: undefined,
      write: cache.write.bind(cache),
      read: (name: string) => {
        const found = cache.read(name)
        if (found) reads.push(name)
        return found
      },
    }
    return loadConfig(join(directory, 'xdp.yaml'), { shelf: { cache: noted } }).then((loaded) => ({ loaded, reads }))
  }
  const [first, second] = [await load(), await load()]
  expect([first.reads.length, second.reads.length]).toEqual([0, 1])
  expect(second.loaded.desired.state).toEqual(first.loaded.desired.state)
  expect(second.loaded.desired.provenance.lists).toEqual(first.loaded.desired.provenance.lists)
  writeFileSync(
    join(directory, 'geo/country.mmdb'),
    database({
      networks: [
        ['192.0.2.0/24', country('XX')],
        ['192.0.2.0/28', country('YY')],
      ],
    }),
  )
  expect(rangesOf((await load()).loaded, 'abroad')).toEqual(['192.0.2.0/24'])
})

const prefixes = fc.oneof(
  fc.tuple(fc.integer({ min: 0, max: 0xffffffff }), fc.integer({ min: 1, max: 32 })).map(([word, length]) => {
    const mask = length === 32 ? 0xffffffff : ~(0xffffffff >>> length)
    return `${formatAddress(4, Uint32Array.of((word & mask) >>> 0))}/${length}`
  }),
  fc.tuple(fc.integer({ min: 0, max: 0xffff }), fc.integer({ min: 20, max: 32 })).map(([word, length]) => {
    const bits = (((0x2000_0000 | (word << 3)) >>> 0) & ~(0xffffffff >>> length || 0)) >>> 0
    return `${formatAddress(6, Uint32Array.of(length === 32 ? (0x20000000 | (word << 3)) >>> 0 : bits, 0, 0, 0))}/${length}`
  }),
)

test('networks are those that the library finds for their addresses', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(prefixes, fc.constantFrom('XX', 'YY', 'ZZ')), { minLength: 1, maxLength: 30 }),
      fc.constantFrom(24, 28, 32),
      fc.boolean(),
      (written, recordSize, aliased) => {
        const length = ([prefix]: readonly [string, string]): number => Number(prefix.split('/')[1])
        const sorted = written.toSorted((left, right) => length(left) - length(right))
        const networks = sorted.map(([prefix, code]) => [prefix, country(code)] as const)
        const bytes = database({ networks, recordSize: recordSize as 24, aliased })
        const reader = new Reader<CountryResponse>(bytes)
        const found = readGeo(bytes, 'country', new Set(['XX', 'YY', 'ZZ']))
        for (const [text] of networks) {
          const prefix = parsePrefix(text)
          if (!prefix) throw new Error(text)
          // 6to4 addresses stand for IPv4 ones, and are left out.
          if (prefix.family === 6 && (prefix.start[0] as number) >>> 16 === 0x2002) continue
          for (const words of [prefix.start, prefix.end]) {
            const code = reader.get(formatAddress(prefix.family, words))?.country?.iso_code
            const own = [...found.networks].filter(
              ([, one]) => contains(one[prefix.family === 4 ? 'v4' : 'v6'], words) >= 0,
            )
            expect(own.map(([name]) => name)).toEqual(code === undefined ? [] : [code])
          }
        }
      },
    ),
    { numRuns: 100 },
  )
})

test('a database of any content is read or refused, and never hangs', () => {
  const sound = database({ networks: NETWORKS, aliased: true })
  const read = (bytes: Buffer): string => {
    try {
      return readGeo(bytes, 'country', new Set(['XX'])).type
    } catch (error) {
      expect(error).toBeInstanceOf(Error)
      return 'refused'
    }
  }
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(sound.length - 1), fc.nat(255)), { minLength: 1, maxLength: 8 }),
      fc.nat(sound.length),
      (edits, cut) => {
        const bytes = Buffer.from(sound)
        for (const [at, value] of edits) bytes[at] = value
        read(bytes)
        read(sound.subarray(0, cut))
      },
    ),
    { numRuns: 300 },
  )
  // Each node leads to the next one twice: 2^128 paths.
  const nodes = 128
  const tree = Buffer.alloc(nodes * 7)
  for (let node = 0; node < nodes; node++) {
    tree.writeUIntBE(node + 1, node * 7, 3)
    tree.writeUIntBE(node + 1, node * 7 + 4, 3)
  }
  const small = database({ networks: [['192.0.2.0/24', country('XX')]], metadata: { node_count: nodes } })
  const own = database({ networks: [['192.0.2.0/24', country('XX')]] })
  expect(read(Buffer.concat([tree, small.subarray(own.indexOf(Buffer.alloc(16)))]))).toBe('refused')
  expect(read(database({ networks: NETWORKS, metadata: { node_count: 4_000_000_000 } }))).toBe('refused')
  expect(read(Buffer.alloc(0))).toBe('refused')
})

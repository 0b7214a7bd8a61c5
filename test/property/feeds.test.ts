// Feeds: readers accept the output of writers of each format, and no bytes make a reader throw anything but an
// XdpError.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { loadConfig } from '../../src/config/load.ts'
import { XdpError } from '../../src/diagnostics.ts'
import type { AddressSet } from '../../src/model/address.ts'
import { formatRange, prefixOf } from '../../src/model/text.ts'
import { HEAD, writeFiles } from '../support/config.ts'
import { addresses } from '../support/states.ts'

const word = fc.nat({ max: 0xffffffff })

/** Addresses, prefixes and ranges of either family. */
const entry = fc.oneof(
  fc.tuple(word, fc.nat({ max: 32 })).map(([address, length]) => {
    const { start, end } = prefixOf({ family: 4, words: Uint32Array.of(address) }, length)
    return formatRange(4, start, end)
  }),
  fc.tuple(word, word, fc.integer({ min: 3, max: 128 })).map(([high, low, length]) => {
    const { start, end } = prefixOf({ family: 6, words: Uint32Array.of(0x20010db8, high, 0, low) }, length)
    return formatRange(6, start, end)
  }),
)
const range = fc.tuple(word, word).map(([left, right]) => {
  const [start, end] = [Uint32Array.of(Math.min(left, right)), Uint32Array.of(Math.max(left, right))]
  return formatRange(4, start, end)
})

interface Printed {
  readonly keys: string
  readonly print: (entries: readonly string[]) => string
}

const lines = (texts: readonly string[]): string => texts.map((text) => `${text}\n`).join('')
const FORMATS: Readonly<Record<string, Printed>> = {
  plain: { keys: '', print: lines },
  commented: { keys: '', print: (entries) => `# feed\n${lines(entries.map((text) => ` ${text} ; SBL1 # x\r`))}` },
  spaced: { keys: '', print: (entries) => lines(entries.map((text) => text.replace('-', ' - '))) },
  jsonl: { keys: '', print: (entries) => lines(entries.map((cidr, id) => JSON.stringify({ cidr, id }))) },
  'jsonl, second field': {
    keys: ', column: net',
    print: (entries) => lines(entries.map((net, id) => JSON.stringify({ id, net }))),
  },
  csv: {
    keys: ', column: net',
    print: (entries) => `id,net\n${lines(entries.map((net, id) => `"a ""b"", ${id}","${net}"`))}`,
  },
}

async function read(directory: string): Promise<AddressSet | undefined> {
  const { desired } = await loadConfig(join(directory, 'xdp.yaml'))
  return desired.state.lists.get('feed')?.sets[0]?.addresses
}

const config = (keys: string): string =>
  `${HEAD}blocklist: [{ name: feed, file: feed, exclude_private: false, min_prefix: { v4: 0, v6: 0 }${keys} }]\n`

test.each(Object.entries(FORMATS))('entries printed as %s read back', async (_, { keys, print }) => {
  const directory = writeFiles({ 'xdp.yaml': config(keys) })
  const entries = fc.array(fc.oneof(entry, range), { minLength: 1, maxLength: 20 })
  await fc.assert(
    fc.asyncProperty(entries, fc.boolean(), async (texts, packed) => {
      writeFileSync(join(directory, 'feed'), packed ? gzipSync(print(texts)) : print(texts))
      expect(await read(directory)).toEqual(addresses(...texts))
    }),
    { numRuns: 60 },
  )
})

test('output of ipset save reads back', async () => {
  const directory = writeFiles({ 'xdp.yaml': config('') })
  await fc.assert(
    fc.asyncProperty(fc.array(entry, { minLength: 1, maxLength: 20 }), async (texts) => {
      const create = 'create a hash:net family inet hashsize 1024 maxelem 65536\n'
      writeFileSync(join(directory, 'feed'), create + lines(texts.map((text) => `add a ${text} timeout 60`)))
      expect(await read(directory)).toEqual(addresses(...texts))
    }),
    { numRuns: 60 },
  )
})

test('no bytes crash a reader, and every error has a location in a file', async () => {
  const pieces = [
    '{"cidr":"',
    '"}',
    '{',
    '"type":"metadata"',
    'add a ',
    'create a hash:ip',
    '192.0.2.1',
    '/24',
    '::',
    '\n',
    ',',
    '"',
    ';',
    '#',
    ' - ',
    '\u001f\u008b',
  ]
  const piece = fc.oneof(
    { weight: 4, arbitrary: fc.constantFrom(...pieces).map((text) => Buffer.from(text, 'latin1')) },
    { weight: 1, arbitrary: fc.uint8Array({ maxLength: 8 }).map((bytes) => Buffer.from(bytes)) },
  )
  const keys = [
    '',
    ', column: a',
    ', column: 2',
    ', format: csv, column: 1',
    ', format: jsonl',
    ', format: ipset',
    ', on_bad_line: skip',
    ', format: csv, column: 1, on_bad_line: skip',
  ]
  const directory = writeFiles({})
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...keys), fc.array(piece, { maxLength: 20 }), async (key, parts) => {
      writeFileSync(join(directory, 'xdp.yaml'), config(key))
      writeFileSync(join(directory, 'feed'), Buffer.concat(parts))
      try {
        await read(directory)
      } catch (error) {
        expect(error).toBeInstanceOf(XdpError)
        for (const { at } of (error as XdpError).diagnostics) expect(at?.length).toBeGreaterThan(0)
      }
    }),
    { numRuns: 500 },
  )
})

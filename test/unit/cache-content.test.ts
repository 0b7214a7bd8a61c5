// A cache may hold anything: no content of its files changes a result or fails a command.

import { copyFileSync, readdirSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { beforeEach, expect, test } from 'vitest'
import { openCache } from '../../src/cache/cache.ts'
import { packRecord, unpackRecord } from '../../src/cache/record.ts'
import { loadConfig } from '../../src/config/load.ts'
import { imageInCache, keepImage } from '../../src/kernel/host/memory.ts'
import { compileImage } from '../../src/tables/image/image.ts'
import { type Image, imageBytes } from '../../src/tables/layout/layout.ts'
import { HEAD, writeFiles } from '../support/config.ts'
import { ANY, addresses, listOf, prefix, slotsOf, stateOf } from '../support/tables.ts'

const UID = process.getuid?.() ?? 0
const INSTANCE = { instance: '/fs/xdp-as-code/default' }

let directory: string
let cached: string
const open = () => openCache(cached, UID)

/** More entries than a cache ignores. */
const lines = (first: number): string =>
  Array.from({ length: 5000 }, (_, i) => `198.${first}.${i >> 8}.${i & 255}`).join('\n')

beforeEach(() => {
  directory = writeFiles({
    'xdp.yaml': `${HEAD}blocklist: [{ name: a, file: a }, { name: b, file: b }]\n`,
    a: `${lines(18)}\n203.0.113.0/24\n2001:db8::/32\n`,
    b: lines(19),
  })
  cached = join(directory, 'cache')
})

/** The lists and their provenance as text. */
async function load(): Promise<string> {
  const { desired } = await loadConfig(join(directory, 'xdp.yaml'), { shelf: { cache: open() } })
  const lists = [...desired.state.lists.values()].map(({ name, sets }) => [name, sets])
  return JSON.stringify([lists, desired.feeds], (_, value) =>
    ArrayBuffer.isView(value) ? [...(value as Uint32Array)] : value,
  )
}

/** An image of more lines than a cache ignores. */
function largeImage(): { image: Image; lists: ReadonlyMap<string, ReturnType<typeof listOf>> } {
  const hosts = Array.from({ length: 60_000 }, (_, i) => prefix(4, BigInt((10 << 24) + i * 4099), 32))
  const state = stateOf([listOf('blocklist', 'large', [[ANY, addresses(hosts)]])])
  const meta = { generation: 1, netns: 1n, objectDigest: new Uint8Array(16) }
  return { image: compileImage({ state, slots: slotsOf(state), meta }), lists: state.lists }
}

test("files under each other's names are no content", async () => {
  const whole = await load()
  const names = readdirSync(cached)
  expect(names).toHaveLength(2)
  const [first, second] = names.map((name) => join(cached, name)) as [string, string]
  renameSync(first, `${first}-`)
  renameSync(second, first)
  renameSync(`${first}-`, second)
  expect(await load()).toBe(whole)
  copyFileSync(first, second)
  expect(await load()).toBe(whole)
})

test('records of other content are no parsed files', async () => {
  const whole = await load()
  const names = readdirSync(cached)
  const [record] = names.flatMap((name) => unpackRecord(open().read(name) as Buffer) ?? [])
  if (!record) throw new Error('the cache has no record')
  const facts = record.facts as Record<string, unknown>
  const others: readonly (readonly [unknown, readonly Uint32Array[]])[] = [
    [[], []],
    [null, record.columns],
    [facts, []],
    [facts, record.columns.slice(1)],
    [facts, [...record.columns, new Uint32Array(1)]],
    [facts, record.columns.map((column) => column.subarray(1))],
    [facts, record.columns.map(() => Uint32Array.of(1, 2, 3))],
    ...Object.keys(facts).map((name) => [{ ...facts, [name]: 7 }, record.columns] as const),
    ...Object.keys(facts).map((name) => [{ ...facts, [name]: undefined }, record.columns] as const),
    [{ ...facts, chunks: [] }, record.columns],
  ]
  for (const [other, columns] of others) {
    for (const name of names) open().write(name, packRecord(other, columns))
    expect(await load()).toBe(whole)
  }
})

test('random content is none', async () => {
  const whole = await load()
  const names = readdirSync(cached)
  await fc.assert(
    fc.asyncProperty(
      fc.json(),
      fc.array(fc.uint32Array({ maxLength: 9 }), { maxLength: 20 }),
      async (text, columns) => {
        for (const name of names) open().write(name, packRecord(JSON.parse(text), columns as unknown as Uint32Array[]))
        expect(await load()).toBe(whole)
      },
    ),
    { numRuns: 20 },
  )
})

test('an image is read only from a record of that image', () => {
  const { image, lists } = largeImage()
  keepImage({ cache: open() }, INSTANCE, { image, lists, services: undefined })
  const found = imageInCache({ cache: open() }, INSTANCE, image.header)
  expect(found && Buffer.compare(imageBytes(found.image), imageBytes(image))).toBe(0)
  const [name = ''] = readdirSync(cached)
  const record = unpackRecord(open().read(name) as Buffer)
  if (!record) throw new Error('the cache has no record')
  const { facts, columns } = record
  for (const [other, some] of [
    [facts, columns.slice(0, -1)],
    [facts, [...columns, new Uint32Array(3)]],
    [facts, columns.map((column, i) => (i === 2 ? column.subarray(16) : column))],
    [facts, []],
    [{}, columns],
    [[{ scopes: 3 }], columns],
    [null, columns],
  ] as const) {
    open().write(name, packRecord(other, some))
    expect(imageInCache({ cache: open() }, INSTANCE, image.header)).toBeUndefined()
  }
})

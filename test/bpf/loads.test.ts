// The data plane of tests keeps its programs from load to load. Here: it keeps nothing else that a test has written.

import { readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { bpftool } from '../../src/abi/command.ts'
import { ALL_PARTS } from '../../src/features/features.ts'
import { runBatch } from '../../src/kernel/tools/bpftool.ts'
import type { State } from '../../src/model/state.ts'
import { DataPlane, imageOf } from '../support/bpf.ts'
import { limitOf } from '../support/lists.ts'
import { balancing, service } from '../support/services.ts'

/** linux/bpf.h: a map of constants. */
const BPF_F_RDONLY_PROG = 0x80

let plane: DataPlane
let untouched: DataPlane
beforeAll(async () => {
  plane = await DataPlane.open()
  untouched = await DataPlane.open()
  await load(untouched)
})
afterAll(() => {
  plane.close()
  untouched.close()
})
beforeEach(async () => {
  plane.forget()
  await load(plane)
})

/** Uses every map. */
const stateWith = (flows: number): State => ({
  ...balancing([service('web', '192.0.2.10 80', { backends: ['10.0.0.11'], snatPool: ['10.0.9.1'] })], {
    policy: { flows, bans: 1024 },
  }),
  rateLimits: new Map([['a', limitOf({ ban: { forMs: 600_000, afterMs: 3000 } })]]),
})
const load = (one: DataPlane, flows = 1024): Promise<void> => one.load(imageOf(stateWith(flows)), ALL_PARTS)

interface Shown {
  readonly id: number
  readonly name: string
  readonly type: string
  readonly flags: number
  readonly bytes_key: number
  readonly bytes_value: number
  readonly max_entries: number
}

interface Loaded {
  readonly programs: readonly number[]
  /** But for constants. */
  readonly maps: readonly Shown[]
}

async function loadedIn(one: DataPlane): Promise<Loaded> {
  const directory = dirname(one.program('xdp_filter'))
  const show = readdirSync(directory)
    .sort()
    .map((name) => bpftool('prog', 'show', 'pinned', join(directory, name)))
  const programs = (await runBatch(show)) as { readonly id: number; readonly map_ids?: readonly number[] }[]
  const ids = new Set(programs.flatMap(({ map_ids = [] }) => map_ids))
  const maps = (await runBatch([...ids].map((id) => bpftool('map', 'show', 'id', `${id}`)))) as Shown[]
  return { programs: programs.map(({ id }) => id), maps: maps.filter(({ flags }) => (flags & BPF_F_RDONLY_PROG) === 0) }
}

const keyWords = (key: number, size: number): string[] =>
  Array.from({ length: size }, (_, i) => `${i < 4 ? (key >>> (8 * i)) & 255 : 0}`)

/** The first key and the last one: those that `write` uses. */
const endsOf = ({ max_entries }: Shown): number[] => [...new Set([0, max_entries - 1])]

/** Names and contents of the maps, of large ones the values at both ends. */
async function contentsOf(one: DataPlane): Promise<{ readonly name: string; readonly content: string }[]> {
  const { maps } = await loadedIn(one)
  const commands = maps.map((map) =>
    map.max_entries > 2048
      ? endsOf(map).map((key) => bpftool('map', 'lookup', 'id', `${map.id}`, 'key', ...keyWords(key, map.bytes_key)))
      : [bpftool('map', 'dump', 'id', `${map.id}`)],
  )
  const outputs = (await runBatch(commands.flat())).map((output) => JSON.stringify(output))
  return maps.map(({ name }, i) => ({ name, content: outputs.splice(0, commands[i]?.length).join() }))
}

/** Names of the maps of a data plane whose contents are not those of the untouched one. */
async function written(): Promise<string[]> {
  const [found, clean] = [await contentsOf(plane), await contentsOf(untouched)]
  expect(found.map(({ name }) => name)).toEqual(clean.map(({ name }) => name))
  return found.flatMap(({ name, content }, i) => (clean[i]?.content === content ? [] : [name]))
}

/** Writes the first and the last value of every map. */
async function write(maps: readonly Shown[]): Promise<void> {
  await runBatch(
    maps.flatMap((map) => {
      const bytes = Array.from({ length: map.bytes_value }, () => '255')
      const value = map.type === 'prog_array' ? ['pinned', plane.program('xdp_filter')] : bytes
      return endsOf(map).map((key) =>
        bpftool('map', 'update', 'id', `${map.id}`, 'key', ...keyWords(key, map.bytes_key), 'value', ...value),
      )
    }),
  )
}

test('what tests have written into any map is gone after `forget`, and the programs are the ones before', async () => {
  expect(await written()).toEqual([])
  const { programs, maps } = await loadedIn(plane)
  await write(maps)
  expect(await written()).toEqual(maps.map(({ name }) => name))
  plane.forget()
  await load(plane)
  expect((await loadedIn(plane)).programs).toEqual(programs)
  expect(await written()).toEqual([])
})

test('without `forget`, a load keeps the maps that the one before used, and no others', async () => {
  const { programs, maps } = await loadedIn(plane)
  await write(maps)
  await load(plane, 2048)
  expect((await loadedIn(plane)).programs).not.toEqual(programs)
  await load(plane)
  expect((await loadedIn(plane)).programs).toEqual(programs)
  const kept = await written()
  expect(kept).toEqual(expect.arrayContaining(['list_stats', 'service_stats', 'snat_ports', 'bans', 'interface_index']))
  for (const name of ['flows', 'policy', 'chain']) expect(kept).not.toContain(name)
})

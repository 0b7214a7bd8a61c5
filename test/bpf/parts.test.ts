// Optional parts of the programs: a program without one has no instruction and no map of it left in the kernel.

import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { anything, ran } from '../../src/abi/answer.ts'
import type { ProgramParts } from '../../src/abi/object.ts'
import { BALANCER_MAPS } from '../../src/features/balancer.ts'
import { ALL_PARTS, NO_PARTS } from '../../src/features/features.ts'
import { askBpftool, runBpftool } from '../../src/kernel/tools/bpftool.ts'
import { loadObject, withObjects } from '../../src/kernel/tools/object.ts'
import { prune } from '../../src/kernel/tools/prune.ts'
import { buildObject } from '../support/objects.ts'

const pins = `/sys/fs/bpf/xdp-test-parts-${process.pid}`
const files = `/dev/shm/xdp-test-parts-${process.pid}`
beforeEach(() => mkdirSync(files))
afterEach(() => {
  rmSync(pins, { recursive: true, force: true })
  rmSync(files, { recursive: true, force: true })
})

interface Shown {
  readonly bytes_xlated: number
  readonly bytes_jited?: number
  readonly map_ids: readonly number[]
}

interface Loaded extends Shown {
  /** Names of the maps that it holds. */
  readonly maps: readonly string[]
  /** The functions that are left of it, its own name included. */
  readonly functions: readonly string[]
}

async function look(name: string): Promise<Loaded> {
  const pin = `${pins}/${name}`
  const shown = (await askBpftool(anything, 'prog', 'show', 'pinned', pin)) as Shown
  const maps = shown.map_ids.map(
    async (id) => (await askBpftool(anything, 'map', 'show', 'id', `${id}`)) as { name: string },
  )
  const dump = (await askBpftool(anything, 'prog', 'dump', 'xlated', 'pinned', pin)) as readonly { proto?: string }[]
  const functions = dump.flatMap(({ proto }) => /(\w+)\(/.exec(proto ?? '')?.[1] ?? [])
  return { ...shown, maps: (await Promise.all(maps)).map((map) => map.name), functions }
}

describe.each(['xdp_filter', 'explain'])('%s', (program) => {
  const load = async (parts: ProgramParts): Promise<Loaded> =>
    withObjects(await loadObject(), parts, async (paths) => {
      for (const path of paths) await runBpftool('prog', 'loadall', path, pins)
      const loaded = await look(program)
      rmSync(pins, { recursive: true })
      return loaded
    })
  const balancing = ['balance_flow', 'balance_icmp', 'search_backend', 'send_error', 'make_linear']

  test('without services has no instruction and no map of the balancer', async () => {
    const [without, whole] = [await load(NO_PARTS), await load(ALL_PARTS)]
    for (const name of [...Object.values(BALANCER_MAPS), 'health', 'flow_budget']) {
      expect(whole.maps).toContain(name)
      expect(without.maps).not.toContain(name)
    }
    expect(without.maps).toContain('policy')
    expect(whole.functions).toEqual(expect.arrayContaining(balancing))
    expect(without.functions.filter((name) => balancing.includes(name))).toEqual([])
    expect(without.functions).toEqual(expect.arrayContaining([program, 'judge_class']))
    expect(without.bytes_xlated).toBeLessThan(whole.bytes_xlated / 3)
  })

  test('without entries for packets that have no socket never asks for one', async () => {
    const asking = ['is_socketless', 'has_tcp_socket', 'is_delivered']
    const only = (...names: readonly string[]) =>
      load(new Map([...NO_PARTS.keys()].map((name) => [name, names.includes(name)])))
    expect((await only('established')).functions.filter((name) => asking.includes(name))).toEqual([])
    const { functions } = await only('socketless')
    expect(functions).toEqual(expect.arrayContaining(asking))
    expect(functions).not.toContain('is_served')
  })
})

test('an object that is loaded as shipped has all parts', async () => {
  const { objects } = await loadObject()
  for (const { path } of objects) await runBpftool('prog', 'loadall', path, pins)
  expect((await look('xdp_filter')).functions).toContain('balance_flow')
})

test('prepared objects are removed after use', async () => {
  const [first = ''] = await withObjects(await loadObject(), NO_PARTS, async (paths) => {
    expect(readdirSync(dirname(paths[0] as string)).sort()).toEqual(['explain.bpf.o', 'xdp.bpf.o'])
    return paths
  })
  expect(() => readdirSync(dirname(first))).toThrow('ENOENT')
})

/** A program with two parts: each calls a function that the verifier checks alone, and writes to its own map. */
const TWO = `
#include "${fileURLToPath(new URL('../../bpf/include/parts.h', import.meta.url))}"
const volatile __u32 part_first = 1;
const volatile __u32 part_second = 1;
#define MAP(name) struct { __uint(type, BPF_MAP_TYPE_ARRAY); __type(key, __u32); __type(value, __u32); \\
	__uint(max_entries, 1); } name SEC(".maps")
MAP(map_first);
MAP(map_second);
__noinline int call_first(int at) { return bpf_get_smp_processor_id() >= at ? 1 : 0; }
__noinline int call_second(int at) { return bpf_get_smp_processor_id() >= at ? 2 : 0; }
static __always_inline void touch(void *map)
{
	__u32 zero = 0, *value = bpf_map_lookup_elem(map, &zero);
	if (value)
		*value += 1;
}
SEC("xdp") int two(struct xdp_md *ctx)
{
	int sum = 0;
	if (PART(first)) {
		touch(&map_first);
		sum += call_first(0);
	}
	if (PART(second)) {
		touch(&map_second);
		sum += call_second(0);
	}
	return sum;
}
`

test.each([
  [false, false],
  [true, false],
  [false, true],
  [true, true],
])('of two parts (first %s, second %s) only the chosen ones are in the program', async (first, second) => {
  const object = `${files}/two`
  const parts = new Map(Object.entries({ first, second }))
  writeFileSync(object, prune(readFileSync(buildObject(files, 'two', TWO)), parts))
  await runBpftool('prog', 'loadall', object, pins)
  const { maps, functions } = await look('two')
  const having = Object.entries({ first, second }).filter(([, has]) => has)
  expect(functions).toEqual(['two', ...having.map(([name]) => `call_${name}`)])
  // The loader binds every program to the object's constants.
  expect(maps.filter((name) => !name.includes('rodata'))).toEqual(having.map(([name]) => `map_${name}`))
  writeFileSync(`${files}/packet`, new Uint8Array(64))
  const run = await askBpftool(ran, 'prog', 'run', 'pinned', `${pins}/two`, 'data_in', `${files}/packet`)
  expect(run).toMatchObject({ retval: (first ? 1 : 0) + (second ? 2 : 0) })
})

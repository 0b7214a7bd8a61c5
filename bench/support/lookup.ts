// The kernel side of the lookup benchmark: one set in the address tables and in an LPM trie, and timed runs over both.

import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { bpftool, type Command } from '../../src/abi/command.ts'
import { LINE_SIZE } from '../../src/abi/generated.ts'
import { type MapShape, policyMap } from '../../src/abi/paths.ts'
import { SHARED_MAPS } from '../../src/features/features.ts'
import { runBatch, runBpftool } from '../../src/kernel/tools/bpftool.ts'
import { withExchange } from '../../src/kernel/tools/exchange.ts'
import type { Family, Ranges } from '../../src/model/address.ts'
import { DEFAULT_POLICY } from '../../src/model/policy.ts'
import { countPrefixes, prefixes } from '../../src/model/prefixes.ts'
import { EMPTY4, EMPTY6 } from '../../src/model/ranges.ts'
import type { List, State } from '../../src/model/state.ts'
import { compileImage } from '../../src/tables/image/image.ts'
import { imageBytes } from '../../src/tables/layout/layout.ts'
import { HIGH, LOW } from '../../src/tables/lines/lines.ts'
import { writeLines } from '../../test/support/lines.ts'
import type { Workload } from './sets.ts'

/** Built beside the bundle of the benchmark. */
const OBJECT = fileURLToPath(new URL('./lookup.bpf.o', import.meta.url))
const REQUEST_SIZE = 32
const QUERY_SIZE = 16
const QUERIES_A_LINE = LINE_SIZE / QUERY_SIZE
const PASS = 2

/** Lookups per run: few enough that the slowest run keeps softirqs off for at most 50 ms. */
export const LOOKUPS = 16_384
/** Keys per run that loads the trie: an insertion takes about 2 µs. */
const KEYS = 1024

/** Nanoseconds per lookup, of every round. */
export interface Times {
  readonly nothing: readonly number[]
  readonly tableHit: readonly number[]
  readonly tableMiss: readonly number[]
  readonly trieHit: readonly number[]
  readonly trieMiss: readonly number[]
  /** For sets of single IPv4 addresses, if requested. */
  readonly hashHit: readonly number[]
  readonly hashMiss: readonly number[]
}

export interface Loaded {
  readonly prefixes: number
  /** Milliseconds from the state to the image. */
  readonly compile: number
  /** Kernel memory of all maps of an instance with the set, in bytes. */
  readonly memory: number
  /** Growth of the kernel's slab memory while the trie was filled, in bytes. */
  readonly trieMemory: number
  measure(rounds: number): Promise<Times>
  close(): void
}

export function stateOf(sets: readonly Ranges[]): State {
  const lists = sets.map((set, i): List => {
    const addresses = { v4: set.family === 4 ? set : EMPTY4, v6: set.family === 6 ? set : EMPTY6 }
    const scope = { protocol: 'any', sourcePorts: [], destinationPorts: [] } as const
    return { kind: 'blocklist', name: `list-${i}`, sets: [{ scope, addresses }] }
  })
  return {
    program: undefined,
    policy: DEFAULT_POLICY,
    interfaces: new Map(),
    services: new Map(),
    lists: new Map(lists.map((list) => [list.name, list])),
  }
}

export function compile(state: State): Uint8Array {
  const lists = new Map([...state.lists.keys()].map((name, i) => [name, i]))
  const none = new Map<string, number>()
  const slots = { lists, interfaces: none, services: none, backends: none, pools: none }
  return imageBytes(
    compileImage({ state, slots, meta: { generation: 1, netns: 0n, objectDigest: new Uint8Array(16) } }),
  )
}

type Shape = Omit<MapShape, 'type' | 'keySize'> & {
  readonly type: MapShape['type'] | 'prog_array' | 'lru_hash'
  readonly keySize?: number
}

export const createMap = (pin: string, { name, type, keySize = 4, valueSize, entries, flags }: Shape): Command => {
  const sizes = ['key', keySize, 'value', valueSize, 'entries', entries, 'name', name, 'flags', flags].map(String)
  return bpftool('map', 'create', pin, 'type', type, ...sizes)
}

/** Kernel memory of the maps of an instance with this image. */
export async function instanceMemory(image: Uint8Array): Promise<number> {
  const directory = `/sys/fs/bpf/xdp-bench-memory-${process.pid}`
  mkdirSync(directory)
  try {
    const shapes = [policyMap(image.length / LINE_SIZE), ...SHARED_MAPS]
    await runBatch(shapes.map((shape) => createMap(`${directory}/${shape.name}`, shape)))
    const shown = await runBatch(shapes.map(({ name }) => bpftool('map', 'show', 'pinned', `${directory}/${name}`)))
    return shown.reduce(
      (sum: number, map) => sum + Number((map as { bytes_memlock: number | string }).bytes_memlock),
      0,
    )
  } finally {
    rmSync(directory, { recursive: true })
  }
}

/** Bytes of unreclaimable slab memory, which contains the trie's nodes. */
const slab = (): number => 1024 * Number(/^SUnreclaim: +(\d+)/m.exec(readFileSync('/proc/meminfo', 'utf8'))?.[1] ?? 0)

/** Puts a workload's set into new maps, and into a BPF hash if requested. Queries for `rounds` rounds are drawn now. */
export async function load(workload: Workload, rounds: number, withHash = false): Promise<Loaded> {
  const { family, set } = workload
  const hosts = withHash && workload.hosts ? addressesOf(set) : undefined
  const began = performance.now()
  const image = compile(stateOf([set]))
  const compiled = performance.now() - began
  const memory = await instanceMemory(image)
  const count = countPrefixes(set)
  const queryLines = (rounds * LOOKUPS) / QUERIES_A_LINE
  const firstQuery = image.length / LINE_SIZE
  const extended = new Uint8Array(image.length + 2 * queryLines * LINE_SIZE)
  extended.set(image)
  drawQueries(extended.subarray(image.length), workload, rounds * LOOKUPS)

  const directory = `/sys/fs/bpf/xdp-bench-${process.pid}`
  mkdirSync(directory)
  const close = (): void => rmSync(directory, { recursive: true })
  const program = (name: string): string => `${directory}/programs/${name}`
  try {
    const trie = { 4: 'lpm4', 6: 'lpm6' }[family]
    const sizes = ['key', family === 4 ? '8' : '20', 'value', '4', 'entries', String(count), 'flags', '1']
    await runBatch([
      createMap(`${directory}/policy`, policyMap(extended.length / LINE_SIZE)),
      bpftool('map', 'create', `${directory}/trie`, 'type', 'lpm_trie', ...sizes, 'name', trie),
      createMap(`${directory}/hash`, {
        name: 'hash4',
        type: 'hash',
        valueSize: 4,
        entries: hosts?.length ?? 1,
        flags: 0,
      }),
    ])
    const reuse = Object.entries({ policy: 'policy', [trie]: 'trie', hash4: 'hash' }).flatMap(([name, pin]) => [
      ...['map', 'name', name, 'pinned', `${directory}/${pin}`],
    ])
    await runBpftool('prog', 'loadall', OBJECT, `${directory}/programs`, ...reuse)
    await writeLines(program('table_write'), extended)
    const slabBefore = slab()
    await loadTrie(program(`load_${trie}`), set, count)
    const trieMemory = slab() - slabBefore
    if (hosts) await loadHash(program('load_hash4'), hosts)
    const steps = hosts ? [...STEPS, ...HASH_STEPS] : STEPS
    const measure = (wanted: number): Promise<Times> => time(program, family, firstQuery, queryLines, wanted, steps)
    return { prefixes: count, compile: compiled, memory, trieMemory, measure, close }
  } catch (error) {
    close()
    throw error
  }
}

/** Fills the first half of `bytes` with hits and the second with misses. */
function drawQueries(bytes: Uint8Array, workload: Workload, count: number): void {
  const out = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4)
  const words = new Uint32Array(workload.family === 4 ? 1 : 4)
  for (let i = 0; i < 2 * count; i++) {
    if (i < count) workload.hit(words)
    else workload.miss(words)
    if (workload.family === 4) out[i * 4 + 2 + LOW] = words[0] as number
    else
      for (let half = 0; half < 2; half++) {
        out[i * 4 + half * 2 + HIGH] = words[half * 2] as number
        out[i * 4 + half * 2 + LOW] = words[half * 2 + 1] as number
      }
  }
}

const runOf = (program: string, file: string, output: string, size: number): Command =>
  bpftool('prog', 'run', 'pinned', program, 'data_in', file, 'data_out', output, 'data_size_out', String(size))

function checkRuns(outputs: readonly unknown[]): void {
  for (const output of outputs) {
    if ((output as { retval: number }).retval !== PASS) throw new Error('a benchmark program failed')
  }
}

/** Inserts keys by a program that takes KEYS of them per run. `write` writes key `i` to a position. */
async function loadKeys(
  program: string,
  count: number,
  keySize: number,
  write: (view: DataView, at: number, i: number) => void,
): Promise<void> {
  await withExchange(async (directory) => {
    const commands: Command[] = []
    for (let done = 0; done < count; done += KEYS) {
      const keys = Math.min(KEYS, count - done)
      const view = new DataView(new ArrayBuffer(REQUEST_SIZE + keys * keySize))
      view.setUint32(0, keys, LOW === 0)
      for (let key = 0; key < keys; key++) write(view, REQUEST_SIZE + key * keySize, done + key)
      const file = `${directory}/${done}`
      writeFileSync(file, new Uint8Array(view.buffer))
      commands.push(runOf(program, file, '/dev/null', view.byteLength))
    }
    checkRuns(await runBatch(commands))
  })
}

/** Inserts the prefixes of a set in order, the fastest way. */
function loadTrie(program: string, set: Ranges, count: number): Promise<void> {
  const source = prefixes(set)
  return loadKeys(program, count, set.family === 4 ? 8 : 20, (view, at) => {
    const { value } = source.next()
    if (!value) throw new Error('fewer prefixes than counted')
    view.setUint32(at, value.length, LOW === 0)
    for (const [i, word] of value.words.entries()) view.setUint32(at + 4 + i * 4, word)
  })
}

const loadHash = (program: string, hosts: Uint32Array): Promise<void> =>
  loadKeys(program, hosts.length, 4, (view, at, i) => view.setUint32(at, hosts[i] as number))

/** Every address of a set with small ranges. */
export function addressesOf({ start, end, length }: Ranges): Uint32Array {
  const addresses: number[] = []
  for (let i = 0; i < length; i++) {
    for (let address = start[i] as number; address <= (end[i] as number); address++) addresses.push(address)
  }
  return Uint32Array.from(addresses)
}

const STEPS = ['nothing', 'tableHit', 'trieHit', 'tableMiss', 'trieMiss'] as const
const HASH_STEPS = ['hashHit', 'hashMiss'] as const
type Step = keyof Times

/** Runs everything once per round, each round with different queries. */
async function time(
  program: (name: string) => string,
  family: Family,
  firstQuery: number,
  queryLines: number,
  rounds: number,
  steps: readonly Step[],
): Promise<Times> {
  const names = {
    nothing: 'nothing',
    tableHit: `find_table${family}`,
    tableMiss: `find_table${family}`,
    trieHit: `find_lpm${family}`,
    trieMiss: `find_lpm${family}`,
    hashHit: 'find_hash4',
    hashMiss: 'find_hash4',
  } satisfies Record<Step, string>
  // The other structure has just filled the caches. Traffic does not alternate, so each timed run comes after runs of
  // the same program with queries of other rounds.
  const warmUps = [Math.floor(rounds / 3), Math.floor((2 * rounds) / 3)]
  return withExchange(async (directory) => {
    const jobs = Array.from({ length: rounds }, (_, round) => steps.map((step) => ({ step, round }))).flat()
    const commands = jobs.flatMap(({ step, round }, i) =>
      [...warmUps, 0].map((ahead) => {
        const view = new DataView(new ArrayBuffer(REQUEST_SIZE))
        const window = (round + ahead) % rounds
        const first = firstQuery + (step.endsWith('Miss') ? queryLines : 0) + (window * LOOKUPS) / QUERIES_A_LINE
        view.setUint32(0, LOOKUPS, LOW === 0)
        view.setUint32(4, first, LOW === 0)
        const file = `${directory}/${i}-${ahead}`
        writeFileSync(file, new Uint8Array(view.buffer))
        return runOf(program(names[step]), file, `${directory}/${i}.out`, REQUEST_SIZE)
      }),
    )
    checkRuns(await runBatch(commands))
    const times: Record<Step, number[]> = {
      ...{ nothing: [], tableHit: [], tableMiss: [], trieHit: [], trieMiss: [], hashHit: [], hashMiss: [] },
    }
    for (const [i, { step }] of jobs.entries()) {
      const answer = readFileSync(`${directory}/${i}.out`)
      const view = new DataView(answer.buffer, answer.byteOffset, answer.length)
      const hits = view.getUint32(12, LOW === 0)
      const expected = step.endsWith('Hit') ? LOOKUPS : 0
      if (step !== 'nothing' && hits !== expected) throw new Error(`${step}: ${hits} of ${expected} addresses found`)
      times[step].push(Number(view.getBigUint64(16, LOW === 0)) / LOOKUPS)
    }
    return times
  })
}

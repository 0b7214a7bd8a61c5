// Compares counters summed by stats_read with bpftool's dump of every CPU.

import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { bpftool, keyBytes } from '../../src/abi/command.ts'
import { INTERFACE_SLOTS, LINE_SIZE, LIST_SLOTS, STATS_KIND } from '../../src/abi/generated.ts'
import { type Paths, pinPaths } from '../../src/abi/paths.ts'
import { FILTER } from '../../src/features/filter.ts'
import { countersPart, readCounters, splitRequests } from '../../src/kernel/live/counters.ts'
import { runBatch, runParts } from '../../src/kernel/tools/bpftool.ts'
import { parseCpus, possibleCpus } from '../../src/kernel/tools/cpus.ts'
import type { State } from '../../src/model/state.ts'
import { DataPlane, imageOf, slotsOf } from '../support/bpf.ts'
import * as p from '../support/packets.ts'
import { slotsFor } from '../support/slots.ts'
import { ANY, DNS, list, scoped, state } from '../support/states.ts'

const directory = mkdtempSync(join(tmpdir(), 'xdp-stats-'))
let plane: DataPlane
let paths: Paths

beforeAll(async () => {
  plane = await DataPlane.open()
  paths = { ...pinPaths('', ''), program: (_, program) => plane.program(program) }
})
afterAll(() => {
  plane.close()
  rmSync(directory, { recursive: true })
})

const LISTS = state({
  policy: 'pass',
  lists: [
    list('blocklist', 'spamhaus', scoped(ANY, '198.51.100.0/24', '2001:db8::/32'), scoped(DNS, '203.0.113.9')),
    list('allowlist', 'office', scoped(ANY, '192.0.2.0-192.0.2.2')),
    list('blocklist', 'empty'),
  ],
})

/** Slots in another order than the names, with gaps. */
const SLOTS = new Map([
  ['spamhaus', 1023],
  ['office', 7],
  ['empty', 0],
])

/** Runs a packet through the filter on one CPU, `count` times. */
function run(cpu: number, source: string, count: number): void {
  const file = join(directory, 'packet')
  writeFileSync(file, p.packet(p.ethernet(), p.ipv4({ source }), p.udp()))
  const command = ['prog', 'run', 'pinned', plane.program('xdp_filter'), 'data_in', file, 'repeat', `${count}`]
  execFileSync('taskset', ['--cpu-list', `${cpu}`, 'bpftool', ...command], { stdio: 'ignore' })
}

/** CPUs that this process may run on. */
const online = parseCpus(
  /^Cpus_allowed_list:\s*(.*)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0',
).flatMap(({ first, count }) => Array.from({ length: count }, (_, i) => first + i))

test('sums the counts of all CPUs by interface slot and reason, and by list', async () => {
  await plane.load(imageOf(LISTS, { ...slotsFor(LISTS), lists: SLOTS }))
  await plane.attachTestRuns(63)
  for (const cpu of online) {
    run(cpu, '198.51.100.7', 10 + cpu)
    run(cpu, '192.0.2.1', 3)
    run(cpu, '8.8.8.8', 1)
  }
  const listed = online.reduce((sum, cpu) => sum + 10 + cpu, 0)
  const { interfaces, lists } = await readCounters(paths, 1)
  expect(interfaces).toHaveLength(INTERFACE_SLOTS)
  expect(Object.fromEntries(interfaces[63]?.entries() ?? [])).toMatchObject({
    blocklist: { packets: listed },
    allowlist: { packets: 3 * online.length },
    'default-pass': { packets: online.length },
    ban: { packets: 0, bytes: 0 },
  })
  const occurred = [...(interfaces[63]?.entries() ?? [])].filter(([, { packets }]) => packets > 0)
  expect(Object.fromEntries(occurred)).toEqual(await plane.reasons(63))
  const [, office, spamhaus] = await plane.lists([0, 7, 1023])
  expect(lists).toEqual([
    { name: 'empty', kind: 'blocklist', prefixes: 0, scopes: 0, observes: false, slot: 0, packets: 0, bytes: 0 },
    { name: 'office', kind: 'allowlist', prefixes: 2, scopes: 1, observes: false, slot: 7, ...office },
    { name: 'spamhaus', kind: 'blocklist', prefixes: 3, scopes: 2, observes: false, slot: 1023, ...spamhaus },
  ])
  expect(spamhaus?.packets).toBe(listed)
})

test('test runs change no counter', async () => {
  await plane.attachTestRuns(0)
  const before = await readCounters(paths, 1)
  run(0, '198.51.100.7', 5)
  expect(await readCounters(paths, 1)).toEqual(before)
})

test('reports the maximum number of lists, in runs of any size', async () => {
  const names = Array.from({ length: LIST_SLOTS }, (_, i) => `list-${`${i}`.padStart(4, '0')}`)
  const many: State = state({
    lists: names.map((name, i) => list('blocklist', name, scoped(ANY, `10.0.${i >> 8}.${i & 255}`))),
  })
  await plane.load(imageOf(many))
  const { lists } = await readCounters(paths, 1)
  expect(lists.map(({ name }) => name)).toEqual(names)
  expect(lists.map(({ slot }) => slot)).toEqual([...slotsOf(many).values()])
  expect(new Set(lists.map(({ prefixes }) => prefixes))).toEqual(new Set([1]))
})

test('reports no list for a policy without lists', async () => {
  await plane.loadState(state({ policy: 'drop' }))
  expect((await readCounters(paths, 1)).lists).toEqual([])
})

test('reports the readable lists of damaged tables, and all interfaces', async () => {
  await plane.load(imageOf(LISTS, { ...slotsFor(LISTS), lists: SLOTS }))
  await plane.attachTestRuns(9)
  run(online[0] ?? 0, '198.51.100.7', 2)
  const noise = Array.from({ length: LINE_SIZE }, () => `${0xa5}`)
  await runBatch([bpftool('map', 'update', 'pinned', plane.policy(), 'key', ...keyBytes(2), 'value', ...noise)])
  const { interfaces, lists } = await readCounters(paths, 1)
  expect(lists).toEqual([])
  expect(interfaces[9]?.get('blocklist')?.packets).toBe(2)
})

test('refuses a request larger than its answer', async () => {
  const part = countersPart(join(directory, 'more'), paths.program(1, FILTER.programs.stats), await possibleCpus())
  const [first] = part.commands
  const file = first?.argv[first.argv.indexOf('data_in') + 1] ?? ''
  truncateSync(file, 128)
  await expect(runParts(part)).rejects.toThrow('E108')
})

test('the sums of several CPU ranges add up to that of one range', async () => {
  await plane.load(imageOf(LISTS, { ...slotsFor(LISTS), lists: SLOTS }))
  await plane.attachTestRuns(5)
  for (const cpu of online) run(cpu, '198.51.100.7', 1 + cpu)
  const all = await readCounters(paths, 1)
  const total = (await possibleCpus()).reduce((sum, { count }) => sum + count, 0)
  const each = Array.from({ length: total }, (_, first) => ({ first, count: 1 }))
  const [apart] = await runParts(countersPart(join(directory, 'each'), paths.program(1, FILTER.programs.stats), each))
  expect(apart).toEqual(all)
  expect(apart.interfaces[5]?.get('blocklist')?.packets).toBe(online.reduce((sum, cpu) => sum + 1 + cpu, 0))
})

test('a run reads few enough values not to delay softirqs, for any number of CPUs', () => {
  const runs = (count: number) => splitRequests(STATS_KIND.INTERFACES, 64, 11, { first: 4, count })
  expect(runs(1)).toEqual(
    [0, 32].map((first) => ({ kind: STATS_KIND.INTERFACES, first, records: 32, first_cpu: 4, cpus: 1 })),
  )
  expect(runs(128).map(({ first, records }) => [first, records])).toEqual(
    Array.from({ length: 32 }, (_, i) => [2 * i, 2]),
  )
  expect(runs(1024)).toHaveLength(64)
  for (const { records, cpus } of runs(128)) expect(records * cpus * 11).toBeLessThanOrEqual(4096)
})

test('parses the kernel’s lists of CPUs', () => {
  expect(parseCpus('0-3,8,10-11\n')).toEqual([
    { first: 0, count: 4 },
    { first: 8, count: 1 },
    { first: 10, count: 2 },
  ])
  for (const text of ['', '\n', 'a', '3-1', '0,']) expect(parseCpus(text)).toEqual([])
})

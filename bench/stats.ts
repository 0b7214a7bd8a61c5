// npm run bench stats [-- --rounds N]: measures reading the counters, with the maximum number of them (63 interfaces,
// 1,024 lists) and with long lists (one of 1,000,000 addresses), compared with `xdp status`, which reads the tables,
// and with bpftool alone, which prints every CPU's value of every counter.
//
// Medians over rounds of one run each, in immediate succession, in a namespace and bpffs of the benchmark.

import { execFileSync } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { parseArgs } from 'node:util'
import { REASON, REASON_SLOTS } from '../src/abi/generated.ts'
import { pinPaths } from '../src/abi/paths.ts'
import { FILTER } from '../src/features/filter.ts'
import { countersPart } from '../src/kernel/live/counters.ts'
import { possibleCpus } from '../src/kernel/tools/cpus.ts'
import { type Cost, type Host, makeHost, sh, time } from './support/host.ts'
import { conclude, median, ratioText, table } from './support/report.ts'

const { values: options } = parseArgs({ options: { rounds: { type: 'string', default: '11' } } })
const INTERFACES = 63
const LISTS = 1024
const ADDRESSES = 1_000_000

const host = makeHost()

function apply(file: string): void {
  const [command, ...args] = host.xdp('apply', '--auto-approve', '-f', file) as [string, ...string[]]
  sh(command, ...args)
}

/** A config with every possible counter. */
function manyLists(): string {
  const names = Array.from({ length: INTERFACES }, (_, i) => (i === 0 ? host.device : `link${i}`))
  for (const name of names.slice(1)) {
    sh('ip', '-n', host.netns, 'link', 'add', name, 'type', 'veth', 'peer', 'name', `far-${name}`)
    sh('ip', '-n', host.netns, 'link', 'set', name, 'up')
  }
  const lists = Array.from({ length: LISTS }, (_, i) => `  - { name: list-${i}, cidr: 10.${i >> 8}.${i & 255}.0/24 }\n`)
  const interfaces = names.map((name) => `  ${name}: {}\n`)
  return host.write('many.yaml', `version: 1\ninterfaces:\n${interfaces.join('')}blocklist:\n${lists.join('')}`)
}

function longList(): string {
  const lines = Array.from({ length: ADDRESSES }, (_, i) => `${11 + (i >> 16) * 3}.${(i >> 8) & 255}.${i & 255}.7\n`)
  host.write('long.txt', lines.join(''))
  return host.write('long.yaml', `version: 1\ninterfaces: { ${host.device}: {} }\nblocklist: [{ file: long.txt }]\n`)
}

/** Looks up all counters in use, one by one in one bpftool process. */
function lookups(): string[] {
  const paths = pinPaths(host.bpffs, 'default')
  const key = (value: number): string => [0, 8, 16, 24].map((shift) => (value >>> shift) & 255).join(' ')
  const line = (map: string, at: number): string => `map lookup pinned ${map} key ${key(at)}\n`
  const slots = Array.from({ length: INTERFACES }, (_, i) => i + 1)
  const reasons = slots.flatMap((slot) => Object.values(REASON).map((reason) => slot * REASON_SLOTS + reason))
  const lists = Array.from({ length: LISTS }, (_, i) => i)
  const verdicts = reasons.map((at) => line(paths.sharedMap(FILTER.maps.verdictStats), at))
  const file = host.write(
    'lookups',
    [...verdicts, ...lists.map((at) => line(paths.sharedMap(FILTER.maps.listStats), at))].join(''),
  )
  return ['bpftool', '-j', 'batch', 'file', file]
}

async function measure(subjects: Readonly<Record<string, readonly string[]>>): Promise<Map<string, Cost[]>> {
  const costs = new Map<string, Cost[]>()
  for (let round = 0; round <= Number(options.rounds); round++) {
    for (const [name, argv] of Object.entries(subjects)) {
      const cost = await time([...argv])
      // The first round brings the files into the page cache.
      if (round > 0) costs.set(name, [...(costs.get(name) ?? []), cost])
    }
  }
  return costs
}

const wall = (costs: ReadonlyMap<string, readonly Cost[]>, name: string): number =>
  median((costs.get(name) ?? []).map((cost) => cost.wall))
const cpu = (costs: ReadonlyMap<string, readonly Cost[]>, name: string): number =>
  median((costs.get(name) ?? []).map((cost) => cost.cpu))

function show(title: string, costs: ReadonlyMap<string, readonly Cost[]>): void {
  const rows = [...costs.keys()].map((name) => [
    name,
    (1000 * wall(costs, name)).toFixed(0),
    (1000 * cpu(costs, name)).toFixed(0),
    ratioText(wall(costs, name) / wall(costs, 'node -e 0')),
  ])
  console.log(`${title}\n\n${table(['', 'ms', 'CPU ms', '× node -e 0'], rows)}\n`)
}

/**
 * Duration of a reading as measured by the process itself, without starting Node: the cost of a scrape of the endpoint.
 */
function look(from: Host): number {
  const [command, ...args] = from.xdp('stats', '--format', 'prometheus') as [string, ...string[]]
  const text = sh(command, ...args)
  return 1000 * Number(/^xdp_stats_duration_seconds (\S+)$/m.exec(text)?.[1])
}

/** Nanoseconds of each run of stats_read in the kernel, with softirqs off. */
async function kernelTimes(): Promise<number[]> {
  const status = JSON.parse(sh(host.xdp('status', '--json')[0] as string, ...host.xdp('status', '--json').slice(1)))
  const program = pinPaths(host.bpffs, 'default').program(status.generation, 'stats')
  const { commands } = countersPart(`${host.directory}/run`, program, await possibleCpus())
  return commands.map(({ argv }) => {
    const often = argv.map((word, i) => (argv[i - 1] === 'repeat' ? '200' : word))
    return JSON.parse(sh('bpftool', '-j', ...often)).duration as number
  })
}

const looks = (): number => median(Array.from({ length: Number(options.rounds) }, () => look(host)))

const idle = { 'node -e 0': [process.execPath, '-e', '0'] }
const commands = {
  'xdp stats': host.xdp('stats'),
  'xdp stats --format prometheus': host.xdp('stats', '--format', 'prometheus'),
  'xdp status': host.xdp('status'),
}
apply(longList())
const long = await measure({ ...idle, ...commands })
const longLook = looks()
show(`one list of ${ADDRESSES.toLocaleString('en')} addresses`, long)

apply(manyLists())
const naive = lookups()
const many = await measure({ ...idle, ...commands, 'bpftool, counter by counter': naive })
const manyLook = looks()
const runs = await kernelTimes()
show(`${INTERFACES} interfaces, ${LISTS.toLocaleString('en')} lists`, many)
const printed = execFileSync(naive[0] as string, naive.slice(1), { maxBuffer: 1 << 30 }).length
console.log(`bpftool prints ${(printed / 1024).toFixed(0)} KiB of JSON for ${availableParallelism()} CPUs`)
console.log(`in the kernel: ${runs.map((ns) => `${(ns / 1000).toFixed(0)} µs`).join(', ')} for the runs of one reading`)
console.log(`reading alone: ${manyLook.toFixed(0)} ms, with the long list ${longLook.toFixed(0)} ms`)
conclude(
  'stats',
  [
    {
      what: 'a reading with a list of a million, as a ratio to one with 1,024 short ones',
      kind: 'target',
      limit: 1.25,
      measured: longLook / manyLook,
    },
    {
      what: 'the longest run in the kernel, softirqs off',
      kind: 'target',
      limit: 0.5,
      measured: Math.max(...runs) / 1e6,
      unit: 'ms',
    },
    {
      what: 'xdp stats as a ratio to node -e 0, with a list of a million',
      kind: 'target',
      limit: 4,
      measured: wall(long, 'xdp stats') / wall(long, 'node -e 0'),
    },
  ],
  { long: Object.fromEntries(long), many: Object.fromEntries(many), longLook, manyLook, runs, printed },
)

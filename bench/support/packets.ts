// Whole programs instead of lookups: cost of a packet from a listed or unlisted source, above a program that passes
// everything. Ours and xdp-filter's, which holds at most 10,000 addresses.

import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { bpftool, type Command } from '../../src/abi/command.ts'
import { LINE_SIZE } from '../../src/abi/generated.ts'
import { policyMap } from '../../src/abi/paths.ts'
import { NO_PARTS } from '../../src/features/features.ts'
import { runBatch, runBpftool } from '../../src/kernel/tools/bpftool.ts'
import { withExchange } from '../../src/kernel/tools/exchange.ts'
import { loadObject, withObjects } from '../../src/kernel/tools/object.ts'
import { LOW } from '../../src/tables/lines/lines.ts'
import { writeLines } from '../../test/support/lines.ts'
import { dotted } from './addresses.ts'
import { sh } from './host.ts'
import { addressesOf, compile, createMap, stateOf } from './lookup.ts'
import { median } from './report.ts'
import { hosts4 } from './sets.ts'

const WRAPPER = fileURLToPath(new URL('./packets.bpf.o', import.meta.url))
/** Drops listed sources, IPv4 only: the smallest of xdp-filter's programs, which `-f ipv4 -p allow` loads. */
const THEIRS = ['/usr/lib/bpf', '/usr/lib/x86_64-linux-gnu/bpf', '/usr/lib/aarch64-linux-gnu/bpf', '/usr/lib64/bpf']
  .map((directory) => `${directory}/xdpfilt_alw_ip.o`)
  .find((file) => existsSync(file))
const THEIR_MOST = 10_000
const SIZES = [10, 10_000, 1_000_000]
const SOURCES = 2 ** 18
const REPEAT = 2 ** 16
const ROUNDS = 9
const DROP = 1
const PASS = 2

/** Nanoseconds per packet above the program that passes everything. */
export interface PacketCost {
  readonly count: number
  readonly ours: { readonly hit: number; readonly miss: number }
  readonly theirs?: { readonly hit: number; readonly miss: number }
}

export const whyNoXdpFilter = (): string | undefined =>
  THEIRS ? undefined : 'xdpfilt_alw_ip.o (Debian package xdp-tools) is not installed'

/** A UDP datagram; struct sources follows the UDP header. */
function frameOf(line: number): Uint8Array {
  const frame = new Uint8Array(64)
  const view = new DataView(frame.buffer)
  frame.set([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0, 0, 50], 0)
  frame.set([64, 17], 22)
  frame.set([192, 0, 2, 1, 0, 9, 0, 9, 0, 30], 30)
  view.setUint32(42, line, LOW === 0)
  view.setUint32(46, SOURCES, LOW === 0)
  return frame
}

interface Subject {
  readonly name: string
  readonly program: string
  readonly kind: 'plain' | 'frags'
  readonly drops: boolean
}

/** Its maps pin themselves below /sys/fs/bpf, so a mount namespace replaces that by a directory of ours. */
async function loadTheirs(directory: string, hosts: Uint32Array): Promise<string> {
  const root = `${directory}/theirs`
  mkdirSync(root)
  const script = 'mount --bind "$1" /sys/fs/bpf && exec bpftool prog load "$2" /sys/fs/bpf/program'
  sh('unshare', '--mount', 'sh', '-c', script, 'sh', root, THEIRS as string)
  // Bit 0 of the value: the address is matched as the source.
  const value = '1 0 0 0 0 0 0 0'.split(' ')
  await runBatch(
    Array.from(hosts, (host) => {
      const key = dotted(host, ' ').split(' ')
      return bpftool('map', 'update', 'pinned', `${root}/filter_ipv4`, 'key', ...key, 'value', ...value)
    }),
  )
  return `${root}/program`
}

async function loadAll(directory: string, count: number): Promise<{ subjects: Subject[]; firstLine: number }> {
  const workload = hosts4(count)
  const image = compile(stateOf([workload.set]))
  const all = new Uint8Array(image.length + 2 * SOURCES * 4)
  all.set(image)
  const view = new DataView(all.buffer, image.length)
  const words = new Uint32Array(1)
  for (let i = 0; i < 2 * SOURCES; i++) {
    if (i < SOURCES) workload.hit(words)
    else workload.miss(words)
    view.setUint32(i * 4, words[0] as number)
  }
  const arrays = ['plain', 'frags'] as const
  await runBatch([
    createMap(`${directory}/policy`, policyMap(all.length / LINE_SIZE)),
    ...arrays.map((name) =>
      createMap(`${directory}/${name}`, { name, type: 'prog_array', valueSize: 4, entries: 1, flags: 0 }),
    ),
  ])
  const reuse = (...names: readonly string[]): string[] =>
    names.flatMap((name) => ['map', 'name', name, 'pinned', `${directory}/${name}`])
  await runBpftool('prog', 'loadall', WRAPPER, `${directory}/run`, ...reuse('policy', ...arrays))
  await withObjects(await loadObject(), NO_PARTS, ([object = '']) =>
    runBpftool('prog', 'loadall', object, `${directory}/ours`, ...reuse('policy')),
  )
  await writeLines(`${directory}/run/table_write`, all)
  const subjects: Subject[] = [
    { name: 'nothing-plain', program: `${directory}/run/nothing_plain`, kind: 'plain', drops: false },
    { name: 'nothing-frags', program: `${directory}/run/nothing_frags`, kind: 'frags', drops: false },
    { name: 'ours', program: `${directory}/ours/xdp_filter`, kind: 'frags', drops: true },
  ]
  if (THEIRS && count <= THEIR_MOST) {
    const program = await loadTheirs(directory, addressesOf(workload.set))
    subjects.push({ name: 'theirs', program, kind: 'plain', drops: true })
  }
  return { subjects, firstLine: image.length / LINE_SIZE }
}

type Times = ReadonlyMap<string, readonly number[]>

/** Nanoseconds per packet of the second of two runs. */
async function timeOne(directory: string, subject: Subject, outcome: 'hit' | 'miss', frame: string): Promise<number> {
  const { name, program, kind, drops } = subject
  const run: Command = bpftool(
    ...['prog', 'run', 'pinned', `${directory}/run/run_${kind}`, 'data_in', frame],
    ...['data_out', '/dev/null', 'repeat', `${REPEAT}`],
  )
  const array = ['map', 'update', 'pinned', `${directory}/${kind}`, 'key', '0', '0', '0', '0']
  const outputs = await runBatch([bpftool(...array, 'value', 'pinned', program), run, run])
  const { retval, duration } = outputs.at(-1) as { retval: number; duration: number }
  const expected = drops && outcome === 'hit' ? DROP : PASS
  if (retval !== expected) throw new Error(`${name}, ${outcome}: returned ${retval}`)
  return duration
}

/** All subjects alternately. */
async function time(directory: string, subjects: readonly Subject[], firstLine: number): Promise<Times> {
  return withExchange(async (files) => {
    const times = new Map<string, number[]>()
    const frames = { hit: `${files}/hit`, miss: `${files}/miss` } as const
    writeFileSync(frames.hit, frameOf(firstLine))
    writeFileSync(frames.miss, frameOf(firstLine + (SOURCES * 4) / LINE_SIZE))
    const jobs = subjects.flatMap((subject) => (['hit', 'miss'] as const).map((outcome) => ({ subject, outcome })))
    for (let round = 0; round < ROUNDS; round++) {
      for (const { subject, outcome } of jobs) {
        const key = `${subject.name}-${outcome}`
        const duration = await timeOne(directory, subject, outcome, frames[outcome])
        times.set(key, [...(times.get(key) ?? []), duration])
      }
    }
    return times
  })
}

async function measureSize(count: number): Promise<PacketCost> {
  process.stderr.write(`whole programs, ${count.toLocaleString('en')} IPv4 hosts …\n`)
  const directory = `/sys/fs/bpf/xdp-bench-packets-${process.pid}`
  mkdirSync(directory)
  try {
    const { subjects, firstLine } = await loadAll(directory, count)
    const times = await time(directory, subjects, firstLine)
    const over = (name: string, outcome: string, nothing: string): number =>
      median(times.get(`${name}-${outcome}`) as number[]) - median(times.get(`${nothing}-${outcome}`) as number[])
    const cost = (name: string, nothing: string): { hit: number; miss: number } => ({
      hit: over(name, 'hit', nothing),
      miss: over(name, 'miss', nothing),
    })
    const theirs = times.has('theirs-hit') ? { theirs: cost('theirs', 'nothing-plain') } : {}
    return { count, ours: cost('ours', 'nothing-frags'), ...theirs }
  } finally {
    rmSync(directory, { recursive: true })
  }
}

export async function measurePackets(): Promise<PacketCost[]> {
  const costs: PacketCost[] = []
  for (const size of SIZES) costs.push(await measureSize(size))
  return costs
}

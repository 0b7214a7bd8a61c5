// A flood between the two ends of a host's wire, and the CPU time that each frame costs the receiver.
//
// Live frames are redirected into the veth, whose other end receives them in a separate kernel thread (threaded NAPI),
// pinned to another CPU than the sender. The figure is that thread's run time, divided by the number of received
// frames.

import { mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { bpftool } from '../../src/abi/command.ts'
import { LINE_SIZE } from '../../src/abi/generated.ts'
import { policyMap } from '../../src/abi/paths.ts'
import { runBatch, runBpftool } from '../../src/kernel/tools/bpftool.ts'
import { writeLines } from '../../test/support/lines.ts'
import { type Host, sh, which } from './host.ts'

const OBJECT = fileURLToPath(new URL('./flood.bpf.o', import.meta.url))
const GENERATOR = fileURLToPath(new URL('../../bench/generator.c', import.meta.url))
export const SENDER_CPU = '0'
export const RECEIVER_CPU = '1'
export const TARGET = '192.0.2.1'
const GATEWAY = '192.0.2.2'

export interface Flooded {
  /** Nanoseconds of CPU time per frame. */
  readonly ns: number
  readonly frames: number
  /** Share of the frames that reached the UDP layer. */
  readonly passed: number
  /** Share of the time that the receiver ran: well below 1 if the sender was slower. */
  readonly busy: number
}

/** Sources of a flood: `count` addresses from number `first`. */
export interface Sources {
  readonly first: number
  readonly count: number
}

/** Pinned programs that are the least a filter can do. */
export interface Baselines {
  /** Drops without a look at the frame. */
  readonly bare: string
  /** Reads the headers up to the source, then drops. */
  readonly drop: string
  /** Reads the headers up to the source, then passes. */
  readonly pass: string
}

/** Where the kernel gets rid of frames that pass: counted by UDP, or as soon as it sees another host's MAC address. */
export type Destination = 'here' | 'another-host'

export interface FloodHost {
  readonly baselines: Baselines
  /** Chooses the sources of the next floods. */
  aim(sources: Sources): Promise<void>
  flood(milliseconds: number, destination: Destination): Promise<Flooded>
}

/** Why floods cannot be measured here; undefined: they can. */
export function whyNoFlood(): string | undefined {
  if (availableParallelism() < 2) return 'two CPUs are needed'
  const missing = ['clang', 'ethtool', 'taskset', 'chrt', 'sysctl'].find((tool) => !which(tool))
  return missing ? `${missing} is not installed` : undefined
}

/** Compiles the generator; throws without a libc. */
export function compileGenerator(directory: string): string {
  const binary = join(directory, 'generator')
  sh('clang', '-O2', '-Wall', '-o', binary, GENERATOR)
  return binary
}

export const sysfs = (netns: string, path: string, value: string): string =>
  sh('ip', 'netns', 'exec', netns, 'sh', '-c', `echo ${value} > /sys/class/net/${path}`)

export const macOf = (netns: string, device: string): string =>
  (JSON.parse(sh('ip', '-n', netns, '-j', 'link', 'show', 'dev', device)) as [{ address: string }])[0].address

/** Addresses and routes of the wire, and a receiving thread. */
export function setUp(host: Host): void {
  const { netns, device, peer, peerDevice } = host
  const quiet = ['net.ipv6.conf.all.disable_ipv6=1', 'net.ipv6.conf.default.disable_ipv6=1']
  const routing = ['net.ipv4.conf.all.rp_filter=0', `net.ipv4.conf.${device}.rp_filter=0`]
  host.in('sysctl', '-qw', ...quiet, ...routing)
  sh('nsenter', `--net=/run/netns/${peer}`, 'sysctl', '-qw', ...quiet)
  sh('ip', '-n', netns, 'addr', 'add', `${TARGET}/24`, 'dev', device)
  const far = ['lladdr', macOf(peer, peerDevice), 'dev', device, 'nud', 'permanent']
  sh('ip', '-n', netns, 'neigh', 'replace', GATEWAY, ...far)
  // Unfiltered datagrams have arbitrary sources, and the kernel drops those without a route back.
  sh('ip', '-n', netns, 'route', 'add', 'default', 'via', GATEWAY)
  // Without GRO or XDP there is no NAPI, and frames redirected to the device would be lost.
  host.in('ethtool', '-K', device, 'gro', 'on')
  sysfs(netns, `${device}/threaded`, '1')
}

/** The receiving kernel thread, found by its name: the device name is unique. */
export function receiver(device: string): string {
  const found = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .find((pid) => {
      try {
        return readFileSync(`/proc/${pid}/comm`, 'utf8').startsWith(`napi/${device}-`)
      } catch {
        return false
      }
    })
  if (!found) throw new Error(`${device} has no receiving thread`)
  return found
}

export const runtime = (pid: string): number => Number(readFileSync(`/proc/${pid}/schedstat`, 'utf8').split(' ')[0])

/** Packets that a device has received. */
export const packetsOf = (netns: string, device: string): number =>
  (
    JSON.parse(sh('ip', '-n', netns, '-s', '-j', 'link', 'show', 'dev', device)) as [
      { stats64: { rx: { packets: number } } },
    ]
  )[0].stats64.rx.packets

const received = ({ netns, device }: Host): number => packetsOf(netns, device)

function arrived(host: Host): number {
  const [names, values] = host
    .in('cat', '/proc/net/snmp')
    .split('\n')
    .filter((line) => line.startsWith('Udp:'))
    .map((line) => line.split(/\s+/)) as [string[], string[]]
  return ['InDatagrams', 'NoPorts', 'InErrors'].reduce((sum, name) => sum + Number(values[names.indexOf(name)]), 0)
}

/** Line 0 is a struct flood; the addresses follow. In this machine's byte order. */
function imageOf(ifindex: number, { first, count }: Sources, addresses: Uint32Array): Uint8Array {
  const image = new Uint32Array(Math.ceil((LINE_SIZE + addresses.byteLength) / LINE_SIZE) * (LINE_SIZE / 4))
  image.set([ifindex, first, count])
  image.set(addresses, LINE_SIZE / 4)
  return new Uint8Array(image.buffer)
}

/** Above every ordinary process. */
const REAL_TIME = ['chrt', '-f', '10']

/**
 * Prepares a host for floods from the addresses. `realTime`: sender and receiver go before every ordinary process, so
 * that a busy machine can be measured on.
 */
export async function makeFloodHost(host: Host, addresses: Uint32Array, realTime: boolean): Promise<FloodHost> {
  const generator = compileGenerator(host.directory)
  setUp(host)
  const directory = `${host.bpffs}/flood`
  mkdirSync(directory)
  const policy = `${directory}/policy`
  const ifindex = Number(
    (JSON.parse(sh('ip', '-n', host.peer, '-j', 'link', 'show', 'dev', host.peerDevice)) as [{ ifindex: number }])[0]
      .ifindex,
  )
  const image = imageOf(ifindex, { first: 0, count: addresses.length }, addresses)
  const { type, valueSize, entries, flags } = policyMap(image.length / LINE_SIZE)
  const shape = ['type', type, 'key', '4', 'value', `${valueSize}`, 'entries', `${entries}`, 'flags', `${flags}`]
  await runBatch([bpftool('map', 'create', policy, ...shape, 'name', 'policy')])
  await runBpftool('prog', 'loadall', OBJECT, `${directory}/programs`, 'map', 'name', 'policy', 'pinned', policy)
  const program = (name: string): string => `${directory}/programs/${name}`
  await writeLines(program('table_write'), image)
  const macs: Readonly<Record<Destination, string>> = {
    here: macOf(host.netns, host.device),
    'another-host': '02:00:00:00:00:99',
  }
  const first = realTime ? REAL_TIME : []
  const enter = ['nsenter', `--net=/run/netns/${host.peer}`, ...first, 'taskset', '-c', SENDER_CPU]
  return {
    baselines: { bare: program('drop'), drop: program('headers_drop'), pass: program('headers_pass') },
    aim: (sources) => writeLines(program('table_write'), imageOf(ifindex, sources, new Uint32Array())),
    async flood(milliseconds, destination) {
      const thread = receiver(host.device)
      sh('taskset', '-pc', RECEIVER_CPU, thread)
      if (realTime) sh('chrt', '-f', '-p', '10', thread)
      const before = { ran: runtime(thread), frames: received(host), arrived: arrived(host) }
      const [file, ...args] = [...enter, generator, program('generate'), `${milliseconds}`, macs[destination], TARGET]
      sh(file as string, ...args)
      // Wait for the frames still in the ring.
      await new Promise((resolve) => setTimeout(resolve, 20))
      const frames = received(host) - before.frames
      const ran = runtime(thread) - before.ran
      return {
        ns: ran / frames,
        frames,
        passed: (arrived(host) - before.arrived) / frames,
        busy: ran / 1e6 / milliseconds,
      }
    },
  }
}

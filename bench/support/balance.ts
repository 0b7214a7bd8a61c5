// The kernel side of the balancer's benchmark: a loaded data plane, packets of flows, and timed runs that restore the
// packet before every turn and check its outcome.

import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { bpftool, type Command } from '../../src/abi/command.ts'
import { balanceCodec, LINE_SIZE } from '../../src/abi/generated.ts'
import { runBatch, runBpftool } from '../../src/kernel/tools/bpftool.ts'
import { withExchange } from '../../src/kernel/tools/exchange.ts'
import type { State } from '../../src/model/state.ts'
import type { ReasonName } from '../../src/report/reason.ts'
import { BALANCE_LINE } from '../../src/tables/layout/layout.ts'
import { LOW } from '../../src/tables/lines/lines.ts'
import { DataPlane, imageOf } from '../../test/support/bpf.ts'
import { seal } from '../../test/support/checksums.ts'
import * as p from '../../test/support/packets.ts'
import { createMap } from './lookup.ts'

const WRAPPER = fileURLToPath(new URL('./balance.bpf.o', import.meta.url))
const HEAD_SIZE = 96
const WORKLOAD_SIZE = 24 + HEAD_SIZE
/** Interface slot in whose counters the runs appear. */
const SLOT = 1
const REPEAT = 2 ** 16

export const PORT = 80

/** Packets for a subject. */
export interface Workload {
  readonly family: 4 | 6
  readonly protocol: 'tcp' | 'udp'
  readonly flags?: number
  /** Number of flows, a power of two, one chosen at random each time; 0: each packet begins a new one. */
  readonly flows: number
  readonly destination: string
}

const SOURCE = { 4: 0x0b000000, 6: 0x00010000 } as const

/** A frame long enough for the linear part to contain every header. */
function frameOf({ family, protocol, flags = p.ACK, destination }: Workload): Uint8Array {
  const ip =
    family === 4
      ? p.ipv4({ source: '11.0.0.0', destination, dontFragment: true })
      : p.ipv6({ source: '2001:db8:5::1:0', destination })
  const ports = { source: 40000, destination: PORT }
  const upper = protocol === 'tcp' ? p.tcp({ ...ports, flags }) : p.udp(ports)
  return seal(p.packet(p.ethernet(), ip, upper, p.raw(64)))
}

function workloadBytes(workload: Workload, growth: number): Uint8Array {
  const frame = frameOf(workload)
  const bytes = new Uint8Array(WORKLOAD_SIZE)
  const view = new DataView(bytes.buffer)
  const little = LOW === 0
  view.setUint32(0, frame.length, little)
  view.setUint32(4, workload.flows, little)
  view.setUint32(8, workload.family === 4 ? 26 : 34, little)
  view.setUint32(12, SOURCE[workload.family], little)
  view.setUint32(16, growth, little)
  bytes.set(frame.subarray(0, HEAD_SIZE), 24)
  return bytes
}

/** Expected result of every turn of our program. */
export interface Outcome {
  /** enum xdp_action */
  readonly verdict: number
  readonly reason: ReasonName
}

/** A program to time. */
export interface Subject {
  readonly name: string
  /** A program of the wrapper's object, or the pin of another program. */
  readonly program: string
  readonly kind: 'plain' | 'frags'
  /** Expected return value of the last turn: enum xdp_action. */
  readonly verdict: number
  /** Number of turns with the expected result so far, by the program's own counters. */
  readonly count?: () => Promise<number>
}

export const VERDICTS = { drop: 1, pass: 2, tx: 3 } as const

/** The interface that the test runs arrive on: as real packets do, and not on lo, where the program looks for metadata. */
export interface Arrival {
  readonly ifindex: number
}

/** Set in the process that has a network namespace of its own. */
const ISOLATED = 'XDP_BENCH_ISOLATED'

/**
 * Makes it: a veth device in a network namespace of its own, in which it runs this benchmark again. The kernel knows the
 * receive queue of such a device only while a program is attached.
 */
export function openArrival(): Arrival {
  if (process.env[ISOLATED] === undefined) {
    const argv = ['--net', process.execPath, ...process.execArgv, ...process.argv.slice(1)]
    const { status } = spawnSync('unshare', argv, { stdio: 'inherit', env: { ...process.env, [ISOLATED]: '1' } })
    process.exit(status ?? 1)
  }
  const ip = (...argv: string[]): string => execFileSync('ip', argv, { encoding: 'utf8' })
  ip('link', 'add', 'xdp-bench', 'type', 'veth', 'peer', 'name', 'xdp-bench-peer')
  ip('link', 'set', 'xdp-bench', 'up')
  ip('link', 'set', 'dev', 'xdp-bench', 'xdpdrv', 'object', WRAPPER, 'section', 'xdp.frags')
  const [link] = JSON.parse(ip('-j', 'link', 'show', 'dev', 'xdp-bench')) as [{ readonly ifindex: number }]
  return { ifindex: link.ifindex }
}

/** A struct xdp_md (linux/bpf.h): data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex. */
const contextOf = (length: number, { ifindex }: Arrival): Uint8Array =>
  new Uint8Array(Uint32Array.of(0, length, 0, ifindex, 0, 0).buffer)

/** One data plane under the wrapper. Callers must close it. */
export class Bench {
  readonly plane: DataPlane
  readonly #directory: string

  readonly #arrival: Arrival

  private constructor(plane: DataPlane, directory: string, arrival: Arrival) {
    this.plane = plane
    this.#directory = directory
    this.#arrival = arrival
  }

  /** `name`: unique among the open ones. */
  static async open(name: string, arrival: Arrival): Promise<Bench> {
    const directory = `/sys/fs/bpf/xdp-bench-${name}-${process.pid}`
    mkdirSync(directory)
    const plane = await DataPlane.open()
    const bench = new Bench(plane, directory, arrival)
    try {
      const arrays = ['plain', 'frags'] as const
      await runBatch(
        arrays.map((name) =>
          createMap(`${directory}/${name}`, { name, type: 'prog_array', valueSize: 4, entries: 1, flags: 0 }),
        ),
      )
      await runBatch([
        createMap(`${directory}/workloads`, {
          name: 'workloads',
          type: 'array',
          valueSize: WORKLOAD_SIZE,
          entries: 1,
          flags: 0,
        }),
      ])
      const reuse = [...arrays, 'workloads'].flatMap((name) => ['map', 'name', name, 'pinned', `${directory}/${name}`])
      await runBpftool('prog', 'loadall', WRAPPER, `${directory}/run`, ...reuse)
      return bench
    } catch (error) {
      bench.close()
      throw error
    }
  }

  /**
   * Loads a state. `tracksFlows`: new flow entries without a limit, or none, so that their cost is always or never
   * included.
   */
  async load(state: State, tracksFlows = true): Promise<void> {
    const image = imageOf(state)
    const view = new DataView(image.buffer)
    const at = BALANCE_LINE * LINE_SIZE
    const balance = balanceCodec.decode(view, at)
    if (balance.flags !== 0) balanceCodec.encode({ ...balance, flow_limit: tracksFlows ? 0xffffffff : 0 }, view, at)
    this.plane.forget()
    await this.plane.load(image)
    await this.plane.own(this.#arrival.ifindex, SLOT)
  }

  async prepare(workload: Workload, growth = 0): Promise<void> {
    const value = [...workloadBytes(workload, growth)].map(String)
    const pin = `${this.#directory}/workloads`
    await runBpftool('map', 'update', 'pinned', pin, 'key', '0', '0', '0', '0', 'value', ...value)
  }

  /** Our program. */
  subject(name: string, { verdict, reason }: Outcome): Subject {
    const count = async (): Promise<number> => (await this.plane.reasons(SLOT))[reason]?.packets ?? 0
    return { name, program: this.plane.program('xdp_filter'), kind: 'frags', verdict, count }
  }

  /** Nanoseconds per turn, of the second of two runs. Throws if any turn had another result. */
  async time({ name, program, kind, verdict, count }: Subject, workload: Workload, runs = 2): Promise<number> {
    const path = program.includes('/') ? program : `${this.#directory}/run/${program}`
    const array = ['map', 'update', 'pinned', `${this.#directory}/${kind}`, 'key', '0', '0', '0', '0']
    const before = await count?.()
    const outputs = await withExchange(async (files) => {
      const frame = frameOf(workload)
      writeFileSync(`${files}/frame`, frame)
      writeFileSync(`${files}/context`, contextOf(frame.length, this.#arrival))
      const run: Command = bpftool(
        ...['prog', 'run', 'pinned', `${this.#directory}/run/run_${kind}`, 'data_in', `${files}/frame`],
        ...['ctx_in', `${files}/context`],
        ...['data_out', '/dev/null', 'data_size_out', '512', 'repeat', `${REPEAT}`],
      )
      const outputs = await runBatch([
        bpftool(...array, 'value', 'pinned', path),
        ...Array.from({ length: runs }, () => run),
      ])
      return outputs.slice(1) as { retval: number; duration: number }[]
    })
    for (const { retval } of outputs) {
      if (retval !== verdict) throw new Error(`${name}: returned ${retval}, not ${verdict}`)
    }
    if (count && before !== undefined) {
      const turns = (await count()) - before
      if (turns !== REPEAT * runs)
        throw new Error(`${name}: ${turns} of ${REPEAT * runs} turns had the expected result`)
    }
    return (outputs.at(-1) as { duration: number }).duration
  }

  close(): void {
    this.plane.close()
    rmSync(this.#directory, { recursive: true, force: true })
  }
}

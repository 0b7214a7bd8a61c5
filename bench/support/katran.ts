// Katran's own program, as the peer of the balancer's benchmark: compiled from an unchanged checkout of its repository,
// with a table of the same backends. Formats of keys and values are those of katran/lib/bpf/balancer_structs.h; numbers
// are those of balancer_consts.h.

import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { anything } from '../../src/abi/answer.ts'
import { bpftool, type Command } from '../../src/abi/command.ts'
import { askBpftool, runBatch, runBpftool } from '../../src/kernel/tools/bpftool.ts'
import type { Address } from '../../src/model/address.ts'
import type { Backend } from '../../src/model/service.ts'
import { makeRing } from '../../src/semantics/maglev.ts'
import { addressBytes } from '../../src/tables/services/service-lines.ts'
import { address } from '../../test/support/services.ts'
import { type Subject, VERDICTS } from './balance.ts'
import { createMap } from './lookup.ts'

export type Encapsulation = 'ipip' | 'gue'

const SOURCE = 'katran/lib/bpf/balancer.bpf.c'
/** More than a test run can begin in a second: new flows get entries without a limit, as in our program. */
const UNLIMITED = '-DMAX_CONN_RATE=0xffffffff'
const BUILDS: Readonly<Record<Encapsulation, readonly string[]>> = { ipip: [], gue: ['-DGUE_ENCAP'] }
const RING_SIZE = 65_537
/** Indexes of global counters in map `stats`. */
const COUNTERS = { tx: 512 + 17, pass: 512 + 19 } as const
const F_IPV6 = 1
const PROTOCOLS = [6, 17] as const
const FLOW_KEY_SIZE = 40
const REMEMBERED_SIZE = 16

/** VIPs with the same backends, all of one family. */
export interface Group {
  readonly vips: readonly string[]
  readonly port: number
  readonly backends: readonly Backend[]
}

const text = (bytes: Iterable<number>): string[] => [...bytes].map(String)
const word = (value: number): string[] => text(new Uint8Array(Uint32Array.of(value).buffer))
/** A union of both families: IPv4 in the first 4 of 16 bytes. */
function addressField(one: Address): string[] {
  const field = new Uint8Array(16)
  field.set(addressBytes(one).subarray(one.family === 4 ? 12 : 0))
  return text(field)
}

const realField = (one: Address): string[] => [...addressField(one), ...text([one.family === 6 ? F_IPV6 : 0, 0, 0, 0])]

/** One build of Katran, with its maps. Callers must close it. */
export class Katran {
  readonly #directory: string
  readonly #program: string

  private constructor(directory: string) {
    this.#directory = directory
    this.#program = `${directory}/balancer_ingress`
  }

  /**
   * `flows`: connection table entries per CPU. Throws if `checkout` is not a checkout of Katran, or cannot be compiled
   * or loaded.
   */
  static async open(
    checkout: string,
    encapsulation: Encapsulation,
    groups: readonly Group[],
    flows: number,
  ): Promise<Katran> {
    if (!existsSync(join(checkout, SOURCE))) throw new Error(`${checkout}: no ${SOURCE} there`)
    const directory = `/sys/fs/bpf/xdp-bench-katran-${encapsulation}-${process.pid}`
    const objects = mkdtempSync(join(tmpdir(), 'xdp-bench-katran-'))
    const katran = new Katran(directory)
    try {
      const object = join(objects, `${encapsulation}.o`)
      compile(checkout, encapsulation, object)
      mkdirSync(directory)
      await runBpftool('prog', 'loadall', object, directory, 'pinmaps', `${directory}/maps`)
      await katran.#addFlowTables(flows)
      await katran.#provision(encapsulation, groups)
      return katran
    } catch (error) {
      katran.close()
      throw error
    } finally {
      rmSync(objects, { recursive: true })
    }
  }

  /** Katran as a subject whose every turn must be sent, or passed. */
  subject(name: string, outcome: keyof typeof COUNTERS): Subject {
    const verdict = VERDICTS[outcome]
    return {
      name: `Katran: ${name}`,
      program: this.#program,
      kind: 'plain',
      verdict,
      count: () => this.#count(outcome),
    }
  }

  close(): void {
    rmSync(this.#directory, { recursive: true, force: true })
  }

  async #count(outcome: keyof typeof COUNTERS): Promise<number> {
    const pin = `${this.#directory}/maps/stats`
    const { values } = (await askBpftool(
      anything,
      'map',
      'lookup',
      'pinned',
      pin,
      'key',
      ...word(COUNTERS[outcome]),
    )) as {
      values: { value: string[] }[]
    }
    const packets = ({ value }: { value: string[] }): number =>
      Number(new BigUint64Array(Uint8Array.from(value.slice(0, 8), Number).buffer)[0])
    return values.reduce((sum, one) => sum + packets(one), 0)
  }

  #update(map: string, key: readonly string[], value: readonly string[]): Command {
    return bpftool('map', 'update', 'pinned', `${this.#directory}/maps/${map}`, 'key', ...key, 'value', ...value)
  }

  /** Gives every CPU a connection table, as Katran's control plane does. */
  async #addFlowTables(flows: number): Promise<void> {
    for (let cpu = 0; cpu < cpus().length; cpu++) {
      const pin = `${this.#directory}/maps/lru_${cpu}`
      const shape = { name: `lru_${cpu}`, type: 'lru_hash', entries: flows, flags: 0 } as const
      await runBatch([createMap(pin, { ...shape, keySize: FLOW_KEY_SIZE, valueSize: REMEMBERED_SIZE })])
      await runBatch([this.#update('lru_mapping', word(cpu), ['pinned', pin])])
    }
  }

  async #provision(encapsulation: Encapsulation, groups: readonly Group[]): Promise<void> {
    const commands = [this.#update('ctl_array', word(0), text([2, 0, 0, 0, 0, 1, 0, 0]))]
    if (encapsulation === 'gue') {
      for (const [i, source] of ['172.16.0.1', '100::1'].entries())
        commands.push(this.#update('pckt_srcs', word(i), realField(address(source))))
    }
    // Number 0 stands for no real.
    let first = 1
    for (const [number, { vips, port, backends }] of groups.entries()) {
      for (const vip of vips) {
        for (const protocol of PROTOCOLS) {
          const key = [...addressField(address(vip)), ...text([port >> 8, port & 255, protocol, 0])]
          commands.push(this.#update('vip_map', key, [...word(0), ...word(number)]))
        }
      }
      for (const [i, one] of backends.entries())
        commands.push(this.#update('reals', word(first + i), realField(one.address)))
      const ring = makeRing(backends)
      if (ring.length !== RING_SIZE) throw new Error(`Katran has no tables of ${ring.length} slots`)
      for (const [at, index] of ring.entries())
        commands.push(this.#update('ch_rings', word(number * RING_SIZE + at), word(first + index)))
      first += backends.length
    }
    await runBatch(commands)
  }
}

/** Katran's own flags, with our instruction set, which makes its program faster. */
function compile(checkout: string, encapsulation: Encapsulation, object: string): void {
  // The libc headers that it includes need the machine's architecture.
  const machine = process.arch === 'x64' ? ['-D__x86_64__', '-idirafter', '/usr/include/x86_64-linux-gnu'] : []
  const flags = ['-target', 'bpf', '-mcpu=v3', '-O2', '-g', '-w', '-I', '.', ...machine]
  execFileSync('clang', [...flags, UNLIMITED, ...BUILDS[encapsulation], '-c', SOURCE, '-o', object], {
    cwd: checkout,
    stdio: ['ignore', 'ignore', 'inherit'],
  })
}

// A kernel for tests of lowering and execution: bpftool and ip as far as an apply uses them, over pins in a temporary
// directory. It keeps maps byte for byte, refuses what the kernel refuses, and fails at any command on request.

import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import {
  explanationCodec,
  LINE_SIZE,
  NO_SLOT,
  progressCodec,
  REASON,
  spanCodec,
  testBatchCodec,
  testRunCodec,
  transferCodec,
} from '../../src/abi/generated.ts'
import { type Probe, testInputFor } from '../../src/abi/packet.ts'
import { HOST_NAMES } from '../../src/commands/cli/completion/names.ts'
import { CARRY_PROGRAM } from '../../src/features/bans.ts'
import { PROGRAMS, SECRET_MAPS } from '../../src/features/features.ts'
import { COPY_PROGRAM, FILTER } from '../../src/features/filter.ts'
import type { Runner } from '../../src/kernel/tools/spawn.ts'
import { LineDigester } from '../../src/tables/lines/line-digest.ts'

export interface FakeMap {
  readonly id: number
  /** Counts the writes. */
  version: number
  readonly name: string
  readonly valueSize: number
  readonly entries: number
  readonly values: Map<number, Uint8Array>
}

interface FakeProgram {
  readonly id: number
  readonly name: string
  /** Where it was pinned first, below the bpffs. */
  readonly label: string
  readonly maps: ReadonlyMap<string, FakeMap>
}

export interface FakeLink {
  readonly ifindex: number
  readonly programs: { readonly mode: Mode; readonly program: FakeProgram }[]
  /** Modes that its driver refuses. */
  readonly refuses: readonly Mode[]
  /** As `ip -d link` prints them. */
  readonly kind: string
  master: string | undefined
}

type Mode = 'xdpdrv' | 'xdpgeneric' | 'xdpoffload'
/** linux/if_link.h XDP_ATTACHED_* */
const MODE_NUMBERS: Readonly<Record<Mode, number>> = { xdpdrv: 1, xdpgeneric: 2, xdpoffload: 3 }
/** As `bpftool net show` prints them. */
const SHOWN_MODES: Readonly<Record<Mode, string>> = { xdpdrv: 'driver', xdpgeneric: 'generic', xdpoffload: 'offload' }

/** An errno of the kernel, with its words. */
class Refusal extends Error {
  readonly errno: number
  constructor(errno: number, words: string) {
    super(words)
    this.errno = errno
  }
}
const ENOENT = 2
const EBUSY = 16
const EEXIST = 17
const EINVAL = 22

const ACTIONS = { aborted: 0, drop: 1, pass: 2, tx: 3, redirect: 4 } as const
const hex = (bytes: Uint8Array): string[] => Array.from(bytes, (byte) => `0x${byte.toString(16).padStart(2, '0')}`)
const keyOf = (words: readonly string[]): number =>
  new DataView(Uint8Array.from(words.slice(0, 4), Number).buffer).getUint32(0, true)

/** The answer of ip to a batch of `route get`: this host has no routes. */
export interface FakeHost {
  readonly device: string
  /** undefined: it does not answer. */
  readonly mac: string | undefined
}

export class FakeKernel {
  readonly bpffs = mkdtempSync(join(tmpdir(), 'xdp-fake-'))
  readonly links = new Map<string, FakeLink>()
  /** Hosts on the links, by address. No other address has a route. */
  readonly hosts = new Map<string, FakeHost>()
  /** Every command that took effect, as its line. */
  readonly journal: string[] = []
  /** Runs of programs whose effect on maps is not simulated, with their data. */
  readonly effects: string[] = []
  /** Verdicts of test packets, by the hex of their metadata and frames. */
  readonly verdicts = new Map<string, number>()
  /** Called before each command; may throw, or change this kernel. */
  before: (line: string, number: number) => void = () => undefined
  /** Called after each command that took effect. */
  after: () => void = () => undefined
  /** Whether bpftool only claims to run a command. */
  lies: (line: string) => boolean = () => false
  /** Foreign programs that their owners keep, attached or not. */
  readonly held: FakeProgram[] = []
  /** The default gateway, and the programs that drop its packets, by the end of their pins. */
  gateway: { readonly address: string; readonly device: string; readonly droppedBy: string } | undefined
  /** Whether lines reach a map damaged. */
  damagesLines = false
  /** Commands so far. */
  count = 0
  #next = 100

  damageLines(): void {
    this.damagesLines = true
  }
  readonly #pins = new Map<string, FakeMap | FakeProgram>()

  close(): void {
    rmSync(this.bpffs, { recursive: true, force: true })
  }

  addLink(name: string, ifindex: number, refuses: readonly Mode[] = [], kind = 'veth'): void {
    this.links.set(name, { ifindex, programs: [], refuses, kind, master: undefined })
  }

  /** Attaches a foreign program; returns its id. */
  addForeign(device: string, mode: Mode = 'xdpdrv'): number {
    const program: FakeProgram = { id: this.#next++, name: 'foreign', label: `foreign on ${device}`, maps: new Map() }
    this.links.get(device)?.programs.push({ mode, program })
    return program.id
  }

  /** Replaces the programs of an interface by a foreign one, whose owner keeps it. */
  steal(device: string): void {
    this.links.get(device)?.programs.splice(0)
    this.addForeign(device)
    this.held.push(...(this.links.get(device)?.programs.map(({ program }) => program) ?? []))
  }

  expect(probes: readonly Probe[]): void {
    for (const { packet, arrival, verdict } of probes) {
      const { data } = testInputFor(packet, arrival)
      this.verdicts.set(Buffer.from(data).toString('hex'), ACTIONS[verdict])
    }
  }

  /** The content of a pinned map. */
  map(pin: string): FakeMap {
    const found = this.#pinned(pin)
    if (!('values' in found)) throw new Error(`${pin} is no map`)
    return found
  }

  /** Pins that exist, relative to the bpffs. */
  pins(): string[] {
    return [...this.#pins.keys()]
      .filter((pin) => existsSync(pin))
      .map((pin) => pin.slice(this.bpffs.length + 1))
      .sort()
  }

  /** Programs on interfaces, pins, and the content of maps except those in `except`, as text. */
  fingerprint(except: readonly string[] = []): string {
    const links = [...this.links].map(([name, { programs }]) => [
      name,
      programs.map(({ mode, program }) => `${mode} ${program.label}`),
    ])
    const pins = this.pins().map((pin) => {
      const found = this.#pins.get(join(this.bpffs, pin)) as FakeMap | FakeProgram
      if (!('values' in found) || except.includes(found.name))
        return [pin, 'label' in found ? found.label : found.entries]
      if (SECRET_MAPS.includes(found.name)) return [pin, isSecret(found) ? 'secret' : 'known']
      const values = [...found.values].filter(([, value]) => value.some((byte) => byte !== 0)).sort(([a], [b]) => a - b)
      return [pin, found.entries, ...values.map(([key, value]) => `${key}:${Buffer.from(value).toString('hex')}`)]
    })
    return JSON.stringify({ links, pins }, undefined, 1)
  }

  /** The policy maps in force, by interface; undefined for a foreign program or none. */
  policies(): [name: string, policy: FakeMap | undefined][] {
    return [...this.links].map(([name, { programs }]) => [name, programs[0]?.program.maps.get('policy')])
  }

  /** Returns a function that restores the present state. */
  snapshot(): () => void {
    const pins = this.pins().map((pin) => {
      const path = join(this.bpffs, pin)
      const object = this.#pins.get(path) as FakeMap | FakeProgram
      return { path, object, values: 'values' in object ? new Map(object.values) : undefined }
    })
    const links = [...this.links].map(([name, link]) => ({ name, link, programs: [...link.programs] }))
    const next = this.#next
    return () => {
      rmSync(this.bpffs, { recursive: true, force: true })
      this.#pins.clear()
      this.links.clear()
      this.#next = next
      for (const { path, object, values } of pins) {
        mkdirSync(dirname(path), { recursive: true })
        if ('values' in object) {
          object.values.clear()
          for (const [key, value] of values ?? []) object.values.set(key, value)
        }
        this.#pin(path, object)
      }
      for (const { name, link, programs } of links) {
        link.programs.splice(0, link.programs.length, ...programs)
        this.links.set(name, link)
      }
    }
  }

  readonly runner: Runner = async (tool, argv, input) => {
    const lines = String(input ?? '')
      .trim()
      .split('\n')
    if (tool === 'sh') return this.#guarded(argv.slice(3), lines)
    if (argv.includes('-batch')) return this.#routes(lines)
    if (argv.includes('batch')) return this.#batch(lines)
    // With -f bpftool also looks for pins.
    const words = argv.slice(1).filter((word) => word !== '-f')
    try {
      const output = tool === 'ip' ? this.#ip(argv) : this.#command(words)
      return { stdout: JSON.stringify(output ?? null), stderr: '', exitCode: 0 }
    } catch (error) {
      return failed(error)
    }
  }

  /** A batch, and the words of a command if it fails. */
  #guarded(words: readonly string[], lines: readonly string[]) {
    const output = this.#batch(lines)
    try {
      if (output.exitCode !== 0) this.#command(words)
    } catch {
      // The shell ignores it.
    }
    return output
  }

  #batch(lines: readonly string[]) {
    const done: unknown[] = []
    for (const line of lines) {
      try {
        done.push({ command: line.split(' '), output: this.#command(line.split(' ')) ?? null })
      } catch (error) {
        const { exitCode } = failed(error)
        done.push({ command: line.split(' '), output: { error: (error as Error).message } })
        return { stdout: JSON.stringify(done), stderr: '', exitCode }
      }
    }
    return { stdout: JSON.stringify(done), stderr: '', exitCode: 0 }
  }

  #ip(argv: readonly string[]): unknown {
    const line = `ip ${argv.join(' ')}`
    this.before(line, this.count++)
    if (argv.includes('neigh')) return this.#neighbours()
    // The interfaces of this machine, of which the reader knows; none has an address.
    if (argv.includes('addr')) return HOST_NAMES.interfaces().map((ifname) => ({ ifname }))
    if (!argv.includes('link')) return []
    return [...this.links].map(([ifname, { ifindex, programs, kind, master }]) => ({
      ifname,
      ifindex,
      mtu: 1500,
      flags: ['UP'],
      address: `02:00:5e:10:00:${ifindex.toString(16).padStart(2, '0')}`,
      linkinfo: { info_kind: kind },
      ...(master === undefined ? {} : { master }),
      ...(programs.length === 0
        ? {}
        : {
            xdp: {
              attached: programs.map(({ mode, program }) => ({
                mode: MODE_NUMBERS[mode],
                prog: { id: program.id, name: program.name, tag: 'fake' },
              })),
            },
          }),
    }))
  }

  /** Answers `route get ADDRESS`, and that there is no default route. */
  #routes(lines: readonly string[]) {
    if (lines[0]?.startsWith('route show')) {
      const routes = this.gateway ? [{ gateway: this.gateway.address, dev: this.gateway.device }] : []
      return { stdout: `${JSON.stringify(routes)}\n`, stderr: '', exitCode: 0 }
    }
    const devices = lines.map((line) => this.hosts.get(line.split(' ')[2] ?? '')?.device)
    return {
      stdout: devices.map((dev) => (dev === undefined ? '' : `${JSON.stringify([{ dev }])}\n`)).join(''),
      stderr: devices
        .map((dev, i) => (dev ? '' : `RTNETLINK answers: Network is unreachable\nCommand failed -:${i + 1}\n`))
        .join(''),
      exitCode: devices.includes(undefined) ? 1 : 0,
    }
  }

  #neighbours = () =>
    [...this.hosts].map(([dst, { device: dev, mac }]) =>
      mac === undefined ? { dst, dev, state: ['FAILED'] } : { dst, dev, lladdr: mac, state: ['REACHABLE'] },
    )

  #command(words: readonly string[]): unknown {
    const line = words.join(' ')
    this.before(line, this.count++)
    if (this.lies(line)) return null
    const output = this.#perform(words)
    this.journal.push(line)
    this.after()
    return output
  }

  #perform(words: readonly string[]): unknown {
    const [object, verb, ...rest] = words
    const value = (name: string): string => rest[rest.indexOf(name) + 1] as string
    switch (`${object} ${verb}`) {
      case 'map create': {
        const [pin] = rest as [string]
        const entries = Number(value('entries'))
        this.#pin(pin, {
          id: this.#next++,
          name: value('name'),
          version: 0,
          valueSize: Number(value('value')),
          entries,
          values: new Map(),
        })
        return undefined
      }
      case 'map pin':
        return this.#pin(rest[2] as string, this.#named(rest))
      case 'map show': {
        const { id, name, entries } = this.#named(rest)
        return { id, name, max_entries: entries, bytes_memlock: entries }
      }
      case 'map dump': {
        const { entries, valueSize, values } = this.#named(rest)
        return Array.from({ length: entries }, (_, key) =>
          this.#entry(key, values.get(key) ?? new Uint8Array(valueSize)),
        )
      }
      case 'map lookup': {
        const { values, valueSize } = this.#named(rest)
        const key = keyOf(rest.slice(rest.indexOf('key') + 1))
        return this.#entry(key, values.get(key) ?? new Uint8Array(valueSize))
      }
      case 'map update': {
        const bytes = Uint8Array.from(rest.slice(rest.indexOf('hex') + 1), (byte) => Number.parseInt(byte, 16))
        return this.#store(this.map(value('pinned')), keyOf(rest.slice(rest.indexOf('key') + 1)), bytes)
      }
      case 'prog loadall':
        return this.#load(rest[0] as string, rest[1] as string, rest.slice(2))
      case 'prog show': {
        const { id, name, maps } = rest[0] === 'id' ? this.#attached(Number(rest[1])) : this.#program(value('pinned'))
        return { id, name, tag: 'fake', loaded_at: 1, map_ids: [...new Set([...maps.values()].map((map) => map.id))] }
      }
      case 'prog pin':
        return this.#pin(rest[2] as string, this.#attached(Number(rest[1])))
      case 'prog run':
        return { retval: this.#run(this.#program(value('pinned')), rest), duration: 1 }
      case 'net show': {
        const programs = this.links.get(value('dev'))?.programs ?? []
        return [{ xdp: programs.map(({ mode, program }) => ({ mode: SHOWN_MODES[mode], id: program.id })), tc: [] }]
      }
      case 'net attach': {
        const program = rest[1] === 'id' ? this.#known(Number(rest[2])) : this.#program(value('pinned'))
        return this.#attach(rest[0] as Mode, program, value('dev'), rest.includes('overwrite'))
      }
      case 'net detach':
        return this.#detach(rest[0] as Mode, value('dev'))
      default:
        throw new Error(`the fake kernel does not know ${words.join(' ')}`)
    }
  }

  /** A program by its id: on an interface, or replaced there but kept by its owner. */
  #known(id: number): FakeProgram {
    return this.held.find((program) => program.id === id) ?? this.#attached(id)
  }

  #attached(id: number): FakeProgram {
    const programs = [...this.links.values()].flatMap((link) => link.programs.map(({ program }) => program))
    const found = programs.find((program) => program.id === id)
    if (!found) throw new Refusal(ENOENT, 'get by id: No such file or directory')
    return found
  }

  /** A map by its pin, or by its id while a program on an interface uses it. */
  #named(words: readonly string[]): FakeMap {
    if (words[0] !== 'id') return this.map(words[1] as string)
    const programs = [...this.links.values()].flatMap((link) => link.programs.map(({ program }) => program))
    const maps = programs.flatMap((program) => [...program.maps.values()])
    const found = maps.find((map) => `${map.id}` === words[1])
    if (!found) throw new Refusal(ENOENT, 'get map by id: No such file or directory')
    return found
  }

  #entry = (key: number, bytes: Uint8Array) => ({
    key: hex(new Uint8Array(Uint32Array.of(key).buffer)),
    value: hex(bytes),
  })

  #store(map: FakeMap, key: number, bytes: Uint8Array): void {
    const { values, entries, valueSize } = map
    if (key >= entries || bytes.length !== valueSize) throw new Refusal(EINVAL, 'update failed: Invalid argument')
    values.set(key, bytes.slice())
    map.version++
  }

  #pin(path: string, object: FakeMap | FakeProgram): void {
    if (existsSync(path)) throw new Refusal(EEXIST, `can't pin ${path}: File exists`)
    if (!existsSync(dirname(path))) throw new Refusal(ENOENT, `can't pin ${path}: No such file or directory`)
    writeFileSync(path, '')
    this.#pins.set(path, object)
  }

  #pinned(path: string): FakeMap | FakeProgram {
    const found = existsSync(path) ? this.#pins.get(path) : undefined
    if (!found) throw new Refusal(ENOENT, `bpf obj get (${path}): No such file or directory`)
    return found
  }

  #program(path: string): FakeProgram {
    const found = this.#pinned(path)
    if ('values' in found) throw new Refusal(EINVAL, `${path} is no program`)
    return found
  }

  /** The first object has all programs except `explain`, which the second has. */
  #load(object: string, directory: string, words: readonly string[]): void {
    const maps = new Map<string, FakeMap>()
    for (let at = 0; at < words.length; at += 5) maps.set(words[at + 2] as string, this.map(words[at + 4] as string))
    mkdirSync(directory, { recursive: true })
    const { explain } = FILTER.programs
    const isExplaining = basename(object).includes('explain')
    const isCarrying = basename(object).includes('carry')
    const names = isCarrying
      ? ['carry_services', 'carry_backends', 'carry_ports', 'carry_rates', 'clear_rates']
      : isExplaining
        ? [explain]
        : [...PROGRAMS.filter((name) => name !== explain), COPY_PROGRAM, CARRY_PROGRAM]
    for (const name of names) {
      const path = join(directory, name)
      this.#pin(path, { id: this.#next++, name, label: path.slice(this.bpffs.length + 1), maps })
    }
  }

  #run({ name, label, maps }: FakeProgram, words: readonly string[]): number {
    const file = (which: string): string | undefined =>
      words.includes(which) ? words[words.indexOf(which) + 1] : undefined
    const input = file('data_in')
    const data = input === undefined ? new Uint8Array(0) : new Uint8Array(readFileSync(input))
    const output = file('data_out')
    const policy = maps.get('policy')
    switch (name) {
      case FILTER.programs.write:
        return this.#write(policy as FakeMap, data)
      case FILTER.programs.read:
        return this.#read(policy as FakeMap, data, output as string)
      case FILTER.programs.digest:
        return this.#digest(policy as FakeMap, data, output as string)
      case COPY_PROGRAM:
        return this.#copy(policy as FakeMap, maps.get('previous'), data, output as string)
      case FILTER.programs.filter:
        return this.verdicts.get(Buffer.from(data).toString('hex')) ?? ACTIONS.pass
      case FILTER.programs.explain:
        if (isBatch(data)) return this.#explainBatch(data, output as string)
        if (this.gateway && label.endsWith(this.gateway.droppedBy)) {
          const dropped = {
            verdict: ACTIONS.drop,
            reason: REASON.BLOCKLIST,
            class: 1,
            list: 0,
            scope: 0,
            service: 0,
            backend: 0,
            rate_limit: NO_SLOT,
            rate_used: 0,
          }
          explanationCodec.encode(dropped, new DataView(data.buffer), testRunCodec.size)
        }
        break
      default:
    }
    this.effects.push(`${name} ${Buffer.from(data).toString('hex')}`)
    if (output !== undefined && output !== '/dev/null') writeFileSync(output, data)
    return ACTIONS.pass
  }

  /** Passes every packet. */
  #explainBatch(data: Uint8Array, output: string): number {
    const view = new DataView(data.buffer)
    const batch = testBatchCodec.decode(view)
    const records = testBatchCodec.size + batch.at
    for (let at = records; at < data.length; at += batch.size) {
      view.setUint32(at, ACTIONS.pass, true)
      view.setUint32(at + 4, REASON.DEFAULT_PASS, true)
    }
    testBatchCodec.encode({ ...batch, at: batch.length }, view)
    writeFileSync(output, data)
    return ACTIONS.pass
  }

  #write(policy: FakeMap, data: Uint8Array): number {
    const view = new DataView(data.buffer)
    const { count, extents } = transferCodec.decode(view)
    let at = LINE_SIZE
    for (const { first, lines } of extents.slice(0, count)) {
      for (let line = first; line < first + lines; line++, at += LINE_SIZE) {
        const bytes = data.slice(at, at + LINE_SIZE)
        if (this.damagesLines && line > 12) bytes[5] = (bytes[5] as number) ^ 1
        this.#store(policy, line, bytes)
      }
    }
    return ACTIONS.pass
  }

  #line = ({ values }: FakeMap, line: number): Uint8Array => values.get(line) ?? new Uint8Array(LINE_SIZE)

  #read(policy: FakeMap, data: Uint8Array, output: string): number {
    const { count, extents } = transferCodec.decode(new DataView(data.buffer))
    if (extents.slice(0, count).some(({ first, lines }) => first + lines > policy.entries)) return ACTIONS.aborted
    const lines = extents
      .slice(0, count)
      .flatMap(({ first, lines: many }) => Array.from({ length: many }, (_, i) => this.#line(policy, first + i)))
    writeFileSync(output, Buffer.concat([data.subarray(0, LINE_SIZE), ...lines]))
    return ACTIONS.pass
  }

  #spans(data: Uint8Array) {
    const { count } = progressCodec.decode(new DataView(data.buffer))
    return Array.from({ length: count }, (_, i) =>
      spanCodec.decode(new DataView(data.buffer), progressCodec.size + i * spanCodec.size),
    )
  }

  #digest(policy: FakeMap, data: Uint8Array, output: string): number {
    const view = new DataView(data.buffer)
    for (const [i, span] of this.#spans(data).entries()) {
      const digester = new LineDigester()
      for (let line = 0; line < span.extent.lines; line++) {
        // An empty line does not change a digest.
        const bytes = policy.values.get(span.extent.first + line)
        if (bytes) digester.add(new Uint32Array(bytes.buffer), 0, 1, span.origin + line)
      }
      spanCodec.encode({ ...span, digest: [...digester.digest] }, view, progressCodec.size + i * spanCodec.size)
    }
    writeFileSync(output, data)
    return ACTIONS.pass
  }

  #copy(policy: FakeMap, previous: FakeMap | undefined, data: Uint8Array, output: string): number {
    if (!previous) return ACTIONS.aborted
    for (const { extent, origin } of this.#spans(data)) {
      for (let i = 0; i < extent.lines; i++) this.#store(policy, extent.first + i, this.#line(previous, origin + i))
    }
    writeFileSync(output, data)
    return ACTIONS.pass
  }

  #attach(mode: Mode, program: FakeProgram, device: string, overwrite: boolean): void {
    const link = this.links.get(device)
    if (!link) throw new Refusal(EINVAL, 'invalid device')
    if (link.refuses.includes(mode)) throw new Refusal(95, `interface ${mode} attach failed: Operation not supported`)
    const at = link.programs.findIndex((one) => one.mode === mode)
    if (at < 0 && link.programs.length > 0) throw new Refusal(EEXIST, `interface ${mode} attach failed: File exists`)
    if (at >= 0 && !overwrite) throw new Refusal(EBUSY, `interface ${mode} attach failed: Device or resource busy`)
    if (at >= 0) link.programs[at] = { mode, program }
    else link.programs.push({ mode, program })
  }

  #detach(mode: Mode, device: string): void {
    const link = this.links.get(device)
    if (!link) throw new Refusal(EINVAL, 'invalid device')
    const at = link.programs.findIndex((one) => one.mode === mode)
    if (at >= 0) link.programs.splice(at, 1)
  }
}

/** Whether the input of a test run is a batch of packets. */
const isBatch = (data: Uint8Array): boolean =>
  data.length > testBatchCodec.size &&
  testBatchCodec.decode(new DataView(data.buffer)).length === data.length - testBatchCodec.size

/** Whether a map holds more than zeros. */
const isSecret = ({ values }: FakeMap): boolean =>
  [...values.values()].some((value) => value.some((byte) => byte !== 0))

function failed(error: unknown) {
  if (!(error instanceof Refusal)) throw error
  return { stdout: JSON.stringify({ error: error.message }), stderr: '', exitCode: 256 - error.errno }
}

/** The error of a command that the kernel refuses. */
export const refusal = (errno: number, words: string): Error => new Refusal(errno, words)

// A host under test: its interfaces, the packets that flow through one of them, and the interceptor before its tools.

import { type ChildProcess, execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, existsSync, readdirSync, rmSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { CLI, EVERY_PIN, Lab, NO_OBJECTS, type Wire } from '../hosts.ts'
import { Flow, SOURCES, type Stretch, type Verdict } from './flow.ts'
import { Interceptor } from './interceptor.ts'
import { isGuardian, kill, type Process, processesOf, quiet } from './processes.ts'

const WIRE: Wire = {
  name: 'eth0',
  addresses: ['192.0.2.1/24'],
  peerAddresses: Object.values(SOURCES).map((address) => `${address}/24`),
}

/** Its peer has two addresses for backends. */
const OTHER_WIRE: Wire = {
  name: 'eth1',
  addresses: ['198.51.100.1/24'],
  peerAddresses: ['198.51.100.2/24', '198.51.100.3/24'],
}

/** Files of an instance that stay: locks, the last revert, and those of a killed daemon, which the next one replaces. */
const STANDING = /\.(?:(?:bans\.|watch\.)?lock|reverted\.json|watch\.json|control\.sock)$/

/** Time in which processes end that were killed, or have nothing left to do. */
const ENDING_MS = 30_000

/** The two policies of a test. */
export type Edition = 'old' | 'new'
export const other = (edition: Edition): Edition => (edition === 'old' ? 'new' : 'old')

/** A command that runs, and how it ended; status null: it was killed. */
export interface Running {
  readonly pid: number
  readonly ended: Promise<{ readonly status: number | null; readonly stderr: string }>
}

/** The end of a child, with its messages. */
function follow(child: ChildProcess): Running {
  let stderr = ''
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
  })
  child.stdout?.resume()
  const ended = once(child, 'close').then(([status]) => ({ status: status as number | null, stderr }))
  return { pid: child.pid as number, ended }
}

export class Scene {
  readonly lab: Lab
  flow: Flow
  readonly interceptor: Interceptor
  /** The policy of the file. */
  file: Edition = 'old'
  /** Pids of commands, for the search of their files. */
  readonly #pids = new Set<number>()
  /** Files of instances on earlier mounts whose device had this number. */
  #strange: ReadonlySet<string>

  private constructor(lab: Lab, flow: Flow, interceptor: Interceptor) {
    this.lab = lab
    this.flow = flow
    this.interceptor = interceptor
    this.#strange = new Set(this.#records())
  }

  static async open(): Promise<Scene> {
    const lab = new Lab([WIRE, OTHER_WIRE])
    try {
      const interceptor = await Interceptor.open(lab)
      return new Scene(lab, await Flow.open(lab), interceptor)
    } catch (error) {
      lab.close()
      throw error
    }
  }

  async close(): Promise<void> {
    await this.flow.close()
    this.interceptor.close()
    for (const { pid } of processesOf(this.lab)) kill(pid)
    for (const name of this.#records()) rmSync(join('/run/xdp', name), { force: true })
    this.lab.close()
  }

  /** Writes a config of an edition; `more` are further keys. */
  write(edition: Edition, { eth0 = '{}', more = '' }: { readonly eth0?: string; readonly more?: string } = {}): void {
    this.file = edition
    const lists = `blocklist: [${SOURCES.dropped}, ${SOURCES[edition]}]`
    this.lab.write('xdp.yaml', `version: 1\ninterfaces: { eth0: ${eth0}, eth1: {} }\n${lists}\n${more}`)
  }

  start(...args: readonly string[]): Running {
    return this.adopt(this.lab.start(...args))
  }

  /** Follows a command line. */
  adopt(child: ChildProcess): Running {
    const running = follow(child)
    this.#pids.add(running.pid)
    return running
  }

  /** Unmounts the bpffs. The directory below it cannot be written, as /sys/fs. */
  unmount(): void {
    execFileSync('umount', ['--lazy', this.lab.bpffs])
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'ro', 'none', this.lab.bpffs])
  }

  mount(): void {
    execFileSync('umount', ['--lazy', this.lab.bpffs])
    execFileSync('mount', ['-t', 'bpf', 'bpf', this.lab.bpffs])
    // The new mount is another device.
    this.#strange = new Set([...this.#strange, ...this.#records()])
  }

  /** Removes the interface that no packets flow through. */
  unplug(): void {
    this.lab.unplug(OTHER_WIRE.name)
  }

  plug(): void {
    this.lab.plug(OTHER_WIRE)
  }

  /** Removes the network namespace, which lives on until the last process in it ends. */
  async loseNamespace(): Promise<void> {
    await this.flow.close()
    execFileSync('ip', ['netns', 'del', this.lab.host])
  }

  /** Makes another network namespace of that name, with interfaces of the same names. */
  async makeNamespace(): Promise<void> {
    const { lab } = this
    execFileSync('ip', ['netns', 'add', lab.host])
    lab.in(lab.host, 'ip', 'link', 'set', 'lo', 'up')
    for (const wire of [WIRE, OTHER_WIRE]) lab.plug(wire)
    this.flow = await Flow.open(lab)
  }

  /** A second build of the command line, with other programs. */
  otherBuild(): string {
    const directory = join(this.lab.directory, 'other')
    if (existsSync(directory)) return join(directory, 'xdp.js')
    cpSync(dirname(CLI), directory, { recursive: true })
    execFileSync('sh', ['-c', `echo another build >> ${directory}/bpf/xdp.bpf.o`])
    return join(directory, 'xdp.js')
  }

  /** Guardians, which outlive their command. */
  guardians = (): Process[] => processesOf(this.lab).filter(isGuardian)

  /** Whether a process is a guardian, or belongs to one. */
  #isOfGuardian(): (process: Process) => boolean {
    return (one) => {
      const all = processesOf(this.lab)
      for (let at: Process | undefined = one; at; at = all.find(({ pid }) => pid === at?.parent))
        if (isGuardian(at)) return true
      return false
    }
  }

  /** Throws if processes go on that should have ended. */
  async expectQuiet(spares: 'guardians' | 'nothing'): Promise<void> {
    const rest = await quiet(this.lab, spares === 'guardians' ? this.#isOfGuardian() : () => false, ENDING_MS)
    if (rest.length > 0) throw new Error(`processes go on: ${JSON.stringify(rest)}`)
  }

  /** Whether an apply waits for its confirmation. */
  #isPending(): boolean {
    const instance = join(this.lab.bpffs, 'xdp-as-code/default')
    return existsSync(instance) && readdirSync(instance).some((name) => name.startsWith('confirm-'))
  }

  /** Confirms, or finishes going back if that has begun; returns whether the policy is another one now. */
  async #endWaiting(): Promise<boolean> {
    const { exitCode, stderr } = await this.lab.xdp('confirm')
    if (exitCode === 0) return false
    if (!stderr.includes('E266')) throw new Error(`confirm fails: ${exitCode} ${stderr}`)
    await this.lab.ok('confirm', '--cancel')
    return true
  }

  /**
   * Brings the live policy to the file as its user does: apply, and again after the answer to a pending confirmation. Throws
   * unless nothing is left to change.
   *
   * @param flags that the first apply needs
   */
  async converge(...flags: readonly string[]): Promise<void> {
    const { lab } = this
    const first = await lab.xdp('apply', '--auto-approve', ...flags)
    const isPending = this.#isPending()
    const isBack = isPending && (await this.#endWaiting())
    const isDue = isBack || (isPending && first.stderr.includes('E230'))
    const last = isDue ? await lab.xdp('apply', '--auto-approve') : first
    if (last.exitCode !== 0) throw new Error(`the next apply does not converge: ${last.exitCode} ${last.stderr}`)
    const plan = await lab.xdp('plan', '--detailed-exitcode')
    if (plan.exitCode !== 0) throw new Error(`changes are left: ${plan.exitCode} ${plan.stdout}${plan.stderr}`)
  }

  /** Throws if anything is left but the live generation, in the kernel, as files or as processes. */
  async expectClean(): Promise<void> {
    await this.expectQuiet('nothing')
    const pins = this.lab.pins()
    const generations = new Set(pins.flatMap((pin) => /gen-\d+/.exec(pin)?.[0] ?? []))
    if (pins.length !== EVERY_PIN || generations.size !== 1) throw new Error(`pins are left: ${pins.join(' ')}`)
    this.#expectNoFiles()
    await this.#expectNoObjects()
  }

  /** Throws unless nothing at all is left. */
  async expectNothing(): Promise<void> {
    await this.expectQuiet('nothing')
    const objects = this.lab.objects()
    if (JSON.stringify(objects) !== JSON.stringify(NO_OBJECTS)) throw new Error(`left: ${JSON.stringify(objects)}`)
    this.#expectNoFiles()
  }

  /** Files of the instance in /run/xdp. */
  #records(): string[] {
    const prefix = `default.${statSync(this.lab.bpffs).dev}.`
    return existsSync('/run/xdp') ? readdirSync('/run/xdp').filter((name) => name.startsWith(prefix)) : []
  }

  #expectNoFiles(): void {
    const isOurs = (name: string): boolean =>
      [...this.#pids].some((pid) => new RegExp(`^(?:xdp-)?exchange-\\d+-${pid}-`).test(name))
    const exchanged = [...readdirSync('/run/xdp'), ...readdirSync('/dev/shm')].filter(isOurs)
    const records = this.#records().filter((name) => !STANDING.test(name))
    const guardians = this.#records().filter((name) => name.includes('.guardian-'))
    const rest = [...exchanged, ...records, ...guardians].filter((name) => !this.#strange.has(name))
    if (rest.length > 0) throw new Error(`files are left: ${rest.join(' ')}`)
  }

  /** Programs in the kernel over the maps of this host are the pinned ones. The kernel frees others with a delay. */
  async #expectNoObjects(): Promise<void> {
    const until = performance.now() + ENDING_MS
    for (;;) {
      const left = this.#unpinnedPrograms()
      if (left.length === 0) return
      if (performance.now() > until) throw new Error(`programs are left: ${JSON.stringify(left)}`)
    }
  }

  #unpinnedPrograms(): unknown[] {
    const root = join(this.lab.bpffs, 'xdp-as-code')
    const pins = this.lab.pins()
    const show = (kind: string, path: string): string => `${kind} show pinned ${root}/${path}`
    const programs = pins.filter((pin) => pin.includes('/programs/')).map((pin) => show('prog', pin))
    const maps = pins.filter((pin) => !pin.includes('/programs/')).map((pin) => show('map', pin))
    const ask = (lines: readonly string[]): { output: { id: number } }[] =>
      JSON.parse(
        execFileSync('bpftool', ['-j', 'batch', 'file', '-'], { input: `${lines.join('\n')}\n`, encoding: 'utf8' }),
      )
    const pinned = new Set(ask(programs).map(({ output }) => output.id))
    const ours = new Set(ask(maps).map(({ output }) => output.id))
    const all = JSON.parse(execFileSync('bpftool', ['-j', 'prog', 'show'], { encoding: 'utf8', maxBuffer: 1 << 26 }))
    return (all as { id: number; name?: string; map_ids?: number[] }[])
      .filter(({ id, map_ids = [] }) => !pinned.has(id) && map_ids.some((map) => ours.has(map)))
      .map(({ id, name }) => ({ id, name }))
  }
}

/**
 * Throws if packets met anything but these policies. A round whose packets were sent around a switch may be judged half by
 * each; if everything passes meanwhile, so may the packets that both policies drop.
 */
export function expectOnly(stretches: readonly Stretch[], permitted: ReadonlySet<Verdict>): void {
  const isAround = ({ rounds, arrived }: Stretch): boolean => {
    const bits = Number(arrived)
    return rounds === 1 && (bits & 1) === 1 && (permitted.has('none') || (bits & 2) === 0)
  }
  const wrong = stretches.filter((one) => !permitted.has(one.verdict) && !isAround(one))
  if (wrong.length > 0) throw new Error(`packets met ${JSON.stringify(wrong)} of ${JSON.stringify(stretches)}`)
}

// Test hosts: network namespaces joined by veth pairs, a private bpffs, and the built command line run inside. Each
// test creates all of it and removes it, even if it fails.

import { execFile, execFileSync, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { OWN_MAPS, PROGRAMS, SHARED_MAPS } from '../../src/features/features.ts'
import { lastApplyFile } from '../../src/kernel/host/last-apply.ts'

/** Pins of an instance with one generation: its policy and the balancer's maps, its programs, and the shared maps. */
export const EVERY_PIN = 1 + OWN_MAPS.length + PROGRAMS.length + SHARED_MAPS.length

const run = promisify(execFile)
export const CLI = fileURLToPath(new URL('../../dist/xdp.js', import.meta.url))

export interface Output {
  readonly exitCode: number
  readonly stdout: string
  readonly stderr: string
}

/** One link of the filtering host to its peer, with addresses on both ends. */
export interface Wire {
  /** Name of the filtered end, e.g. `eth0`. */
  readonly name: string
  /** Addresses, with prefix length, of the filtered end and of the peer's end. */
  readonly addresses: readonly string[]
  readonly peerAddresses: readonly string[]
  readonly mtu?: number
}

/** eth0: 192.0.2.1 and 2001:db8::1; its peer has .2 and .3, ::2 and ::3. */
export const ETH0: Wire = {
  name: 'eth0',
  addresses: ['192.0.2.1/24', '2001:db8::1/64'],
  peerAddresses: ['192.0.2.2/24', '192.0.2.3/24', '2001:db8::2/64', '2001:db8::3/64'],
}

/** eth1: 198.51.100.1 and 2001:db8:1::1; its peer has .2 and ::2. */
export const ETH1: Wire = {
  name: 'eth1',
  addresses: ['198.51.100.1/24', '2001:db8:1::1/64'],
  peerAddresses: ['198.51.100.2/24', '2001:db8:1::2/64'],
}

let laboratories = 0

/** A filtering host (namespace `host`) and a peer (namespace `peer`). */
export class Lab {
  readonly host: string
  readonly peer: string
  readonly directory: string
  readonly bpffs: string
  /** Directory of the cache, which the command line creates. */
  readonly cache: string
  /** Directory of the state, which the command line creates. */
  readonly state: string
  /** The command line under test; a test of updates replaces it by another build. */
  cli = CLI
  #closed = false

  constructor(wires: readonly Wire[] = [ETH0]) {
    const id = `xdp${process.pid}-${++laboratories}`
    this.host = `${id}h`
    this.peer = `${id}p`
    this.directory = mkdtempSync(join(tmpdir(), `xdp-lab-${process.pid}-`))
    this.bpffs = join(this.directory, 'bpffs')
    this.cache = join(this.directory, 'cache')
    this.state = join(this.directory, 'state')
    try {
      mkdirSync(this.bpffs)
      sh('mount', '-t', 'bpf', 'bpf', this.bpffs)
      for (const name of [this.host, this.peer]) {
        sh('ip', 'netns', 'add', name)
        sh('ip', '-n', name, 'link', 'set', 'lo', 'up')
        // Neighbour discovery of new addresses would make the first packets of a test unreliable.
        this.in(name, 'sysctl', '-qw', 'net.ipv6.conf.default.accept_dad=0', 'net.ipv6.conf.all.accept_dad=0')
      }
      for (const wire of wires) this.plug(wire)
    } catch (error) {
      this.close()
      throw error
    }
  }

  /** Name of the peer's end of a wire. */
  peerEnd(name: string): string {
    return `p-${name}`
  }

  /** Creates a veth pair between host and peer, with as few processes as possible. */
  plug(wire: Wire): void {
    const far = this.peerEnd(wire.name)
    const [mac, farMac] = [randomMac(), randomMac()]
    const ends = [
      { netns: this.host, device: wire.name, addresses: wire.addresses, others: wire.peerAddresses, otherMac: farMac },
      { netns: this.peer, device: far, addresses: wire.peerAddresses, others: wire.addresses, otherMac: mac },
    ] as const
    const near = [wire.name, 'address', mac, 'netns', this.host]
    sh('ip', 'link', 'add', ...near, 'type', 'veth', 'peer', 'name', far, 'address', farMac, 'netns', this.peer)
    for (const { netns, device, addresses, others, otherMac } of ends) {
      ipBatch(netns, [
        ...(wire.mtu ? [`link set ${device} mtu ${wire.mtu}`] : []),
        ...addresses.map((address) => `addr add ${address} dev ${device}${address.includes(':') ? ' nodad' : ''}`),
        `link set ${device} up`,
        // Permanent neighbour entries: under a policy that blocks discovery, counts would depend on its timing.
        ...others.map((address) => {
          const plain = address.replace(/\/.*/, '')
          return `neigh replace ${plain} lladdr ${otherMac} dev ${device} nud permanent`
        }),
      ])
    }
  }

  unplug(name: string): void {
    this.in(this.host, 'ip', 'link', 'del', name)
  }

  /** Runs a command in a namespace and returns its stdout; throws on failure. */
  in(netns: string, ...argv: readonly string[]): string {
    return sh('nsenter', `--net=/run/netns/${netns}`, ...argv)
  }

  /** Writes a file into the laboratory's directory and returns its path. */
  write(name: string, text: string): string {
    const path = join(this.directory, name)
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, text)
    return path
  }

  /** argv that runs the built command line in the filtering host's namespace, with a history of its own. */
  argv(...args: readonly string[]): string[] {
    const own = ['/usr/bin/env', `STATE_DIRECTORY=${this.state}`]
    return [
      'nsenter',
      `--net=/run/netns/${this.host}`,
      ...own,
      process.execPath,
      this.cli,
      '--bpffs',
      this.bpffs,
      ...args,
    ]
  }

  get #tools(): string {
    return join(this.directory, 'tools')
  }

  /** Puts a shell script before a tool that the command line runs. */
  tool(name: string, script: string): void {
    chmodSync(this.write(`tools/${name}`, `#!/bin/sh\n${script}`), 0o755)
  }

  /** Removes the scripts of `tool`. */
  realTools(): void {
    rmSync(this.#tools, { recursive: true, force: true })
  }

  #environment(): NodeJS.ProcessEnv {
    return { ...process.env, CACHE_DIRECTORY: this.cache, XDP_TOOLS_PATH: this.#tools }
  }

  /** Runs `xdp …` on the filtering host, in the laboratory's directory. */
  async xdp(...args: readonly string[]): Promise<Output> {
    const [file, ...rest] = this.argv(...args) as [string, ...string[]]
    return capture(file, rest, { cwd: this.directory, env: this.#environment() })
  }

  /** Runs `xdp …` on the host, behind words that change its environment. */
  async xdpWithin(words: readonly string[], ...args: readonly string[]): Promise<Output> {
    const [nsenter, netns, ...xdp] = this.argv(...args) as [string, string, ...string[]]
    return capture(nsenter, [netns, ...words, ...xdp], { cwd: this.directory, env: this.#environment() })
  }

  /** Starts `xdp …` and returns the process, for tests that kill it. */
  start(...args: readonly string[]): ReturnType<typeof spawn> {
    const [file, ...rest] = this.argv(...args) as [string, ...string[]]
    const options = { cwd: this.directory, env: this.#environment() }
    return spawn(file, rest, { ...options, stdio: ['ignore', 'pipe', 'pipe'] })
  }

  /** Runs `xdp …` and expects exit status 0; returns stdout. */
  async ok(...args: readonly string[]): Promise<string> {
    const { exitCode, stdout, stderr } = await this.xdp(...args)
    if (exitCode !== 0) throw new Error(`xdp ${args.join(' ')} exited with ${exitCode}\n${stdout}\n${stderr}`)
    return stdout
  }

  /** Sends `count` pings from the peer; returns the number of answers. */
  async ping(
    target: string,
    { source, count = 2, seconds = 0.5 }: { source?: string; count?: number; seconds?: number } = {},
  ): Promise<number> {
    const from = source ? ['-I', source] : []
    const { stdout } = await capture('nsenter', [
      `--net=/run/netns/${this.peer}`,
      ...['ping', '-n', '-q', '-c', `${count}`, '-i', '0.05', '-W', `${seconds}`, ...from, target],
    ])
    return Number(/(\d+) received/.exec(stdout)?.[1] ?? '-1')
  }

  /** References to programs and maps, besides those of running processes: pins, and interfaces that run them. */
  objects(): Objects {
    const links = JSON.parse(this.in(this.host, 'ip', '-j', '-d', 'link', 'show')) as {
      ifname: string
      xdp?: unknown
    }[]
    const ours = links.filter(({ xdp }) => JSON.stringify(xdp ?? null).includes('"xdp_filter"'))
    return { pins: this.pins(), attached: ours.map(({ ifname }) => ifname) }
  }

  /** Everything pinned in the laboratory's bpffs, as sorted paths relative to our directory. */
  pins(): string[] {
    const ours = join(this.bpffs, 'xdp-as-code')
    if (!existsSync(ours)) return []
    return readdirSync(ours, { recursive: true, withFileTypes: true })
      .filter((entry) => !entry.isDirectory())
      .map((entry) => relative(ours, join(entry.parentPath, entry.name)))
      .sort()
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    for (const name of [this.host, this.peer]) attempt('ip', 'netns', 'del', name)
    attempt('umount', this.bpffs)
    rmSync(lastApplyFile({ bpffs: this.bpffs, instance: 'default' }), { force: true })
    rmSync(this.directory, { recursive: true, force: true })
  }
}

/** Runs a command; returns its output and exit status. */
export async function capture(
  file: string,
  args: readonly string[],
  options: { readonly cwd?: string; readonly env?: NodeJS.ProcessEnv } = {},
): Promise<Output> {
  try {
    const { stdout, stderr } = await run(file, [...args], { ...options, maxBuffer: 1 << 28 })
    return { exitCode: 0, stdout, stderr }
  } catch (error) {
    const { code, stdout, stderr } = error as { code?: unknown; stdout?: string; stderr?: string }
    if (typeof code !== 'number') throw error
    return { exitCode: code, stdout: stdout ?? '', stderr: stderr ?? '' }
  }
}

function sh(file: string, ...args: readonly string[]): string {
  return execFileSync(file, [...args], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
}

/** Several `ip` commands in a namespace. */
function ipBatch(netns: string, lines: readonly string[]): void {
  execFileSync('ip', ['-n', netns, '-batch', '-'], { input: `${lines.join('\n')}\n`, stdio: ['pipe', 'pipe', 'pipe'] })
}

/** Locally administered, unicast. */
const randomMac = (): string => ['02', ...(randomBytes(5).toString('hex').match(/../g) ?? [])].join(':')

function attempt(file: string, ...args: readonly string[]): void {
  try {
    sh(file, ...args)
  } catch {
    // Does not exist yet, or is already gone.
  }
}

export interface Objects {
  readonly pins: readonly string[]
  readonly attached: readonly string[]
}

export const NO_OBJECTS: Objects = { pins: [], attached: [] }

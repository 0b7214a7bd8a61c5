// A host to measure on: two network namespaces joined by a veth pair, a private bpffs, a directory, and a copy of the
// built command line that a concurrent rebuild does not touch. Everything is removed at the end of the process, however
// it ends.

import { execFileSync, spawn } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))

/** Cost of one process, children included (except for the memory). */
export interface Cost {
  /** Seconds from start to exit. */
  readonly wall: number
  /** Seconds of CPU time, user and system. */
  readonly cpu: number
  /** Bytes: peak of the resident set. */
  readonly memory: number
}

export interface Host {
  readonly netns: string
  /** The namespace at the far end of the wire. */
  readonly peer: string
  /** The end of the wire in `netns`. */
  readonly device: string
  readonly peerDevice: string
  readonly directory: string
  readonly bpffs: string
  /** Directory of the cache of `xdp …`. */
  readonly cache: string
  /** Writes a file into the directory and returns its path. */
  write(name: string, content: string): string
  /** Runs a command in `netns` and returns its stdout; throws if it fails. */
  in(...argv: readonly string[]): string
  /** Arguments of `xdp …` in `netns`. */
  xdp(...args: readonly string[]): string[]
}

export function sh(file: string, ...args: readonly string[]): string {
  return execFileSync(file, [...args], { encoding: 'utf8', maxBuffer: 1 << 28, stdio: ['ignore', 'pipe', 'pipe'] })
}

function attempt(file: string, ...args: readonly string[]): void {
  try {
    sh(file, ...args)
  } catch {
    // Does not exist yet, or is already gone.
  }
}

/** The path of a tool, or undefined. */
export function which(tool: string): string | undefined {
  const path = `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`.split(':')
  return path.map((directory) => join(directory, tool)).find((file) => existsSync(file))
}

/** `device`: a device name that is unique on the machine, if needed. */
export function makeHost(device = 'eth0'): Host {
  const netns = `xdp-bench-${process.pid}`
  const peer = `${netns}-peer`
  const directory = mkdtempSync(join(tmpdir(), 'xdp-bench-'))
  const bpffs = join(directory, 'bpffs')
  const cache = join(directory, 'cache')
  // For every process started from here on.
  process.env['CACHE_DIRECTORY'] = cache
  process.env['STATE_DIRECTORY'] = join(directory, 'state')
  process.once('exit', () => {
    for (const name of [netns, peer]) attempt('ip', 'netns', 'del', name)
    attempt('umount', bpffs)
    rmSync(directory, { recursive: true, force: true })
  })
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(130))

  mkdirSync(bpffs)
  sh('mount', '-t', 'bpf', 'bpf', bpffs)
  for (const name of [netns, peer]) {
    sh('ip', 'netns', 'add', name)
    sh('ip', '-n', name, 'link', 'set', 'lo', 'up')
  }
  // One queue, so that one thread does all the receiving.
  const queues = ['numtxqueues', '1', 'numrxqueues', '1']
  const far = ['peer', 'name', 'wire0', 'netns', peer, ...queues]
  sh('ip', 'link', 'add', device, 'netns', netns, ...queues, 'type', 'veth', ...far)
  sh('ip', '-n', netns, 'link', 'set', device, 'up')
  sh('ip', '-n', peer, 'link', 'set', 'wire0', 'up')
  cpSync(join(ROOT, 'dist'), join(directory, 'dist'), { recursive: true })
  cpSync(join(ROOT, 'package.json'), join(directory, 'package.json'))
  const enter = ['nsenter', `--net=/run/netns/${netns}`]
  return {
    netns,
    peer,
    device,
    peerDevice: 'wire0',
    directory,
    bpffs,
    cache,
    write(name, content) {
      const path = join(directory, name)
      writeFileSync(path, content)
      return path
    },
    in: (...argv) => sh('nsenter', `--net=/run/netns/${netns}`, ...argv),
    xdp: (...args) => [...enter, process.execPath, join(directory, 'dist', 'xdp.js'), '--bpffs', bpffs, ...args],
  }
}

/** bash's own `time` is always available and precise to the millisecond; the peak is the kernel's, read meanwhile. */
const TIMED = 'TIMEFORMAT="%R %U %S"; time { ( echo "$BASHPID" >&3; exec "$@" 2>&4 3>&- 4>&- ); }'
const ASK_EVERY_MS = 10

function peak(pid: number): number {
  try {
    return 1024 * Number(/^VmHWM:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0)
  } catch {
    return 0
  }
}

/** Runs a command and returns its cost; throws if it fails. */
export async function time(argv: readonly string[], cwd?: string): Promise<Cost> {
  const child = spawn('bash', ['-c', TIMED, 'bash', ...argv], {
    stdio: ['ignore', 'ignore', 'pipe', 'pipe', 'pipe'],
    ...(cwd ? { cwd } : {}),
  })
  const [, , timing, pids, errors] = child.stdio as unknown as [null, null, Readable, Readable, Readable]
  let memory = 0
  let timer: NodeJS.Timeout | undefined
  pids.once('data', (pid: Buffer) => {
    timer = setInterval(() => {
      memory = Math.max(memory, peak(Number(pid)))
    }, ASK_EVERY_MS)
  })
  const exited = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', resolve)
  })
  const [code, times, complaints] = await Promise.all([exited, text(timing), text(errors)])
  clearInterval(timer)
  if (code !== 0) throw new Error(`${argv.join(' ')} exited with ${code}\n${complaints}`)
  const [wall, user, system] = times.trim().split(/\s+/).map(Number) as [number, number, number]
  return { wall, cpu: user + system, memory }
}

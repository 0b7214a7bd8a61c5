// Measures by packets when a daemon's edit takes effect. The peer sends one per millisecond from an address that the
// edit blocks, with its departure time; the last one that the host receives shows when the new policy began to judge.

import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { setTimeout } from 'node:timers/promises'
import { type Host, sh } from './host.ts'
import { MIB, median } from './report.ts'

/** For packets of benchmarks (RFC 2544); not in any list of public addresses. */
const HOST = '198.18.0.1'
const PORT = 9
/** Pause between edits in milliseconds, as between those of people. */
const APART = 500
/** The daemon's debounce time in milliseconds. */
export const DEBOUNCE = 100

/** Source address of the peer: one for each round. */
export const source = (round: number): string => `198.18.${1 + (round >> 8)}.${round & 255}`

/** Gives both ends of the wire their addresses. */
export function connect(host: Host, rounds: number): void {
  for (const [netns, device, address] of [
    [host.netns, host.device, `${HOST}/15`],
    [host.peer, host.peerDevice, '198.18.255.254/15'],
  ] as const) {
    sh('ip', '-n', netns, 'addr', 'add', address, 'dev', device)
  }
  const batch = Array.from({ length: rounds }, (_, round) => `addr add ${source(round)}/32 dev ${host.peerDevice}\n`)
  writeFileSync(`${host.directory}/batch`, batch.join(''))
  sh('ip', '-n', host.peer, '-batch', `${host.directory}/batch`)
}

/** A process that answers each line of input with a line of output. */
class Asked {
  readonly #child: ChildProcess
  readonly #lines: AsyncIterator<string>

  constructor(netns: string, script: string) {
    this.#child = spawn('nsenter', [`--net=/run/netns/${netns}`, process.execPath, '-e', script], {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    this.#lines = createInterface({ input: this.#child.stdout as NodeJS.ReadableStream })[Symbol.asyncIterator]()
  }

  async ask(question: string): Promise<string> {
    this.#child.stdin?.write(`${question}\n`)
    return (await this.#lines.next()).value as string
  }

  end(): void {
    this.#child.stdin?.end()
  }
}

const LISTEN = `require('node:readline').createInterface({ input: process.stdin })`
/** Sends from the address in the last line of input. */
const SENDER = `
const { createSocket } = require('node:dgram')
let socket, payload = Buffer.alloc(8)
${LISTEN}.on('line', (address) => {
  socket?.close()
  const next = createSocket('udp4').bind(0, address, () => {
    socket = next
    console.log('sending')
  })
}).on('close', () => process.exit())
setInterval(() => {
  payload.writeBigInt64LE(process.hrtime.bigint())
  try { socket?.send(payload, ${PORT}, '${HOST}') } catch {}
}, 1)`
/** Prints departure time and source of the last received packet. */
const RECEIVER = `
let last = '0 -'
require('node:dgram').createSocket('udp4').on('message', (message, { address }) => {
  last = message.readBigInt64LE() + ' ' + address
}).bind(${PORT}, '${HOST}')
${LISTEN}.on('line', () => console.log(last)).on('close', () => process.exit())`

export interface Daemon {
  readonly pid: number
  /** Resolves at the next event of this name. */
  readonly hear: (event: string) => Promise<void>
  readonly stop: () => Promise<void>
}

/** Starts `xdp watch` of xdp.yaml in the host's directory. */
export function startDaemon(host: Host): Daemon {
  const [file, ...args] = host.xdp('watch', '-f', `${host.directory}/xdp.yaml`, '--json') as [string, ...string[]]
  const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  const heard: string[] = []
  let wake = (): void => undefined
  createInterface({ input: child.stdout }).on('line', (line) => {
    heard.push((JSON.parse(line) as { event: string }).event)
    wake()
  })
  return {
    pid: child.pid as number,
    async hear(event) {
      for (;;) {
        const next = heard.shift()
        if (next === event) return
        if (next === 'failed' || next === 'bad-config') throw new Error(`the daemon reported: ${next}`)
        if (next !== undefined) continue
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      }
    },
    stop: () =>
      new Promise((resolve) => {
        child.once('close', () => resolve())
        child.kill()
      }),
  }
}

/** Unit of CPU time in ticks per second: USER_HZ, which is equal on all of Linux. */
const TICKS = 100

/** CPU time of a process and its descendants so far in milliseconds, including ended ones. */
function cpuTime(pid: number): number {
  const fields = (path: string): number[] => {
    // The name in parentheses may contain spaces (proc_pid_stat(5)).
    const [, rest = ''] = /\) \S (.*)$/s.exec(readFileSync(path, 'utf8')) ?? []
    return rest.split(' ').map(Number)
  }
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean)
  // utime, stime, cutime, cstime: fields 14 to 17, of which the first here is 4.
  const own = fields(`/proc/${pid}/stat`)
    .slice(10, 14)
    .reduce((sum, ticks) => sum + ticks, 0)
  const others = children.map((child) => {
    try {
      return cpuTime(Number(child))
    } catch {
      return 0
    }
  })
  return (own * 1000) / TICKS + others.reduce((sum, time) => sum + time, 0)
}

export const memory = (pid: number): number =>
  1024 * Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0)

export interface Measured {
  readonly times: number[]
  readonly memory: number
  /** CPU time per edit in milliseconds. */
  readonly cpu: number
}

/**
 * Milliseconds from the close of a file to the first packet judged by the new policy, without the debounce time; for
 * each round.
 *
 * @param edit blocks `source(round)`, and makes the change to be measured
 */
export async function timeEdits(host: Host, rounds: number, edit: (round: number) => void): Promise<Measured> {
  const daemon = startDaemon(host)
  await daemon.hear('ready')
  const receiver = new Asked(host.netns, RECEIVER)
  const sender = new Asked(host.peer, SENDER)
  const times: number[] = []
  const before = cpuTime(daemon.pid)
  for (let round = 0; round < rounds; round++) {
    await sender.ask(source(round))
    await setTimeout(APART)
    for (let from = ''; from !== source(round); from = (await receiver.ask('')).split(' ')[1] as string);
    edit(round)
    const closed = process.hrtime.bigint()
    await daemon.hear('applied')
    const [sent = '0'] = (await receiver.ask('')).split(' ')
    times.push(Number(BigInt(sent) - closed) / 1e6 - DEBOUNCE)
  }
  const resident = memory(daemon.pid)
  const cpu = (cpuTime(daemon.pid) - before) / rounds
  for (const one of [sender, receiver]) one.end()
  await daemon.stop()
  return { times, memory: resident, cpu }
}

const percentile = (values: readonly number[], share: number): number =>
  values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * share))] as number

/** Headings for the cells of `editRow`. */
export const EDIT_HEADINGS = ['least', 'median', '90 %', 'most', 'CPU ms', 'RSS MiB'] as const

/** A row of a table about edits. */
export const editRow = ({ times, cpu, memory: resident }: Measured): string[] => [
  ...[Math.min(...times), median(times), percentile(times, 0.9), Math.max(...times), cpu].map((ms) => ms.toFixed(0)),
  (resident / MIB).toFixed(0),
]

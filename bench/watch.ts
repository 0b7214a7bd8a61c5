// npm run bench watch [-- --rounds N] [-- --edits N] [-- --sizes 10,100000]: how long an edit takes to be in force, with
// packets as the judge, and what many edits do to the memory of the daemon.
//
// A list file of so many addresses gets one line more. The peer sends a packet from that address every millisecond with
// the time at which it left; the last one that the host receives tells when the new policy began to judge. The figure is the time from the close of the file to that, less the debounce.

import { type ChildProcess, spawn } from 'node:child_process'
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { setTimeout } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { dotted, lines, publicAddresses } from './support/addresses.ts'
import { makeHost, sh } from './support/host.ts'
import { type Claim, conclude, MIB, median, table } from './support/report.ts'

/** For packets of benchmarks (RFC 2544); in no list of public addresses. */
const HOST = '198.18.0.1'
const PORT = 9
/** In milliseconds, beside the debounce. */
const TARGETS: Readonly<Record<number, number>> = { 10: 60, 100000: 150, 1000000: 400 }
const DEBOUNCE = 100
const APART = 500

const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string', default: '15' },
    edits: { type: 'string', default: '1000' },
    sizes: { type: 'string', default: Object.keys(TARGETS).join() },
  },
})
const rounds = Number(options.rounds)
const sizes = options.sizes.split(',').map(Number)

const host = makeHost()
const say = (text: string): void => void process.stderr.write(`${text}\n`)
/** What the peer sends from: one address for each round. */
const source = (round: number): string => `198.18.${1 + (round >> 8)}.${round & 255}`

for (const [netns, device, address] of [
  [host.netns, host.device, `${HOST}/15`],
  [host.peer, host.peerDevice, '198.18.255.254/15'],
] as const) {
  sh('ip', '-n', netns, 'addr', 'add', address, 'dev', device)
}
const batch = Array.from({ length: rounds }, (_, round) => `addr add ${source(round)}/32 dev ${host.peerDevice}\n`)
writeFileSync(`${host.directory}/batch`, batch.join(''))
sh('ip', '-n', host.peer, '-batch', `${host.directory}/batch`)

/** A process that is asked by lines and answers by lines. */
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
/** Sends from the address that it is told, until it is told another. */
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
/** Tells when the last packet that it received was sent, and from where. */
const RECEIVER = `
let last = '0 -'
require('node:dgram').createSocket('udp4').on('message', (message, { address }) => {
  last = message.readBigInt64LE() + ' ' + address
}).bind(${PORT}, '${HOST}')
${LISTEN}.on('line', () => console.log(last)).on('close', () => process.exit())`

interface Daemon {
  readonly pid: number
  /** Settles with the next event of this name. */
  readonly hear: (event: string) => Promise<void>
  readonly stop: () => Promise<void>
}

function startDaemon(): Daemon {
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
        if (next === 'failed' || next === 'bad-config') throw new Error(`the daemon told: ${next}`)
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

/** Ticks of the clock that CPU time is counted in, a second: USER_HZ, which is the same on all of Linux. */
const TICKS = 100

/** Milliseconds of CPU time that a process and its descendants took so far, with those that have ended. */
function cpuTime(pid: number): number {
  const fields = (path: string): number[] => {
    // The name in parentheses may have spaces in it (proc_pid_stat(5)).
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

const memory = (pid: number): number =>
  1024 * Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0)

function writeConfig(size: number): string {
  const list = host.write('list.txt', lines(publicAddresses(size), dotted))
  host.write(
    'xdp.yaml',
    `version: 1\ninterfaces: { ${host.device}: {} }\nblocklist: [{ name: list, file: list.txt, max_shrink: 100% }]\n`,
  )
  return list
}

interface Measured {
  readonly times: number[]
  readonly memory: number
  /** Milliseconds of CPU time for each edit. */
  readonly cpu: number
}

/** Milliseconds from the close of the file to the first packet that met the new policy, less the debounce; each round. */
async function latencies(size: number): Promise<Measured> {
  const list = writeConfig(size)
  const daemon = startDaemon()
  await daemon.hear('ready')
  const receiver = new Asked(host.netns, RECEIVER)
  const sender = new Asked(host.peer, SENDER)
  const times: number[] = []
  const before = cpuTime(daemon.pid)
  for (let round = 0; round < rounds; round++) {
    await sender.ask(source(round))
    // Edits of people are further apart than this.
    await setTimeout(APART)
    for (let from = ''; from !== source(round); from = (await receiver.ask('')).split(' ')[1] as string);
    appendFileSync(list, `${source(round)}\n`)
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

/** Resident memory of the daemon in the course of many edits of a small file. */
async function memoryOver(edits: number): Promise<readonly (readonly [number, number])[]> {
  const list = writeConfig(10)
  const daemon = startDaemon()
  await daemon.hear('ready')
  const course: [number, number][] = []
  for (let edit = 1; edit <= edits; edit++) {
    appendFileSync(list, `198.19.${edit >> 8}.${edit & 255}\n`)
    await daemon.hear('applied')
    if (edit === 10 || edit % Math.max(1, Math.floor(edits / 10)) === 0) course.push([edit, memory(daemon.pid)])
  }
  await daemon.stop()
  return course
}

const percentile = (values: readonly number[], share: number): number =>
  values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * share))] as number

const claims: Claim[] = []
const measured: Record<string, Measured> = {}
for (const size of sizes) {
  say(`${size.toLocaleString('en')} addresses …`)
  const result = await latencies(size)
  measured[size] = result
  const limit = TARGETS[size]
  if (limit === undefined) continue
  const what = `one line added to ${size.toLocaleString('en')}, median`
  claims.push({ what, kind: 'target', limit, measured: median(result.times), unit: 'ms' })
}
console.log(`One line added to a list file: from the close of the file to the first packet that meets the new policy, in ms
beyond the debounce of ${DEBOUNCE} ms (${rounds} rounds)\n`)
const rows = Object.entries(measured).map(([size, { times, memory: resident, cpu }]) => [
  Number(size).toLocaleString('en'),
  ...[Math.min(...times), median(times), percentile(times, 0.9), Math.max(...times)].map((time) => time.toFixed(0)),
  cpu.toFixed(0),
  (resident / MIB).toFixed(0),
])
console.log(table(['addresses', 'least', 'median', '90 %', 'most', 'CPU ms', 'RSS MiB'], rows))

const edits = Number(options.edits)
say(`${edits} edits …`)
const course = edits > 0 ? await memoryOver(edits) : []
if (course.length > 0) {
  console.log(`\nResident memory over ${edits.toLocaleString('en')} edits of a list of 10\n`)
  console.log(
    table(
      ['edits', 'RSS MiB'],
      course.map(([edit, bytes]) => [`${edit}`, (bytes / MIB).toFixed(1)]),
    ),
  )
}
conclude('watch', claims, { debounce: DEBOUNCE, measured, course })

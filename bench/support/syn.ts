// The cost of answers to SYNs: of the program alone, in test runs, and with everything around it, as live frames over a veth
// pair, in the same turns as the kernel's own cookies and those of nftables synproxy.

import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { bpftool } from '../../src/abi/command.ts'
import { runBatch, runBpftool } from '../../src/kernel/tools/bpftool.ts'
import { withExchange } from '../../src/kernel/tools/exchange.ts'
import { DEFAULT_POLICY } from '../../src/model/policy.ts'
import { EMPTY_STATE, type State } from '../../src/model/state.ts'
import { LOW } from '../../src/tables/lines/lines.ts'
import { DataPlane } from '../../test/support/bpf.ts'
import { Namespace } from '../../test/support/netns.ts'
import * as p from '../../test/support/packets.ts'
import {
  compileGenerator,
  macOf,
  packetsOf,
  RECEIVER_CPU,
  receiver,
  runtime,
  SENDER_CPU,
  setUp,
  sysfs,
  TARGET,
} from './flood.ts'
import { type Host, makeHost, sh, which } from './host.ts'
import { median } from './report.ts'

const OBJECT = fileURLToPath(new URL('./syn.bpf.o', import.meta.url))
const PORT = 443
const SLOT = 5
const REPEAT = 2 ** 16
const FRAME = 74
/** Options of Linux: MSS 1460, SACK permitted, a timestamp, window scale 7. */
const OPTIONS = Buffer.from('020405b40402080a010203040000000001030307', 'hex')
/** Before every ordinary process: what preempts a test run would count. */
const REAL_TIME = which('chrt') ? ['chrt', '-f', '10'] : []
const VERDICT = { drop: 1, pass: 2, tx: 3 } as const

const sumOf = (view: DataView, from: number, to: number): number => {
  let sum = 0
  for (let at = from; at < to; at += 2) sum += view.getUint16(at, LOW === 0)
  return sum
}

/** struct workload: a frame and the sums of its unchanging parts. */
function workloadOf(senders: number, { ifindex = 0, mac = '02:00:00:00:00:00' } = {}): Uint8Array {
  const header = p.tcp({ source: 0, destination: PORT, words: 10 })
  const frame = p.packet(
    p.ethernet({ destination: mac }),
    p.ipv4({ source: '0.0.0.0', destination: TARGET, dontFragment: true }),
    { protocol: 6, build: (payload, next) => header.build(payload, next) },
    p.raw(OPTIONS),
  )
  const bytes = new Uint8Array(16 + 80)
  bytes.set(frame, 16)
  const view = new DataView(bytes.buffer)
  const [ip, tcp, end] = [16 + 14, 16 + 34, 16 + FRAME]
  const pseudo = new DataView(Uint8Array.from([0, 6, 0, FRAME - 34]).buffer)
  view.setUint32(0, ifindex, LOW === 0)
  view.setUint32(4, sumOf(view, ip, tcp), LOW === 0)
  view.setUint32(8, sumOf(view, ip + 16, ip + 20) + sumOf(view, tcp, end) + sumOf(pseudo, 0, 4), LOW === 0)
  view.setUint32(12, senders, LOW === 0)
  return bytes
}

const words = (bytes: Uint8Array): string[] => [...bytes].map(String)
const KEY = ['key', '0', '0', '0', '0'] as const

/** Loads the programs of syn.bpf.o below a directory of a bpffs. */
async function loadPrograms(directory: string, workload: Uint8Array): Promise<void> {
  mkdirSync(directory)
  const array = ['key', '4', 'entries', '1', 'name'] as const
  await runBatch([
    bpftool('map', 'create', `${directory}/subject`, 'type', 'prog_array', 'value', '4', ...array, 'subject'),
    bpftool('map', 'create', `${directory}/workloads`, 'type', 'array', 'value', '96', ...array, 'workloads'),
  ])
  const reuse = ['subject', 'workloads'].flatMap((name) => ['map', 'name', name, 'pinned', `${directory}/${name}`])
  await runBpftool('prog', 'loadall', OBJECT, `${directory}/programs`, ...reuse)
  await runBpftool('map', 'update', 'pinned', `${directory}/workloads`, ...KEY, 'value', ...words(workload))
}

async function listen(netns: string): Promise<ChildProcess> {
  const script = `
import socket, time
one = socket.create_server(('0.0.0.0', ${PORT}), backlog=4096)
print('ready', flush=True)
time.sleep(3600)
`
  const server = spawn('nsenter', [`--net=/run/netns/${netns}`, 'python3', '-c', script])
  await once(server.stdout as NodeJS.ReadableStream, 'data')
  return server
}

const COOKIES = ['net.ipv4.tcp_syncookies=2', 'net.ipv4.tcp_timestamps=2'] as const

const guarding = (mode: 'always' | 'auto', threshold: number): State => ({
  ...EMPTY_STATE,
  policy: { ...DEFAULT_POLICY, syn_protection: `${mode} ${threshold} ${PORT}` },
  receiveMax: 0,
})

interface Subject {
  readonly name: string
  readonly program: string
  readonly verdict: number
  readonly forwards: boolean
}

export interface Measured {
  readonly name: string
  /** Nanoseconds, one figure a round. */
  readonly times: readonly number[]
}

async function timeAll(netns: string, directory: string, subjects: readonly Subject[], rounds: number) {
  return withExchange(async (files): Promise<Measured[]> => {
    const frame = `${files}/frame`
    writeFileSync(frame, new Uint8Array(FRAME))
    const times = subjects.map((): number[] => [])
    for (let round = 0; round < rounds; round++)
      for (const [i, { name, program, verdict, forwards }] of subjects.entries()) {
        const run = ['prog', 'run', 'pinned', `${directory}/programs/run_syns`, 'data_in', frame]
        const turn = [...run, 'data_out', '/dev/null', 'repeat', `${REPEAT}`].join(' ')
        const choose = ['map', 'update', 'pinned', `${directory}/subject`, ...KEY, 'value', 'pinned', program].join(' ')
        const inside = [`--net=/run/netns/${netns}`]
        execFileSync('nsenter', [...inside, 'sysctl', '-qw', `net.ipv4.ip_forward=${Number(forwards)}`])
        const output = execFileSync('nsenter', [...inside, ...REAL_TIME, 'bpftool', '-j', 'batch', 'file', '-'], {
          input: `${choose}\n${turn}\n${turn}\n`,
          encoding: 'utf8',
        })
        const outputs = JSON.parse(output) as { output: { retval: number; duration: number } }[]
        const { retval, duration } = (outputs.at(-1) as (typeof outputs)[number]).output
        if (retval !== verdict) throw new Error(`${name}: returned ${retval}`)
        times[i]?.push(duration)
      }
    return subjects.map(({ name }, i) => ({ name, times: times[i] as number[] }))
  })
}

/** Nanoseconds per SYN of the program alone; the first subject drops. */
export async function measureAlone(rounds: number): Promise<Measured[]> {
  const netns = new Namespace([], {})
  const directory = `/sys/fs/bpf/xdp-bench-syn-${process.pid}`
  const planes: DataPlane[] = []
  let server: ChildProcess | undefined
  try {
    netns.run('ip', 'addr', 'add', `${TARGET}/32`, 'dev', 'lo')
    netns.run('sysctl', '-qw', ...COOKIES)
    server = await listen(netns.name)
    await loadPrograms(directory, workloadOf(2 ** 20))
    const states = {
      'no protection': EMPTY_STATE,
      'mode auto, below the threshold': guarding('auto', 1_000_000_000),
      answered: guarding('always', 2000),
    } as const
    for (const state of Object.values(states)) {
      const plane = await DataPlane.open(netns.name)
      planes.push(plane)
      await plane.loadState(state)
      await plane.attachTestRuns(SLOT)
    }
    const own = Object.keys(states).map((name, i) => ({
      ...{ name, program: (planes[i] as DataPlane).program('xdp_filter'), forwards: false },
      verdict: name === 'answered' ? VERDICT.tx : VERDICT.pass,
    }))
    const answered = own.at(-1) as Subject
    const subjects: Subject[] = [
      { name: 'XDP_DROP', program: `${directory}/programs/drop`, verdict: VERDICT.drop, forwards: false },
      ...own,
      {
        name: 'questions to the kernel, of these',
        program: `${directory}/programs/ask`,
        verdict: VERDICT.tx,
        forwards: false,
      },
      { ...answered, name: 'answered, by a host that forwards', forwards: true },
    ]
    return await timeAll(netns.name, directory, subjects, rounds)
  } finally {
    for (const plane of planes) plane.close()
    server?.kill('SIGKILL')
    rmSync(directory, { recursive: true, force: true })
    netns.close()
  }
}

interface Setup {
  readonly name: string
  readonly start: (host: Host) => void
  readonly stop: (host: Host) => void
}

const SYNPROXY = `
table ip proxy {
  chain raw { type filter hook prerouting priority raw; tcp dport ${PORT} tcp flags syn notrack; }
  chain input {
    type filter hook input priority filter;
    tcp dport ${PORT} ct state invalid,untracked synproxy mss 1460 wscale 7 timestamp sack-perm;
    ct state invalid drop;
  }
}
`

/** Why this kernel or machine has no synproxy; undefined: it has. */
export function whyNoSynproxy(host: Host): string | undefined {
  try {
    host.in('nft', '-c', '-f', host.write('synproxy.nft', SYNPROXY))
    return undefined
  } catch (error) {
    return `nftables synproxy: ${(error as { stderr?: string }).stderr?.split('\n')[0] ?? 'nft is not installed'}`
  }
}

const attach = (pin: string): Pick<Setup, 'start' | 'stop'> => ({
  start: (host) => host.in('bpftool', 'net', 'attach', 'xdpdrv', 'pinned', pin, 'dev', host.device),
  stop: (host) => host.in('bpftool', 'net', 'detach', 'xdpdrv', 'dev', host.device),
})

export interface LiveResult {
  readonly measured: readonly Measured[]
  /** By name of the subject: the share of SYNs with an answer, and of the time that the receiver ran. */
  readonly answered: ReadonlyMap<string, number>
  readonly busy: ReadonlyMap<string, number>
  readonly skipped: readonly string[]
}

/** CPU time of the receiver per SYN, in nanoseconds; the first subject drops. `realTime`: before every ordinary process. */
export async function measureLive(rounds: number, milliseconds: number, realTime: boolean): Promise<LiveResult> {
  const made = makeHost(`xs${process.pid}`)
  const far = `xp${process.pid}`
  sh('ip', '-n', made.peer, 'link', 'set', made.peerDevice, 'down')
  sh('ip', '-n', made.peer, 'link', 'set', made.peerDevice, 'name', far, 'up')
  const host: Host = { ...made, peerDevice: far }
  setUp(host)
  host.in('sysctl', '-qw', ...COOKIES)
  const server = await listen(host.netns)
  try {
    const generator = compileGenerator(host.directory)
    const [{ ifindex }] = JSON.parse(sh('ip', '-n', host.peer, '-j', 'link', 'show', 'dev', far)) as [
      { ifindex: number },
    ]
    const directory = `${host.bpffs}/bench`
    const mac = macOf(host.netns, host.device)
    await loadPrograms(directory, workloadOf(2 ** 20, { ifindex, mac }))
    // Answers end at the far side, in a thread of its own.
    const inPeer = [`--net=/run/netns/${host.peer}`]
    sh('nsenter', ...inPeer, 'bpftool', 'net', 'attach', 'xdpdrv', 'pinned', `${directory}/programs/drop`, 'dev', far)
    sysfs(host.peer, `${far}/threaded`, '1')
    sh('taskset', '-pc', SENDER_CPU, receiver(far))
    // Before the sender, or answers find no room.
    if (realTime) sh('chrt', '-f', '-p', '11', receiver(far))
    const config = host.write(
      'xdp.yaml',
      `version: 1\ninterfaces: { ${host.device}: { mode: native } }\nallowlist: []\nblocklist: []\n` +
        `syn_protection: { ports: [${PORT}], mode: always }\n`,
    )
    const [file, ...args] = host.xdp('-f', config, 'apply', '--auto-approve') as [string, ...string[]]
    sh(file, ...args)
    const pin = host.in('sh', '-c', `ls -d ${host.bpffs}/xdp-as-code/*/gen-*/programs/xdp_filter`).trim()
    host.in('bpftool', 'net', 'detach', 'xdpdrv', 'dev', host.device)
    const missing = whyNoSynproxy(host)
    const setups: Setup[] = [
      { name: 'XDP_DROP', ...attach(`${directory}/programs/drop`) },
      { name: 'ours', ...attach(pin) },
      { name: 'cookies of the kernel', start: () => {}, stop: () => {} },
      ...(missing
        ? []
        : [
            {
              name: 'nftables synproxy',
              start: (one: Host) => one.in('nft', '-f', `${host.directory}/synproxy.nft`),
              stop: (one: Host) => one.in('nft', 'flush', 'ruleset'),
            },
          ]),
    ]
    const thread = receiver(host.device)
    sh('taskset', '-pc', RECEIVER_CPU, thread)
    if (realTime) sh('chrt', '-f', '-p', '10', thread)
    const first = realTime ? REAL_TIME : []
    const times = new Map<string, number[]>()
    const answered = new Map<string, number[]>()
    const busy = new Map<string, number[]>()
    const note = (map: Map<string, number[]>, name: string, value: number): void => {
      map.set(name, [...(map.get(name) ?? []), value])
    }
    for (let round = -1; round < rounds; round++)
      for (const { name, start, stop } of setups) {
        start(host)
        const before = {
          ran: runtime(thread),
          frames: packetsOf(host.netns, host.device),
          back: packetsOf(host.peer, far),
        }
        const words = [`${directory}/programs/generate`, `${milliseconds}`, mac, TARGET, `${FRAME}`]
        sh('nsenter', ...inPeer, ...first, 'taskset', '-c', SENDER_CPU, generator, ...words)
        // Wait for the frames still in the rings.
        await new Promise((resolve) => setTimeout(resolve, 20))
        const ran = runtime(thread) - before.ran
        const frames = packetsOf(host.netns, host.device) - before.frames
        const back = packetsOf(host.peer, far) - before.back
        stop(host)
        // The first round warms caches.
        if (round < 0) continue
        note(times, name, ran / frames)
        note(answered, name, back / frames)
        note(busy, name, ran / 1e6 / milliseconds)
      }
    const medians = (map: Map<string, number[]>): Map<string, number> =>
      new Map([...map].map(([name, values]) => [name, median(values)]))
    return {
      measured: [...times].map(([name, values]) => ({ name, times: values })),
      answered: medians(answered),
      busy: medians(busy),
      skipped: missing ? [missing] : [],
    }
  } finally {
    server.kill('SIGKILL')
  }
}

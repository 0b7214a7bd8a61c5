// npm run bench established: the cost of asking the kernel for the socket of a packet, before it is dropped (`established`)
// and to see whether it is stray (`socket: none`).
//
// Runs in a network namespace of its own, with real TCP connections on its loopback device. Every figure is the median
// over rounds of two policies of default drop, with `established: pass` and with `judge`, and of two with one entry for TCP
// from everywhere, with `socket: none` and without, in turns, above a program that passes everything. Compare differences:
// nanoseconds depend on the machine and its other load.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { ACK, SYN } from '../src/model/headers.ts'
import { DEFAULT_POLICY, type Established } from '../src/model/policy.ts'
import { EMPTY_STATE, type Scope, type State } from '../src/model/state.ts'
import { LOW } from '../src/tables/lines/lines.ts'
import { ANY, list, scoped } from '../test/support/states.ts'
import { DROP, NOTHING, PASS, timePolicies } from './support/policies.ts'
import { type Claim, conclude, table } from './support/report.ts'

const INSIDE = '--inside'
const SERVE = '--serve'
const RANGE = { first: 32_768, last: 60_999 }
/** Local ports of the connections, and ports without one. */
const OWN = { first: 32_768, count: 16_384 }
const FREE = { first: 50_000, count: 8192 }
const SERVER = 999
const ROUNDS = 15

interface Case {
  readonly name: string
  readonly flags: number
  readonly first: number
  /** A power of two. */
  readonly count: number
  /** Whether the packets belong to a connection. */
  readonly own: boolean
}

const CASES = {
  syn: { name: 'a bare SYN to a local port', flags: SYN, ...FREE, own: false },
  outside: { name: 'an ACK to a port outside the range', flags: ACK, first: 1024, count: 8192, own: false },
  listener: { name: 'an ACK to a listener', flags: ACK, first: SERVER, count: 1, own: false },
  stranger: { name: 'an ACK to a local port without a socket', flags: ACK, ...FREE, own: false },
  warm: { name: 'a packet of one connection', flags: ACK, first: OWN.first, count: 1, own: true },
  cold: { name: `packets of ${OWN.count.toLocaleString('en')} connections`, flags: ACK, ...OWN, own: true },
} as const satisfies Readonly<Record<string, Case>>
type CaseName = keyof typeof CASES
const NAMES = Object.keys(CASES) as CaseName[]

/** A TCP segment between loopback addresses; struct ports follows the TCP header. */
function frameOf({ flags, first, count }: Case): Uint8Array {
  const frame = new Uint8Array(64)
  const view = new DataView(frame.buffer)
  frame.set([8, 0, 0x45, 0, 0, 50], 12)
  frame.set([64, 6], 22)
  frame.set([127, 0, 0, 1, 127, 0, 0, 1], 26)
  view.setUint16(34, SERVER)
  view.setUint16(46, 0x5000 | flags)
  view.setUint16(54, first, LOW === 0)
  view.setUint16(56, count, LOW === 0)
  return frame
}

const FRAMES = Object.fromEntries(NAMES.map((name) => [name, frameOf(CASES[name])])) as Record<CaseName, Uint8Array>

/** Accepts the connections, in a process of its own because of the limit of open files. */
async function serve(): Promise<void> {
  const server = createServer((socket) => socket.on('error', () => undefined))
  await once(server.listen({ host: '127.0.0.1', port: SERVER, backlog: 4096 }), 'listening')
  process.stdout.write('ready')
}

/** Opens the connections, and returns their server. */
async function openConnections(): Promise<ChildProcess> {
  const child = spawn(process.execPath, [process.argv[1] as string, SERVE], { stdio: ['ignore', 'pipe', 'inherit'] })
  await once(child.stdout, 'data')
  const to = { host: '127.0.0.1', port: SERVER, localAddress: '127.0.0.1' }
  for (let at = 0; at < OWN.count; at += 256) {
    const some = Array.from({ length: 256 }, (_, i) => connect({ ...to, localPort: OWN.first + at + i }))
    await Promise.all(some.map((socket) => once(socket, 'connect')))
  }
  return child
}

const established = (value: Established): State => ({
  ...EMPTY_STATE,
  policy: { ...DEFAULT_POLICY, default: 'drop', unparsed: 'drop', essential: [], established: value },
  localPorts: value === 'pass' ? RANGE : undefined,
})

const listed = (socket: Pick<Scope, 'socket'>): State => ({
  ...EMPTY_STATE,
  lists: new Map([['tcp', list('blocklist', 'tcp', scoped({ ...ANY, protocol: 6, ...socket }, '0.0.0.0/0'))]]),
})

/** The policies. */
const STATES = {
  judge: established('judge'),
  pass: established('pass'),
  tcp: listed({}),
  stray: listed({ socket: 'none' }),
} as const satisfies Readonly<Record<string, State>>

type Subject = keyof typeof STATES | typeof NOTHING

/** Whether the packets of a case pass. */
function isPassed(subject: Subject, name: CaseName): boolean {
  if (subject === NOTHING) return true
  if (subject === 'stray') return CASES[name].own || CASES[name].flags === SYN
  return subject === 'pass' && CASES[name].own
}

async function measure(): Promise<void> {
  const server = await openConnections()
  try {
    const at = await timePolicies({
      ...{ object: 'established.bpf.o', run: 'run_ports', rounds: ROUNDS },
      ...{ states: STATES, frames: FRAMES },
      verdict: (policy, name) => (isPassed(policy, name) ? PASS : DROP),
    })
    const between = (without: Subject, asking: Subject, name: CaseName): number => at(asking, name) - at(without, name)
    const added = (name: CaseName): number => between('judge', 'pass', name)
    const stray = (name: CaseName): number => between('tcp', 'stray', name)
    const above = (one: Subject, name: CaseName): string => (at(one, name) - at(NOTHING, name)).toFixed(0)
    const rows = (without: Subject, asking: Subject) =>
      NAMES.map((name) => [
        CASES[name].name,
        above(without, name),
        above(asking, name),
        between(without, asking, name).toFixed(0),
      ])
    console.log(table(['ns per packet', 'judge', 'pass', 'added'], rows('judge', 'pass')))
    console.log(`\n${table(['ns per packet', 'an entry for TCP', 'socket: none', 'added'], rows('tcp', 'stray'))}`)
    const claims: Claim[] = [
      { kind: 'budget', what: `${CASES.warm.name}: added`, limit: 45, measured: added('warm'), unit: 'ns' },
      { kind: 'target', what: `${CASES.syn.name}: added`, limit: 5, measured: added('syn'), unit: 'ns' },
      { kind: 'target', what: `${CASES.outside.name}: added`, limit: 5, measured: added('outside'), unit: 'ns' },
    ]
    const byCase = (of: (name: CaseName) => number) => Object.fromEntries(NAMES.map((name) => [name, of(name)]))
    conclude('established', claims, { added: byCase(added), stray: byCase(stray) })
  } finally {
    server.kill()
  }
}

/** Runs this program again in a network namespace of its own. */
function isolate(): number {
  const range = `net.ipv4.ip_local_port_range=${RANGE.first} ${RANGE.last}`
  const script = 'ip link set lo up && sysctl -qw "$1" && shift && exec "$@"'
  const argv = ['--net', 'sh', '-c', script, 'sh', range, process.execPath, process.argv[1] as string, INSIDE]
  return spawnSync('unshare', argv, { stdio: 'inherit' }).status ?? 1
}

if (process.argv.includes(SERVE)) await serve()
else if (process.argv.includes(INSIDE)) {
  await measure()
  // The connections keep the process alive.
  process.exit()
} else process.exitCode = isolate()

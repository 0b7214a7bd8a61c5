// npm run bench health [-- --checks N --seconds S]: measures whether thousands of health checks keep their schedule,
// and their cost. N checks (2,000) with an interval of 2 s run for S seconds (20) against servers in another network
// namespace: all of them answer; a tenth does not answer and a tenth refuses; all of them answer over HTTP. HTTPS and
// commands are expensive, so there are fewer of them.
//
// The monitor is a separate process on one CPU, the servers are one on another, both with priority over everything else
// on the machine. Lateness is from the planned start of a check to its start. CPU time is of the monitor's process,
// without that of commands.

import { spawn } from 'node:child_process'
import { parseArgs } from 'node:util'
import type { HealthCheck } from '../src/model/health.ts'
import { LATENESS_BOUNDS } from '../src/watch/health/counters.ts'
import { HealthMonitor } from '../src/watch/health/monitor.ts'
import { makeProbe } from '../src/watch/health/probes/probe.ts'
import type { BackendTarget, Targets } from '../src/watch/health/targets.ts'
import { MONOTONIC } from '../src/watch/time/scheduler.ts'
import { makeHost, sh } from './support/host.ts'
import { conclude, MIB, table } from './support/report.ts'

const { values: options } = parseArgs({
  options: {
    checks: { type: 'string', default: '2000' },
    seconds: { type: 'string', default: '20' },
    /** Set in the process that the benchmark starts to measure one scenario. */
    inside: { type: 'string' },
  },
})

const INTERVAL = 2000
const SCENARIOS = {
  'tcp, all answer': { type: 'tcp', silent: 0, refusing: 0, share: 1 },
  'tcp, one in ten silent, one in ten refuses': { type: 'tcp', silent: 0.1, refusing: 0.1, share: 1 },
  'http, all answer': { type: 'http', silent: 0, refusing: 0, share: 1 },
  'https, all answer': { type: 'https', silent: 0, refusing: 0, share: 0.1 },
  'exec, /bin/true as nobody': { type: 'exec', silent: 0, refusing: 0, share: 0.02 },
} as const
type Scenario = keyof typeof SCENARIOS

interface Measured {
  readonly checks: number
  readonly failures: number
  readonly missed: number
  readonly buckets: readonly number[]
  readonly maxMs: number
  readonly meanMs: number
  /** As a share of one CPU. */
  readonly cpu: number
  /** In bytes. */
  readonly memory: number
}

/** The types that are measured. */
type Timed = 'tcp' | 'http' | 'https' | 'udp' | 'exec'

/** 10.1.0.0/16 answers, 10.2.0.0/16 drops everything. */
function checkOf(type: Timed, net: number, number: number, port: number): HealthCheck {
  const address = { family: 4, words: Uint32Array.of(0x0a000000 + net * 0x10000 + number + 1) } as const
  const schedule = { intervalMs: INTERVAL, jitterMs: 200, timeoutMs: 1000, rise: 2, fall: 3, slowStartMs: 0 }
  const common = { address, port, ...schedule }
  const request = {
    method: 'GET',
    path: '/',
    host: undefined,
    headers: {},
    status: [{ first: 200, last: 399 }],
    body: undefined,
  } as const
  switch (type) {
    case 'tcp':
      return { ...common, type }
    case 'http':
      return { ...common, type, ...request }
    case 'https':
      return { ...common, type, ...request, port: 443, sni: undefined, verify: false }
    case 'udp':
      return { ...common, type, send: '', expect: undefined }
    case 'exec':
      return { ...common, type, command: ['/bin/true'], user: 'nobody' }
  }
}

/** Services of 100 backends each, with all kinds mixed. */
function targetsOf({ type, silent, refusing, share }: (typeof SCENARIOS)[Scenario], checks: number): Targets {
  const services = new Map<string, Map<string, BackendTarget>>()
  for (let i = 0; i < checks * share; i++) {
    const name = `service-${Math.floor(i / 100)}`
    const members = services.get(name) ?? new Map<string, BackendTarget>()
    services.set(name, members)
    const place = (i % 10) / 10
    const isSilent = place < silent
    const check = checkOf(type, isSilent ? 2 : 1, i, !isSilent && place < silent + refusing ? 81 : 80)
    members.set(`${i}`, { check, active: true, backup: false, reachable: true, leaving: false })
  }
  const common = { minHealthy: { kind: 'count', value: 1 }, fallback: 'keep_last' } as const
  return new Map([...services].map(([name, backends]) => [name, { ...common, backends }]))
}

async function measure(scenario: Scenario): Promise<Measured> {
  const monitor = new HealthMonitor({
    scheduler: MONOTONIC,
    probe: makeProbe(MONOTONIC.now),
    random: Math.random,
    onOverlay: () => undefined,
    onEvent: () => undefined,
  })
  const [start, cpu] = [performance.now(), process.cpuUsage()]
  monitor.update(targetsOf(SCENARIOS[scenario], Number(options.checks)))
  await new Promise((resolve) => setTimeout(resolve, 1000 * Number(options.seconds)))
  const { user, system } = process.cpuUsage(cpu)
  const wall = performance.now() - start
  const { checks, failures, missed, lateness } = monitor.counters()
  const memory = process.memoryUsage.rss()
  monitor.stop()
  const started = lateness.buckets.reduce((sum, count) => sum + count)
  const { buckets, sumMs, maxMs } = lateness
  const common = { checks, failures, missed, buckets, maxMs, memory }
  return { ...common, meanMs: sumMs / started, cpu: (user + system) / 1000 / wall }
}

/** The lateness below which this share of the checks started. */
function quantile({ buckets, maxMs }: Measured, share: number): number {
  const all = buckets.reduce((sum, count) => sum + count)
  let below = 0
  for (const [i, count] of buckets.entries()) {
    below += count
    if (below >= share * all) return Math.min(maxMs, LATENESS_BOUNDS[i] ?? maxMs)
  }
  return maxMs
}

const SERVER = `
const { readFileSync } = require('node:fs')
const [cert, key] = process.argv.slice(1).map((file) => readFileSync(file))
require('node:https')
  .createServer({ cert, key }, (_, response) => response.end('ok'))
  .listen({ host: '0.0.0.0', port: 443, backlog: 4096 })
const done = 'HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\nConnection: close\\r\\n\\r\\nok'
require('node:net')
  .createServer((socket) => socket.on('error', () => undefined).once('data', () => socket.end(done)))
  .listen({ host: '0.0.0.0', port: 80, backlog: 4096 }, () => console.log('ready'))
`

/** Runs a process pinned to a CPU in a namespace, with priority over others; resolves to its first line of output. */
function pinned(netns: string, cpu: number, argv: readonly string[]): { readonly line: Promise<string>; kill(): void } {
  const command = ['--net', `/run/netns/${netns}`].join('=')
  const child = spawn('nsenter', [command, 'chrt', '--rr', '1', 'taskset', '-c', `${cpu}`, ...argv], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let output = ''
  const line = new Promise<string>((resolve, reject) => {
    child.stdout.on('data', (data) => {
      output += data
      if (output.includes('\n')) resolve(output.slice(0, output.indexOf('\n')))
    })
    child.on('close', (code) => reject(new Error(`${argv[0]} exited with ${code}`)))
  })
  return { line, kill: () => void child.kill() }
}

async function main(): Promise<void> {
  const { netns, peer, device, peerDevice, directory } = makeHost()
  const [cert, key] = [`${directory}/cert.pem`, `${directory}/key.pem`]
  const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
  sh('openssl', 'req', '-x509', ...kind, '-subj', '/CN=bench', '-days', '2', '-keyout', key, '-out', cert)
  sh('ip', '-n', netns, 'addr', 'add', '10.0.0.1/24', 'dev', device)
  sh('ip', '-n', peer, 'addr', 'add', '10.0.0.2/24', 'dev', peerDevice)
  for (const net of ['10.1.0.0/16', '10.2.0.0/16']) sh('ip', '-n', netns, 'route', 'add', net, 'via', '10.0.0.2')
  sh('ip', '-n', peer, 'route', 'add', 'local', '10.1.0.0/16', 'dev', 'lo')
  sh('ip', '-n', peer, 'route', 'add', 'blackhole', '10.2.0.0/16')
  const server = pinned(peer, 1, [process.execPath, '-e', SERVER, cert, key])
  const results = new Map<Scenario, Measured>()
  try {
    await server.line
    for (const scenario of Object.keys(SCENARIOS) as Scenario[]) {
      const args = ['--checks', options.checks, '--seconds', options.seconds, '--inside', scenario]
      const { line } = pinned(netns, 0, [process.execPath, process.argv[1] as string, ...args])
      results.set(scenario, JSON.parse(await line) as Measured)
    }
  } finally {
    server.kill()
  }
  const rows = [...results].map(([name, one]) => [
    name,
    `${one.checks}`,
    `${one.failures}`,
    `${one.missed}`,
    quantile(one, 0.5).toFixed(0),
    quantile(one, 0.99).toFixed(0),
    one.maxMs.toFixed(0),
    `${(100 * one.cpu).toFixed(0)} %`,
    `${((1e6 * one.cpu * Number(options.seconds)) / one.checks).toFixed(0)}`,
    (one.memory / MIB).toFixed(0),
  ])
  console.log(`${options.checks} checks every ${INTERVAL / 1000} s, for ${options.seconds} s. Lateness in ms:`)
  console.log(table(['', 'checks', 'failed', 'missed', 'p50', 'p99', 'max', 'of a CPU', 'µs per check', 'MiB'], rows))
  const tcp = results.get('tcp, all answer') as Measured
  conclude(
    'health',
    [
      { what: 'lateness of 99 % of TCP checks', kind: 'target', limit: 50, measured: quantile(tcp, 0.99), unit: 'ms' },
      { what: 'TCP checks, of one CPU', kind: 'target', limit: 1, measured: tcp.cpu },
    ],
    { results: Object.fromEntries(results) },
  )
}

if (options.inside) console.log(JSON.stringify(await measure(options.inside as Scenario)))
else await main()

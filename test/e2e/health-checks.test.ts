// Checks by gRPC, DNS and HTTP headers, from the daemon to real servers in another namespace: their backends go down
// when the server says so, and come back.

import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ETH0, ETH1, Lab } from '../support/hosts.ts'
import { Watching } from '../support/watching.ts'

const GRPC_SERVER = fileURLToPath(new URL('../support/grpc-server.mjs', import.meta.url))
const SERVERS = [11, 12].map((host) => `198.51.100.${host}/24`)

const CONFIG = `version: 1
interfaces: { eth0: {}, eth1: { roles: [balance] } }
services:
  cart:
    vip: 203.0.113.10
    port: 50051
    protocol: tcp
    forwarding: nat
    backends: [198.51.100.11]
    health: { type: grpc, grpc_service: shop.v1.Cart, interval: 300ms, fall: 2, rise: 1 }
    fallback: drop
  names:
    vip: 203.0.113.10
    port: 53
    protocol: udp
    forwarding: nat
    backends: [198.51.100.11, { address: 198.51.100.12, health: { transport: tcp } }]
    health: { type: dns, query: alive.example, answer: 192.0.2.77, interval: 300ms, fall: 2, rise: 1 }
    fallback: drop
  web:
    vip: 203.0.113.10
    port: 80
    protocol: tcp
    forwarding: nat
    backends: [198.51.100.11]
    health: { type: http, headers: { Host: web.example, X-Probe: "yes" }, interval: 300ms, fall: 2, rise: 1 }
    fallback: drop
`

/** Answers 200 to a request with both headers, else 400. */
const WEB_SERVER = `require('node:http').createServer(({ headers }, response) => {
  response.writeHead(headers.host === 'web.example' && headers['x-probe'] === 'yes' ? 200 : 400).end()
}).listen(80, '198.51.100.11', () => console.log('listening'))`

let lab: Lab
let daemon: Watching | undefined
const servers: ChildProcess[] = []
/** Why these tests cannot run here. */
let missing: string | undefined

/** Starts a server in the peer's namespace; ends with it. */
function serve(...argv: readonly string[]): ChildProcess {
  const server = spawn('nsenter', [`--net=/run/netns/${lab.peer}`, ...argv], { stdio: ['ignore', 'pipe', 'inherit'] })
  servers.push(server)
  return server
}

const dnsmasq = (...addresses: readonly string[]): ChildProcess =>
  serve(
    'dnsmasq',
    '-k',
    '-C',
    '/dev/null',
    '-R',
    '-h',
    '-z',
    '--pid-file',
    ...addresses.map((one) => `--listen-address=${one}`),
    '--address=/alive.example/192.0.2.77',
  )

async function ended(server: ChildProcess): Promise<void> {
  server.kill('SIGKILL')
  if (server.exitCode === null && server.signalCode === null) await once(server, 'close')
}

async function states(): Promise<Record<string, string>> {
  const { services } = JSON.parse(await lab.ok('status', '--json'))
  return Object.fromEntries(
    services.flatMap(({ name, backends }: { name: string; backends: { address: string; health: string }[] }) =>
      backends.map(({ address, health }) => [`${name} ${address.split('.').at(-1)}`, health]),
    ),
  )
}

beforeAll(async () => {
  try {
    execFileSync('dnsmasq', ['--version'])
  } catch (error) {
    missing = `dnsmasq cannot be used: ${(error as Error).message.split('\n')[0]}`
    return
  }
  lab = new Lab([ETH0, { ...ETH1, peerAddresses: [...ETH1.peerAddresses, ...SERVERS] }])
  const grpc = serve(process.execPath, GRPC_SERVER, '50051', 'shop.v1.Cart')
  const web = serve(process.execPath, '-e', WEB_SERVER)
  dnsmasq('198.51.100.11', '198.51.100.12')
  for (const one of [grpc, web]) await once(one.stdout as NodeJS.ReadableStream, 'data')
  lab.write('xdp.yaml', CONFIG)
  daemon = await Watching.ready(lab)
})
afterAll(async () => {
  await daemon?.end('SIGKILL')
  for (const server of servers) await ended(server)
  lab?.close()
})

const UP = { 'cart 11': 'up', 'names 11': 'up', 'names 12': 'up', 'web 11': 'up' }

test('backends with good answers are up, and go down with the reason of the server', async ({ skip }) => {
  if (missing !== undefined) skip(missing)
  const watching = daemon as Watching
  await expect.poll(states).toEqual(UP)
  expect(watching.count('backend-down')).toBe(0)

  const [grpc, web, names] = servers as [ChildProcess, ChildProcess, ChildProcess]
  execFileSync('kill', ['-USR1', `${grpc.pid}`])
  expect(await watching.hear('backend-down', ({ service }) => service === 'cart')).toMatchObject({
    reason: 'the service is NOT_SERVING',
  })
  await ended(names)
  // Knows no name, so that it refuses the query.
  const other = serve(
    'dnsmasq',
    '-k',
    '-C',
    '/dev/null',
    '-R',
    '-h',
    '-z',
    '--pid-file',
    '--listen-address=198.51.100.11,198.51.100.12',
  )
  const reasons = new Set<string>()
  for (const backend of ['198.51.100.11', '198.51.100.12']) {
    const down = watching.lines.find(
      (line) => line.event === 'backend-down' && line.backend === backend && line.service === 'names',
    )
    const line =
      down ?? (await watching.hear('backend-down', (one) => one.service === 'names' && one.backend === backend))
    reasons.add(line.reason ?? '')
  }
  for (const reason of reasons) expect(reason).toMatch(/^(?:response code refused|connection refused)$/)
  await ended(web)
  expect(await watching.hear('backend-down', ({ service }) => service === 'web')).toMatchObject({
    reason: 'connection refused',
  })
  await expect.poll(states).toEqual({ 'cart 11': 'down', 'names 11': 'down', 'names 12': 'down', 'web 11': 'down' })

  for (const server of [grpc, other]) await ended(server)
  serve(process.execPath, GRPC_SERVER, '50051', 'shop.v1.Cart')
  serve(process.execPath, '-e', WEB_SERVER)
  dnsmasq('198.51.100.11', '198.51.100.12')
  await expect.poll(states).toEqual(UP)
})

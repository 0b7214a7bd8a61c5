// Probes against real servers on the loopback device.

import { createServer, type Server, type Socket } from 'node:net'
import type {
  DnsCheck,
  GrpcCheck,
  GrpcsCheck,
  HealthCheck,
  HttpCheck,
  HttpsCheck,
  TcpCheck,
  UdpCheck,
} from '../../src/model/health.ts'
import { parseAddress } from '../../src/model/text.ts'
import type { Probe } from '../../src/watch/health/loop.ts'
import { makeProbe } from '../../src/watch/health/probes/probe.ts'
import type { Result } from '../../src/watch/health/standing.ts'
import { check } from './backends.ts'

const { type: _, ...common } = check()
const loopback = (text: string): TcpCheck['address'] => parseAddress(text) as TcpCheck['address']

export const tcp = (port: number, address = '127.0.0.1'): TcpCheck => check({ port, address: loopback(address) })

export const http = (port: number, more: Partial<HttpCheck> = {}, address = '127.0.0.1'): HttpCheck => ({
  ...common,
  address: loopback(address),
  port,
  type: 'http',
  method: 'GET',
  path: '/',
  host: undefined,
  headers: {},
  status: [{ first: 200, last: 399 }],
  body: undefined,
  ...more,
})

export const https = (port: number, more: Partial<HttpsCheck> = {}): HttpsCheck => ({
  ...http(port),
  sni: undefined,
  verify: true,
  ...more,
  type: 'https',
})

export const udp = (port: number, more: Partial<UdpCheck> = {}, address = '127.0.0.1'): UdpCheck => ({
  ...common,
  address: loopback(address),
  port,
  type: 'udp',
  send: Buffer.from('ping').toString('hex'),
  expect: undefined,
  ...more,
})

export const grpc = (port: number, more: Partial<GrpcCheck> = {}, address = '127.0.0.1'): GrpcCheck => ({
  ...common,
  address: loopback(address),
  port,
  type: 'grpc',
  service: '',
  host: undefined,
  ...more,
})

export const grpcs = (port: number, more: Partial<GrpcsCheck> = {}): GrpcsCheck => ({
  ...grpc(port),
  sni: undefined,
  verify: true,
  ...more,
  type: 'grpcs',
})

export const dns = (port: number, more: Partial<DnsCheck> = {}, address = '127.0.0.1'): DnsCheck => ({
  ...common,
  address: loopback(address),
  port,
  type: 'dns',
  query: 'www.example.com',
  record: 'A',
  transport: 'udp',
  rcodes: ['noerror'],
  answer: undefined,
  ...more,
})

const PROBE = makeProbe(() => performance.now())
export const SUBJECT = { service: 'web', backend: '10.0.0.1:80' }

/** Runs one check and waits for its result. */
export const resultOf = (one: HealthCheck, probe: Probe = PROBE): Promise<Result> =>
  new Promise((resolve) => probe(one, SUBJECT, resolve))

/** A result as text: `good`, or its reason. */
export async function outcomeOf(one: HealthCheck, probe?: Probe): Promise<string> {
  const result = await resultOf(one, probe)
  return result.outcome === 'good' ? 'good' : `${result.outcome}: ${result.reason}`
}

/** Starts a check; returns a function that abandons it, and its results so far. */
export function started(one: HealthCheck): { readonly abandon: () => void; readonly results: readonly Result[] } {
  const results: Result[] = []
  return { abandon: PROBE(one, SUBJECT, (result) => results.push(result)), results }
}

/** Why no server can listen on an address of the loopback device; undefined: it can. */
export async function whyNot(address: string): Promise<string | undefined> {
  const server = createServer()
  const works = await new Promise((resolve) => {
    server.on('error', () => resolve(false)).listen(0, address, () => resolve(true))
  })
  server.close()
  return works ? undefined : `this host has no ${address}`
}

/** Servers of a test, closed with all their connections. */
export class Servers {
  readonly #closers: (() => void)[] = []

  /** Listens on a free port, which it returns. */
  async listen(server: Server, address = '127.0.0.1'): Promise<number> {
    const sockets = new Set<Socket>()
    server.on('connection', (socket) => {
      sockets.add(socket)
      socket.on('error', () => undefined).on('close', () => sockets.delete(socket))
    })
    await new Promise<void>((resolve) => server.listen(0, address, resolve))
    this.#closers.push(() => {
      server.close()
      for (const socket of sockets) socket.destroy()
    })
    const { port } = server.address() as { port: number }
    return port
  }

  onClose(close: () => void): void {
    this.#closers.push(close)
  }

  close(): void {
    for (const close of this.#closers.splice(0)) close()
  }
}

/** A port of the loopback device without a listener. */
export async function closedPort(): Promise<number> {
  const servers = new Servers()
  const port = await servers.listen(createServer())
  servers.close()
  return port
}

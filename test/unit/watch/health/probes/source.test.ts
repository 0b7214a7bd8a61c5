// Checks that come from one port again and again: none finds it occupied by the one before, and servers see it.

import { createServer as createHttpServer } from 'node:http'
import { createServer as createHttp2Server, createSecureServer, type ServerHttp2Stream } from 'node:http2'
import { createServer as createHttpsServer } from 'node:https'
import { createServer as createTcpServer, type Server } from 'node:net'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import type { HealthCheck } from '../../../../../src/model/health.ts'
import { makeProbe } from '../../../../../src/watch/health/probes/probe.ts'
import { Certificates } from '../../../../support/certificates.ts'
import { closedPort, dns, grpc, grpcs, http, https, outcomeOf, Servers, tcp } from '../../../../support/probes.ts'

const probe = makeProbe(() => performance.now())

let servers: Servers
let certificates: Certificates
beforeAll(() => {
  certificates = new Certificates()
  certificates.selfSigned('server', 'IP:127.0.0.1')
})
afterAll(() => certificates.close())
beforeEach(() => {
  servers = new Servers()
})
afterEach(() => servers.close())

const SERVING = Buffer.from([0, 0, 0, 0, 2, 8, 1])

function serve(stream: ServerHttp2Stream): void {
  stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true })
  stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }))
  stream.end(SERVING)
}

/** Answers a DNS query over TCP: the query itself as a response without records. */
const dnsServer = (): Server =>
  createTcpServer((socket) => {
    socket.on('data', (query) => {
      const response = Buffer.from(query)
      response[4] = (response[4] as number) | 0x80
      socket.write(response)
    })
  })

const CASES: readonly (readonly [string, () => Server, (port: number) => HealthCheck])[] = [
  ['tcp', () => createTcpServer(), tcp],
  ['http', () => createHttpServer((_, response) => response.end('well')), (port) => http(port, { body: 'well' })],
  [
    'https',
    () => createHttpsServer(certificates.pair('server'), (_, response) => response.end('well')),
    (port) => https(port, { verify: false }),
  ],
  ['grpc', () => createHttp2Server().on('stream', serve) as unknown as Server, grpc],
  [
    'grpcs',
    () => createSecureServer(certificates.pair('server')).on('stream', serve) as unknown as Server,
    (port) => grpcs(port, { verify: false }),
  ],
  ['dns', dnsServer, (port) => dns(port, { transport: 'tcp' })],
]

test.each(CASES)('%s', async (_, make, check) => {
  const server = make()
  const seen = new Set<number | undefined>()
  server.on('connection', (socket) => seen.add(socket.remotePort))
  const port = await servers.listen(server)
  const source = { address: '127.0.0.1', port: await closedPort() }
  for (let i = 0; i < 5; i++) {
    expect(await outcomeOf(check(port), (one, subject, done) => probe(one, subject, done, source))).toBe('good')
  }
  expect([...seen]).toEqual([source.port])
})

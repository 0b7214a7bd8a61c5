// gRPC checks against real HTTP/2 servers, with and without TLS, and the bytes of their messages.

import { createServer as createHttpServer } from 'node:http'
import {
  createSecureServer,
  createServer,
  type Http2Server,
  type IncomingHttpHeaders,
  type ServerHttp2Stream,
} from 'node:http2'
import { createServer as createHttpsServer } from 'node:https'
import { createServer as createTcpServer } from 'node:net'
import fc from 'fast-check'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { GrpcsCheck } from '../../../../../src/model/health.ts'
import type { Probe } from '../../../../../src/watch/health/loop.ts'
import { probeGrpc } from '../../../../../src/watch/health/probes/grpc.ts'
import { encodeRequest, objectionTo } from '../../../../../src/watch/health/probes/grpc-health.ts'
import { Trust } from '../../../../../src/watch/health/probes/trust.ts'
import { Certificates } from '../../../../support/certificates.ts'
import { closedPort, grpc, grpcs, outcomeOf, Servers, started, whyNot } from '../../../../support/probes.ts'

let servers: Servers
let certificates: Certificates
beforeAll(() => {
  certificates = new Certificates()
  certificates.authority('authority')
  certificates.authority('other')
  certificates.certificate('named', 'authority', 'DNS:grpc.example')
})
afterAll(() => certificates.close())
beforeEach(() => {
  servers = new Servers()
})
afterEach(() => servers.close())

interface Asked {
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
}

/** Answers a request by hand. */
type Answer = (stream: ServerHttp2Stream, asked: Asked) => void

const OK = { ':status': 200, 'content-type': 'application/grpc' }

/** A message with its prefix. */
const framed = (...bytes: readonly number[]): Buffer => Buffer.from([0, 0, 0, 0, bytes.length, ...bytes])

/** The trailers of gRPC after a body. */
const answering =
  (body: Buffer, status = '0', message?: string): Answer =>
  (stream) => {
    stream.respond(OK, { waitForTrailers: true })
    stream.on('wantTrailers', () =>
      stream.sendTrailers({ 'grpc-status': status, ...(message !== undefined && { 'grpc-message': message }) }),
    )
    stream.end(body)
  }
const SERVING = answering(framed(0x08, 1))

function attach(server: Pick<Http2Server, 'on'>, answer: Answer, seen: Asked[] = []): void {
  server.on('stream', (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
    const parts: Buffer[] = []
    stream.on('error', () => undefined)
    stream.on('data', (part: Buffer) => parts.push(part))
    stream.on('end', () => {
      const asked = { headers, body: Buffer.concat(parts) }
      seen.push(asked)
      answer(stream, asked)
    })
  })
}

async function serve(answer: Answer, seen: Asked[] = [], address = '127.0.0.1'): Promise<number> {
  const server = createServer()
  attach(server, answer, seen)
  return servers.listen(server, address)
}

const CASES: readonly (readonly [string, Answer, string])[] = [
  ['SERVING', SERVING, 'good'],
  ['SERVING behind a field that is not known', answering(framed(0x12, 2, 65, 66, 0x08, 1)), 'good'],
  ['NOT_SERVING', answering(framed(0x08, 2)), 'bad: the service is NOT_SERVING'],
  ['an empty message, whose status is 0', answering(framed()), 'bad: the service is UNKNOWN'],
  ['SERVICE_UNKNOWN', answering(framed(0x08, 3)), 'bad: the service is SERVICE_UNKNOWN'],
  ['a status from the future', answering(framed(0x08, 77)), 'bad: the service is in status 77'],
  [
    'an unknown service',
    (stream) => stream.respond({ ...OK, 'grpc-status': '5', 'grpc-message': 'no%20such service' }, { endStream: true }),
    'bad: gRPC status NOT_FOUND: no such service',
  ],
  [
    'a server without a health service',
    (stream) => stream.respond({ ...OK, 'grpc-status': '12' }, { endStream: true }),
    'bad: gRPC status UNIMPLEMENTED',
  ],
  ['SERVING with a failed call', answering(framed(0x08, 1), '14'), 'bad: gRPC status UNAVAILABLE'],
  [
    'a message without a status of the call',
    (stream) => stream.respond(OK) ?? stream.end(framed(0x08, 1)),
    'bad: the answer has no gRPC status',
  ],
  [
    'a truncated message',
    answering(framed(0x08, 1).subarray(0, 6)),
    'bad: the message of the answer has another length than it says',
  ],
  [
    'a compressed message',
    answering(Buffer.from([1, 0, 0, 0, 2, 8, 1])),
    'bad: the message of the answer is compressed',
  ],
  ['a message that is no protobuf', answering(framed(0xff, 0xff)), 'bad: the answer is not a HealthCheckResponse'],
  ['an endless message', answering(Buffer.alloc(5000)), 'bad: the message of the answer is longer than 4 KiB'],
  ['HTTP status 503', (stream) => stream.respond({ ':status': 503 }, { endStream: true }), 'bad: status 503'],
  [
    'a web page',
    (stream) => stream.respond({ ':status': 200, 'content-type': 'text/html' }) ?? stream.end('hello'),
    'bad: the answer is not gRPC, but text/html',
  ],
  ['a reset', (stream) => stream.close(7), 'bad: Stream closed with error code NGHTTP2_REFUSED_STREAM'],
  ['a closed connection', (stream) => stream.session?.destroy(), 'bad: connection closed before the end of the answer'],
]

test.each(CASES)('%s', async (_, answer, expected) => {
  expect(await outcomeOf(grpc(await serve(answer)))).toBe(expected)
})

test('asks the health service about a service by name, as gRPC over HTTP/2', async () => {
  const seen: Asked[] = []
  const port = await serve(SERVING, seen)
  expect(await outcomeOf(grpc(port, { service: 'shop.v1.Cart', host: 'grpc.example', timeoutMs: 700 }))).toBe('good')
  expect(await outcomeOf(grpc(port))).toBe('good')
  expect(seen.map(({ body }) => body.toString('hex'))).toEqual(['000000000e0a0c73686f702e76312e43617274', '0000000000'])
  expect(seen[0]?.headers).toMatchObject({
    ':method': 'POST',
    ':scheme': 'http',
    ':path': '/grpc.health.v1.Health/Check',
    ':authority': 'grpc.example',
    'content-type': 'application/grpc',
    te: 'trailers',
    'grpc-timeout': '700m',
  })
  expect(seen[1]?.headers[':authority']).toBe(`127.0.0.1:${port}`)
})

test('reaches an IPv6 address', async ({ skip }) => {
  const reason = await whyNot('::1')
  if (reason) skip(reason)
  const seen: Asked[] = []
  const port = await serve(SERVING, seen, '::1')
  expect(await outcomeOf(grpc(port, {}, '::1'))).toBe('good')
  expect(seen[0]?.headers[':authority']).toBe(`[::1]:${port}`)
})

test('fails a closed port, and servers that speak something else', async () => {
  expect(await outcomeOf(grpc(await closedPort()))).toBe('bad: connection refused')
  const old = await servers.listen(createHttpServer((_, response) => response.end('hello')))
  expect(await outcomeOf(grpc(old))).toBe('bad: the answer is not HTTP/2')
  const ssh = await servers.listen(createTcpServer((socket) => socket.end('SSH-2.0-OpenSSH_9.2\r\n')))
  expect(await outcomeOf(grpc(ssh))).toBe('bad: the answer is not HTTP/2')
  const silent = await servers.listen(createTcpServer((socket) => socket.end()))
  expect(await outcomeOf(grpc(silent))).toBe('bad: connection closed before the end of the answer')
})

test('an abandoned check closes its connection and gives no result', async () => {
  const seen: Asked[] = []
  const port = await serve(() => undefined, seen)
  const { abandon, results } = started(grpc(port))
  await expect.poll(() => seen.length).toBe(1)
  abandon()
  expect(await outcomeOf(grpc(await serve(SERVING)))).toBe('good')
  expect(results).toEqual([])
})

describe('over TLS', () => {
  const trusting =
    (name: string): Probe =>
    (check, _, done) =>
      probeGrpc(check as GrpcsCheck, new Trust(() => 0, [certificates.file(`${name}.crt`)]), done)

  async function serveTls(): Promise<number> {
    const server = createSecureServer(certificates.pair('named'))
    attach(server as unknown as Http2Server, SERVING)
    return servers.listen(server as unknown as ReturnType<typeof createTcpServer>)
  }

  test.each([
    ['a certificate for the name', { sni: 'grpc.example' }, 'authority', /^good$/],
    ['the name in host', { host: 'grpc.example:443' }, 'authority', /^good$/],
    ['a certificate for another name', { sni: 'other.example' }, 'authority', /^bad: .*other\.example/],
    ['an unknown authority', { sni: 'grpc.example' }, 'other', /^bad: the certificate is signed by an unknown issuer/],
    ['any certificate with verify: false', { verify: false }, 'other', /^good$/],
  ] as const)('%s', async (_, more, trusted, expected) => {
    expect(await outcomeOf(grpcs(await serveTls(), more), trusting(trusted))).toMatch(expected)
  })

  test('fails a server that offers HTTP/1.1 only', async () => {
    const port = await servers.listen(createHttpsServer(certificates.pair('named'), (_, response) => response.end()))
    expect(await outcomeOf(grpcs(port, { verify: false }))).toMatch(/^bad: .*(?:ALPN|alpn|no application protocol)/)
  })
})

test('any bytes as a message are an objection or SERVING, and never an exception', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
      const objection = objectionTo(Buffer.from(bytes))
      expect(objection === undefined || objection.length > 0).toBe(true)
    }),
    { numRuns: 2000 },
  )
})

test('the length of a long name takes two bytes', () => {
  const name = 'a'.repeat(200)
  expect(encodeRequest(name)).toEqual(
    Buffer.concat([Buffer.from([0, 0, 0, 0, 203, 0x0a, 0xc8, 0x01]), Buffer.from(name)]),
  )
})

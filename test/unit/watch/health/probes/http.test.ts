// HTTP checks against a real server: status, body, and misbehaving servers.

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createTcpServer } from 'node:net'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { HttpCheck } from '../../../../../src/model/health.ts'
import { strictHead } from '../../../../../src/watch/health/probes/answer-head.ts'
import { MOST_BODY } from '../../../../../src/watch/health/probes/http.ts'
import { closedPort, http, outcomeOf, Servers, started, whyNot } from '../../../../support/probes.ts'

let servers: Servers
beforeEach(() => {
  servers = new Servers()
})
afterEach(() => servers.close())

/** Answers by path. */
const PAGES: Readonly<Record<string, (response: ServerResponse) => void>> = {
  '/': (response) => response.end('all is well'),
  '/busy': (response) => response.writeHead(503).end('busy'),
  '/moved': (response) => response.writeHead(302, { location: '/busy' }).end(),
  '/parts': (response) => {
    response.write('all is w')
    setImmediate(() => response.end('ell, and more'))
  },
  '/long': (response) => response.end(`${'x'.repeat(2 * MOST_BODY)}needle`),
  '/just': (response) => response.end(`${'x'.repeat(MOST_BODY - 6)}needle`),
  '/endless': (response) => {
    const more = (): void => {
      if (response.destroyed) return
      if (response.write('x'.repeat(65_536))) setImmediate(more)
      else response.once('drain', more)
    }
    more()
  },
  '/hang': () => undefined,
  '/half': (response) => {
    response.writeHead(200, { 'content-length': '100' }).write('half')
    setImmediate(() => response.destroy())
  },
  '/heavy': (response) => response.writeHead(200, { 'x-heavy': 'x'.repeat(20_000) }).end(),
}

async function serve(seen: IncomingMessage[] = [], address = '127.0.0.1'): Promise<number> {
  const server = createServer((request, response) => {
    seen.push(request)
    const page = PAGES[request.url?.replace(/\?.*/, '') ?? '']
    if (page) page(response)
    else response.writeHead(404).end()
  })
  return servers.listen(server, address)
}

const CASES: readonly (readonly [string, Partial<HttpCheck>, string])[] = [
  ['a status that is accepted', {}, 'good'],
  ['a status that is not accepted', { path: '/busy' }, 'bad: status 503'],
  [
    'a status in one of several ranges',
    {
      path: '/busy',
      status: [
        { first: 200, last: 200 },
        { first: 500, last: 599 },
      ],
    },
    'good',
  ],
  ['a redirect, which is not followed', { path: '/moved' }, 'good'],
  ['a redirect where only 200 is accepted', { path: '/moved', status: [{ first: 200, last: 200 }] }, 'bad: status 302'],
  ['the text in the body', { body: 'is well' }, 'good'],
  ['the text across two chunks', { path: '/parts', body: 'is well,' }, 'good'],
  ['a body without the text', { body: 'is ill' }, 'bad: the text is not in the body'],
  ['the text under a status that is not accepted', { path: '/busy', body: 'busy' }, 'bad: status 503'],
  [
    'a text behind the searched part',
    { path: '/long', body: 'needle' },
    'bad: the text is not in the first 64 KiB of the body',
  ],
  ['a text at the end of the searched part', { path: '/just', body: 'needle' }, 'good'],
  ['an endless body without an expected text', { path: '/endless' }, 'good'],
  ['an endless body', { path: '/endless', body: 'needle' }, 'bad: the text is not in the first 64 KiB of the body'],
  ['HEAD', { method: 'HEAD' }, 'good'],
  [
    'a connection that ends in the body',
    { path: '/half', body: 'needle' },
    'bad: connection closed before the end of the answer',
  ],
  ['more headers than fit', { path: '/heavy' }, 'bad: the answer has too many headers'],
]

test.each(CASES)('%s', async (_, more, expected) => {
  expect(await outcomeOf(http(await serve(), more))).toBe(expected)
})

test('the request has path, method and Host of the check, and its own User-Agent', async () => {
  const seen: IncomingMessage[] = []
  const port = await serve(seen)
  await outcomeOf(http(port, { path: '/?a=b&c=%20' }))
  await outcomeOf(http(port, { host: 'web.example', method: 'HEAD' }))
  expect(seen.map(({ method, url, headers: { host, connection } }) => [method, url, host, connection])).toEqual([
    ['GET', '/?a=b&c=%20', `127.0.0.1:${port}`, 'close'],
    ['HEAD', '/', 'web.example', 'close'],
  ])
  expect(seen[0]?.headers['user-agent']).toBe('xdp-health')
})

test('the request has the headers of the check, which replace the defaults', async () => {
  const seen: IncomingMessage[] = []
  const port = await serve(seen)
  const headers = { 'X-Probe': 'balancer', 'user-agent': 'own', Authorization: 'Basic eDp5' }
  expect(await outcomeOf(http(port, { headers, host: 'web.example' }))).toBe('good')
  expect(seen[0]?.rawHeaders).toEqual([
    ...['Host', 'web.example', 'Accept', '*/*', 'X-Probe', 'balancer', 'user-agent', 'own'],
    ...['Authorization', 'Basic eDp5', 'Connection', 'close'],
  ])
})

test('the Host header has an IPv6 address in brackets', async ({ skip }) => {
  const reason = await whyNot('::1')
  if (reason) skip(reason)
  const seen: IncomingMessage[] = []
  const port = await serve(seen, '::1')
  expect(await outcomeOf(http(port, {}, '::1'))).toBe('good')
  expect(seen[0]?.headers.host).toBe(`[::1]:${port}`)
})

test.each([
  ['closes at once', '', 'bad: connection closed before the end of the answer'],
  ['speaks something else', 'SSH-2.0-OpenSSH_9.2\r\n', 'bad: the answer is not HTTP (HPE_INVALID_CONSTANT)'],
])('fails a server that %s', async (_, greeting, expected) => {
  const port = await servers.listen(createTcpServer((socket) => socket.end(greeting)))
  expect(await outcomeOf(http(port))).toBe(expected)
})

const answers = (text: string): Promise<number> =>
  servers.listen(createTcpServer((socket) => socket.once('data', () => socket.end(Buffer.from(text, 'latin1')))))

test.each([
  ['lines that end in LF alone', 'HTTP/1.1 200 OK\nContent-Length: 11\n\nall is well'],
  ['a repeated equal Content-Length', 'HTTP/1.1 200 OK\r\nContent-Length: 11\r\ncontent-length: 11\r\n\r\nall is well'],
  ['a list of equal lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 11, 11\r\n\r\nall is well'],
  [
    'a length and a coding',
    'HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nb\r\nall is well\r\n0\r\n\r\n',
  ],
  ['an interim answer', 'HTTP/1.1 103 Early Hints\nLink: </a>\n\nHTTP/1.1 200 OK\n\nall is well'],
  ['no length at all', 'HTTP/1.0 200 OK\n\nall is well'],
])('accepts %s, as browsers do', async (_, text) => {
  expect(await outcomeOf(http(await answers(text), { body: 'is well' }))).toBe('good')
})

test.each([
  ['different lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 11\r\nContent-Length: 12\r\n\r\nall is well'],
  ['no status line', 'all is well\n\n'],
])('fails an answer with %s', async (_, text) => {
  expect(await outcomeOf(http(await answers(text)))).toMatch(/^bad: the answer is not HTTP \(HPE_/)
})

/** A server that answers with a beginning, and then again and again with the rest. */
const floods = (start: string, more: string): Promise<number> =>
  servers.listen(
    createTcpServer((socket) => {
      const chunk = Buffer.from(more.repeat(Math.ceil(65_536 / more.length)))
      const send = (): void => {
        if (socket.destroyed) return
        if (socket.write(chunk)) setImmediate(send)
        else socket.once('drain', send)
      }
      socket.on('error', () => socket.destroy())
      socket.once('data', () => {
        socket.write(start)
        send()
      })
    }),
  )

test.each([
  ['interim answers', '', 'HTTP/1.1 100 Continue\r\n\r\n', 'the answer has too many interim answers'],
  ['one endless line', 'HTTP/1.1 200 OK\r\nX: ', 'x', 'the answer has too many headers'],
  [
    'chunks with long extensions',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n',
    `1;${'e'.repeat(4000)}\r\nz\r\n`,
    'the answer is too long',
  ],
])('fails a flood of %s', async (_, start, more, expected) => {
  expect(await outcomeOf(http(await floods(start, more), { body: 'is well' }))).toBe(`bad: ${expected}`)
})

test('a switch of protocols is a status', async () => {
  const text = 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n'
  expect(await outcomeOf(http(await answers(text)))).toBe('bad: status 101')
  expect(await outcomeOf(http(await answers(text), { status: [{ first: 101, last: 101 }] }))).toBe('good')
})

test('reads a head that arrives byte by byte', async () => {
  const bytes = Buffer.from('HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\nHTTP/1.1 200 OK\nContent-Length: 7\n\nis well')
  const port = await servers.listen(
    createTcpServer((socket) => {
      socket.setNoDelay(true)
      const send = (at: number): void => {
        if (at < bytes.length) socket.write(bytes.subarray(at, at + 1), () => setImmediate(send, at + 1))
        else socket.end()
      }
      socket.once('data', () => send(0))
    }),
  )
  expect(await outcomeOf(http(port, { body: 'is well' }))).toBe('good')
})

test('recognises a server that speaks TLS', async () => {
  expect(await outcomeOf(http(await answers('\x15\x03\x01\x00\x02\x02\x46')))).toBe(
    'bad: the answer is TLS, not HTTP: use `type: https`',
  )
})

test('changes a head only where it is not strict', () => {
  const head = 'HTTP/1.1 200 OK\nContent-Length: 2\nX: y\ncontent-length:2'
  expect(strictHead(head)).toBe('HTTP/1.1 200 OK\r\nX: y\r\nContent-Length: 2')
  expect(strictHead(strictHead(head))).toBe(strictHead(head))
  const strict = 'HTTP/1.1 204 No Content\r\nX:  a, b \r\nContent-Length: 0'
  expect(strictHead(strict)).toBe(strict)
})

test('fails a closed port', async () => {
  expect(await outcomeOf(http(await closedPort()))).toBe('bad: connection refused')
})

test('an abandoned check closes its connection and gives no result', async () => {
  const seen: IncomingMessage[] = []
  const port = await serve(seen)
  const { abandon, results } = started(http(port, { path: '/hang' }))
  await expect.poll(() => seen.length).toBe(1)
  const closed = new Promise((resolve) => seen[0]?.socket.on('close', resolve))
  abandon()
  await closed
  expect(results).toEqual([])
})

test('an invalid request gives an unknown result', async () => {
  expect(await outcomeOf(http(await serve(), { host: 'a\nb' }))).toMatch(
    /^unknown: Invalid character in header content/,
  )
})

// The metrics endpoint, scraped and abused over real sockets.
import { once } from 'node:events'
import { get, request } from 'node:http'
import { connect, type Socket } from 'node:net'
import { networkInterfaces } from 'node:os'
import { afterEach, describe, expect, test } from 'vitest'
import { type MetricsOptions, type MetricsServer, startMetrics } from '../../../src/watch/metrics.ts'

const LOOPBACK = { address: '127.0.0.1', port: 0 }
const servers: MetricsServer[] = []

async function start(options: Partial<MetricsOptions> = {}): Promise<MetricsServer> {
  const server = await startMetrics({ endpoint: LOOPBACK, collect: async () => 'xdp_generation 1\n', ...options })
  servers.push(server)
  return server
}
afterEach(async () => {
  for (const server of servers.splice(0)) await server.close()
})

interface Answer {
  readonly status: number
  readonly type: string | undefined
  readonly body: string
  readonly allow: string | undefined
}

async function ask(url: string, method = 'GET', body = ''): Promise<Answer> {
  const sent = request(url, { method, agent: false })
  sent.end(body)
  const [response] = await once(sent, 'response')
  let text = ''
  for await (const chunk of response.setEncoding('utf8')) text += chunk
  const { 'content-type': type, allow } = response.headers
  return { status: response.statusCode, type, body: text, allow }
}

const portOf = ({ url }: MetricsServer): number => Number(new URL(url).port)

async function dial(server: MetricsServer): Promise<Socket> {
  const socket = connect(portOf(server), '127.0.0.1')
  socket.on('error', () => undefined)
  await once(socket, 'connect')
  return socket
}

/** Everything received until the other side closes. */
async function rest(socket: Socket): Promise<string> {
  let text = ''
  socket.setEncoding('latin1').on('data', (data) => {
    text += data
  })
  await once(socket, 'close')
  return text
}

const hasIpv6 = Object.values(networkInterfaces())
  .flat()
  .some((one) => one?.address === '::1')

describe('the endpoint serves', () => {
  test('the collected metrics, in the text format', async () => {
    const { url, warnings } = await start()
    expect(await ask(url)).toEqual({
      status: 200,
      type: 'text/plain; version=0.0.4; charset=utf-8',
      body: 'xdp_generation 1\n',
      allow: undefined,
    })
    expect(warnings).toEqual([])
  })

  test('a new collection for each scrape', async () => {
    let scrapes = 0
    const { url } = await start({ collect: async () => `xdp_generation ${++scrapes}\n` })
    expect([(await ask(url)).body, (await ask(`${url}?a=b`)).body]).toEqual([
      'xdp_generation 1\n',
      'xdp_generation 2\n',
    ])
  })

  test.runIf(hasIpv6)('on IPv6', async () => {
    const { url } = await start({ endpoint: { address: '::1', port: 0 } })
    expect(url).toMatch(/^http:\/\/\[::1\]:\d+\/metrics$/)
    expect((await ask(url)).status).toBe(200)
  })

  test('nothing else', async () => {
    const { url } = await start()
    for (const path of ['/', '/metrics/', '/metrics/..', '/favicon.ico', '//metrics'])
      expect((await ask(new URL(url).origin + path)).status, path).toBe(404)
    for (const method of ['POST', 'PUT', 'DELETE', 'HEAD', 'OPTIONS'])
      expect(await ask(url, method), method).toMatchObject({ status: 405, allow: 'GET' })
  })
})

describe('the endpoint survives', () => {
  test('a failing collection: answers 500 with the reason, reports it, and serves the next scrape', async () => {
    const errors: unknown[] = []
    let fails = true
    const collect = async (): Promise<string> => {
      if (fails) throw new Error('the kernel is on fire\nand more')
      return 'ok\n'
    }
    const { url } = await start({ collect, report: (error) => errors.push(error) })
    expect(await ask(url)).toMatchObject({ status: 500, body: 'the kernel is on fire\n' })
    expect(errors).toHaveLength(1)
    fails = false
    expect((await ask(url)).status).toBe(200)
  })

  test('a collection that throws synchronously: answers 500', async () => {
    const collect = (): Promise<string> => {
      throw new Error('no promise at all')
    }
    expect(await ask((await start({ collect })).url)).toMatchObject({ status: 500, body: 'no promise at all\n' })
  })

  test('many scrapes at a time: shares one collection', async () => {
    let begun = 0
    let finish = (): void => {}
    const done = new Promise<void>((resolve) => {
      finish = resolve
    })
    const collect = async (): Promise<string> => {
      begun++
      await done
      return 'shared\n'
    }
    const server = await start({ collect })
    const sockets = await Promise.all(Array.from({ length: 10 }, () => dial(server)))
    const answers = sockets.map(rest)
    for (const socket of sockets) socket.write('GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n')
    // One event loop serves all sockets in the order in which data arrived, so these requests came before this answer.
    expect((await ask(new URL('/nothing', server.url).href)).status).toBe(404)
    expect(begun).toBe(1)
    finish()
    for (const text of await Promise.all(answers)) expect(text).toMatch(/^HTTP\/1\.1 200 [\s\S]*shared\n$/)
    expect(begun).toBe(1)
  })

  test('a collection that does not end: answers 503 and starts no second one', async () => {
    let begun = 0
    const collect = (): Promise<string> => {
      begun++
      return new Promise(() => {})
    }
    const { url } = await start({ collect, limits: { collectMs: 20 } })
    expect((await ask(url)).status).toBe(503)
    expect((await ask(url)).status).toBe(503)
    expect(begun).toBe(1)
  })

  test('connections over the limit: closes them and serves the others', async () => {
    const server = await start({ limits: { connections: 2 } })
    const [first] = [await dial(server), await dial(server)]
    const third = connect(portOf(server), '127.0.0.1')
    third.on('error', () => undefined)
    await once(third, 'close')
    const answer = rest(first as Socket)
    first?.write('GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n')
    expect(await answer).toMatch(/^HTTP\/1\.1 200 /)
    await expect.poll(async () => (await ask(server.url)).status).toBe(200)
  })

  test('endless headers: answers 431', async () => {
    const server = await start({ limits: { headerBytes: 1024 } })
    const socket = await dial(server)
    const answer = rest(socket)
    socket.write(`GET /metrics HTTP/1.1\r\nHost: x\r\nX-Long: ${'a'.repeat(4096)}\r\n\r\n`)
    expect(await answer).toMatch(/^HTTP\/1\.1 431 /)
    expect((await ask(server.url)).status).toBe(200)
  })

  test.each([
    ['nothing', ''],
    ['half a line', 'GET /metrics HT'],
    ['half a request', 'GET /metrics HTTP/1.1\r\nHost: x\r\n'],
  ])('a connection that sends %s: closes it', async (_, words) => {
    const server = await start({ limits: { requestMs: 50, collectMs: 50 } })
    const socket = await dial(server)
    socket.write(words)
    expect(await rest(socket)).toMatch(/^(HTTP\/1\.1 408 |$)/)
  })

  test('a client that never reads its answer: closes it', async () => {
    const texts = ['x'.repeat(50_000_000)]
    const limits = { connections: 1, requestMs: 250, collectMs: 250 }
    const server = await start({ collect: async () => texts.pop() ?? 'short', limits })
    const socket = await dial(server)
    socket.pause()
    socket.write('GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n')
    await expect.poll(() => texts.length).toBe(0)
    const again = async (): Promise<string> => (await ask(server.url).catch(() => ({ body: 'refused' }))).body
    await expect.poll(again).toBe('short')
    socket.destroy()
  })

  test('bytes that are no HTTP: answers 400', async () => {
    const server = await start()
    const socket = await dial(server)
    const answer = rest(socket)
    socket.write('\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n')
    expect(await answer).toMatch(/^HTTP\/1\.1 400 /)
    expect((await ask(server.url)).status).toBe(200)
  })

  test('clients that hang up before the answer', async () => {
    let begun = 0
    const collect = async (): Promise<string> => {
      begun++
      await new Promise((resolve) => setImmediate(resolve))
      return 'x\n'.repeat(1_000_000)
    }
    const server = await start({ collect })
    for (let i = 0; i < 5; i++) {
      const socket = await dial(server)
      socket.write('GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n')
      socket.destroy()
    }
    expect((await ask(server.url)).body).toHaveLength(2_000_000)
    expect(begun).toBeGreaterThan(0)
  })
})

describe('the address', () => {
  test('is free after close, despite open connections', async () => {
    const server = await start({ collect: () => new Promise(() => {}) })
    const pending = get(server.url)
    pending.on('error', () => undefined)
    await once(pending, 'socket')
    const endpoint = { address: '127.0.0.1', port: portOf(server) }
    await server.close()
    const again = await start({ endpoint })
    expect((await ask(again.url)).status).toBe(200)
  })

  test('fails with E500 if it is in use', async () => {
    const endpoint = { address: '127.0.0.1', port: portOf(await start()) }
    const taken = startMetrics({ endpoint, collect: async () => '' })
    await expect(taken).rejects.toThrow(/E500 127\.0\.0\.1:\d+ is already in use/)
  })

  test('fails with E500 if it is not an address of this host', async () => {
    const endpoint = { address: '192.0.2.77', port: 0 }
    await expect(start({ endpoint })).rejects.toThrow('E500 cannot listen on 192.0.2.77:0: EADDRNOTAVAIL')
  })

  test.each([
    ['127.0.0.1', []],
    ['127.9.9.9', []],
    ['0.0.0.0', ['W500']],
  ])('%s makes W500 if other hosts can reach it', async (address, expected) => {
    const { warnings, url } = await start({ endpoint: { address, port: 0 } })
    expect(warnings.map(({ code }) => code)).toEqual(expected)
    expect((await ask(url)).status).toBe(200)
  })

  test.runIf(hasIpv6).each([
    ['::1', []],
    ['::', ['W500']],
  ])('%s makes W500 if other hosts can reach it', async (address, expected) => {
    expect((await start({ endpoint: { address, port: 0 } })).warnings.map(({ code }) => code)).toEqual(expected)
  })
})

// TCP and UDP checks against real sockets.

import { createSocket } from 'node:dgram'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { failed, plain } from '../../../../../src/watch/health/probes/settle.ts'
import { closedPort, outcomeOf, Servers, started, tcp, udp, whyNot } from '../../../../support/probes.ts'

let servers: Servers
beforeEach(() => {
  servers = new Servers()
})
afterEach(() => servers.close())

/** Sockets of this host whose peer has the port, by state: proc(5), include/net/tcp_states.h. */
function statesOf(port: number): number[] {
  const hex = port.toString(16).toUpperCase().padStart(4, '0')
  return readFileSync('/proc/net/tcp', 'utf8')
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter(([, , remote]) => remote?.endsWith(`:${hex}`))
    .map(([, , , state]) => Number.parseInt(state ?? '', 16))
}
const ESTABLISHED = 1
const TIME_WAIT = 6

describe('tcp', () => {
  test.for(['127.0.0.1', '::1'])(
    'passes an open port of %s, and leaves no socket behind',
    async (address, { skip }) => {
      const reason = await whyNot(address)
      if (reason) skip(reason)
      const ended: Promise<void>[] = []
      const server = createServer((socket) => {
        ended.push(new Promise((resolve) => socket.on('close', () => resolve())))
      })
      const port = await servers.listen(server, address)
      for (let i = 0; i < 20; i++) expect(await outcomeOf(tcp(port, address))).toBe('good')
      await expect.poll(() => ended.length).toBe(20)
      await Promise.all(ended)
      expect(statesOf(port).filter((state) => state === TIME_WAIT || state === ESTABLISHED)).toEqual([])
    },
  )

  test('fails a closed port with the reason', async () => {
    expect(await outcomeOf(tcp(await closedPort()))).toBe('bad: connection refused')
  })

  test('an abandoned check gives no result', async () => {
    const port = await servers.listen(createServer())
    const { abandon, results } = started(tcp(port))
    abandon()
    abandon()
    expect(await outcomeOf(tcp(port))).toBe('good')
    expect(results).toEqual([])
  })
})

describe('udp', () => {
  /** Answers every datagram; `answer` returns undefined for none. */
  async function responder(answer: (data: Buffer) => Buffer | undefined, address = '127.0.0.1'): Promise<number> {
    const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4')
    socket.on('message', (data, from) => {
      const reply = answer(data)
      if (reply) socket.send(reply, from.port, from.address)
    })
    await new Promise<void>((resolve) => socket.bind(0, address, resolve))
    servers.onClose(() => socket.close())
    return socket.address().port
  }
  const hex = (text: string): string => Buffer.from(text).toString('hex')

  test.for(['127.0.0.1', '::1'])('sends the payload to %s, and passes on any answer', async (address, { skip }) => {
    const reason = await whyNot(address)
    if (reason) skip(reason)
    const asked: string[] = []
    const port = await responder((data) => {
      asked.push(data.toString())
      return Buffer.from('pong')
    }, address)
    expect(await outcomeOf(udp(port, { send: hex('hello') }, address))).toBe('good')
    expect(await outcomeOf(udp(port, { send: '' }, address))).toBe('good')
    expect(asked).toEqual(['hello', ''])
  })

  test('passes an answer that contains the expected bytes', async () => {
    const port = await responder((data) => Buffer.concat([Buffer.from([0, 255]), data, Buffer.from('tail')]))
    expect(await outcomeOf(udp(port, { send: 'c0ffee', expect: 'ffc0ffee74' }))).toBe('good')
    expect(await outcomeOf(udp(port, { send: 'c0ffee', expect: 'ffc0ffee75' }))).toBe(
      'bad: the answer does not have the expected bytes',
    )
  })

  test('fails a closed port by its ICMP error', async () => {
    expect(await outcomeOf(udp(await closedPort()))).toBe('bad: connection refused')
  })

  test('ignores datagrams from other sources', async () => {
    const socket = createSocket('udp4')
    const stranger = createSocket('udp4')
    socket.on('message', (_, { port, address }) =>
      stranger.send('wrong', port, address, () => socket.send('right', port, address)),
    )
    await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve))
    servers.onClose(() => socket.close())
    servers.onClose(() => stranger.close())
    expect(await outcomeOf(udp(socket.address().port, { expect: hex('right') }))).toBe('good')
  })
})

describe('reasons', () => {
  test.each([
    [{ code: 'ECONNRESET', syscall: 'read' }, 'bad', 'connection reset'],
    [{ code: 'EHOSTUNREACH' }, 'bad', 'no route to the host'],
    [{ code: 'ETIMEDOUT' }, 'bad', 'connection timed out'],
    [{ code: 'EMFILE' }, 'unknown', 'too many open files in this process (EMFILE)'],
    [{ code: 'EADDRNOTAVAIL' }, 'unknown', 'no free port to connect from (EADDRNOTAVAIL)'],
    [
      { code: 'EPROTO', message: 'write EPROTO 80:error\n\u001b[31mred\u001b[0m' },
      'bad',
      'the TLS handshake failed: write EPROTO 80:error [31mred [0m',
    ],
    [{ message: '' }, 'bad', 'failed'],
  ] as const)('%o', (error, outcome, reason) => {
    expect(failed(Object.assign(new Error(''), error))).toEqual({ outcome, reason })
  })

  test('are one short printable line', () => {
    expect(plain(`a\r\nb\u0000\u202ec${'x'.repeat(500)}`)).toBe(`a b c${'x'.repeat(194)}…`)
  })
})

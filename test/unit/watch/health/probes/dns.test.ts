// DNS checks against servers that answer byte by byte, over UDP and TCP.

import { createSocket } from 'node:dgram'
import { createServer } from 'node:net'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { DnsCheck } from '../../../../../src/model/health.ts'
import { decodeResponse, encodeQuery } from '../../../../../src/watch/health/probes/dns-message.ts'
import { closedPort, dns, outcomeOf, Servers, started, whyNot } from '../../../../support/probes.ts'

let servers: Servers
beforeEach(() => {
  servers = new Servers()
})
afterEach(() => servers.close())

const NUMBERS = { A: 1, NS: 2, CNAME: 5, SOA: 6, MX: 15, TXT: 16, AAAA: 28, SRV: 33 } as const

/** One record of an answer; its name is a pointer to the question. */
function record(type: keyof typeof NUMBERS, data: readonly number[] | string): Buffer {
  const bytes = typeof data === 'string' ? Buffer.from(data, 'latin1') : Buffer.from(data)
  const head = Buffer.from([0xc0, 12, 0, NUMBERS[type], 0, 1, 0, 0, 0, 60, bytes.length >> 8, bytes.length & 255])
  return Buffer.concat([head, bytes])
}

const name = (text: string): number[] => [
  ...text.split('.').flatMap((label) => [label.length, ...Buffer.from(label)]),
  0,
]

/** The response to a query: flags such as 0x8180, and records. */
function response(query: Buffer, flags: number, ...records: readonly Buffer[]): Buffer {
  const answer = Buffer.concat([query, ...records])
  answer.writeUInt16BE(flags, 2)
  answer.writeUInt16BE(records.length, 6)
  return answer
}

type Answer = (query: Buffer) => readonly Buffer[]

async function overUdp(answer: Answer, address = '127.0.0.1'): Promise<number> {
  const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4')
  socket.on('message', (query, from) => {
    for (const one of answer(query)) socket.send(one, from.port, from.address)
  })
  await new Promise<void>((resolve) => socket.bind(0, address, resolve))
  servers.onClose(() => socket.close())
  return socket.address().port
}

/** `split`: sends the answer byte by byte. */
async function overTcp(answer: Answer, split = false): Promise<number> {
  return servers.listen(
    createServer((socket) => {
      let received = Buffer.alloc(0)
      socket.setNoDelay(true)
      socket.on('data', (part) => {
        received = Buffer.concat([received, part])
        if (received.length < 2 || received.length < 2 + received.readUInt16BE()) return
        for (const one of answer(received.subarray(2))) {
          const whole = Buffer.concat([Buffer.from([one.length >> 8, one.length & 255]), one])
          if (!split) socket.write(whole)
          else for (let i = 0; i < whole.length; i++) socket.write(whole.subarray(i, i + 1))
        }
        socket.end()
      })
    }),
  )
}

const NOERROR = 0x8180
const A = record('A', [192, 0, 2, 1])

const CASES: readonly (readonly [string, Partial<DnsCheck>, (query: Buffer) => Buffer, string])[] = [
  ['any answer', {}, (query) => response(query, NOERROR, A), 'good'],
  ['no record where none is expected', {}, (query) => response(query, NOERROR), 'good'],
  [
    'the expected address',
    { answer: '192.0.2.1' },
    (query) => response(query, NOERROR, record('A', [10, 0, 0, 1]), A),
    'good',
  ],
  ['another address', { answer: '192.0.2.2' }, (query) => response(query, NOERROR, A), 'bad: the answer is 192.0.2.1'],
  ['no record', { answer: '192.0.2.1' }, (query) => response(query, NOERROR), 'bad: the answer has no A record'],
  [
    'an address behind an alias',
    { answer: '192.0.2.1' },
    (query) => response(query, NOERROR, record('CNAME', [3, 119, 119, 50, 0xc0, 16]), A),
    'good',
  ],
  [
    'an IPv6 address in another notation',
    { record: 'AAAA', answer: '2001:DB8:0::1' },
    (query) => response(query, NOERROR, record('AAAA', [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1])),
    'good',
  ],
  [
    'a name with a pointer, in other case and with a final dot',
    { record: 'CNAME', answer: 'WWW2.example.com.' },
    (query) => response(query, NOERROR, record('CNAME', [4, 119, 119, 119, 50, 0xc0, 16])),
    'good',
  ],
  [
    'the exchange of MX',
    { record: 'MX', answer: 'mail.example' },
    (query) => response(query, NOERROR, record('MX', [0, 10, ...name('mail.example')])),
    'good',
  ],
  [
    'the target of SRV',
    { record: 'SRV', answer: 'a.example' },
    (query) => response(query, NOERROR, record('SRV', [0, 1, 0, 2, 0, 53, ...name('a.example')])),
    'good',
  ],
  [
    'a text of two parts',
    { record: 'TXT', answer: 'is alive' },
    (query) => response(query, NOERROR, record('TXT', '\x03is \x05alive')),
    'good',
  ],
  ['SERVFAIL', {}, (query) => response(query, 0x8182), 'bad: response code servfail'],
  ['NXDOMAIN that is accepted', { rcodes: ['noerror', 'nxdomain'] }, (query) => response(query, 0x8183), 'good'],
  [
    'NOERROR where only REFUSED is accepted',
    { rcodes: ['refused'] },
    (query) => response(query, NOERROR, A),
    'bad: response code noerror',
  ],
  ['a response code without a name', {}, (query) => response(query, 0x8189), 'bad: response code 9'],
  [
    'a server that cannot read the query',
    {},
    (query) => Buffer.from([...query.subarray(0, 2), 0x80, 1, 0, 0, 0, 0, 0, 0, 0, 0]),
    'bad: response code formerr',
  ],
]

describe.each(['udp', 'tcp'] as const)('over %s', (transport) => {
  test.each(CASES)('%s', async (_, more, answer, expected) => {
    const one: Answer = (query) => [answer(query)]
    const port = transport === 'udp' ? await overUdp(one) : await overTcp(one, true)
    expect(await outcomeOf(dns(port, { ...more, transport }))).toBe(expected)
  })

  test('fails a closed port', async () => {
    expect(await outcomeOf(dns(await closedPort(), { transport }))).toBe('bad: connection refused')
  })

  test('asks for the name and type, with recursion', async () => {
    const asked: Buffer[] = []
    const answer: Answer = (query) => {
      asked.push(query)
      return [response(query, NOERROR)]
    }
    const port = transport === 'udp' ? await overUdp(answer) : await overTcp(answer)
    await outcomeOf(dns(port, { transport, record: 'AAAA' }))
    await outcomeOf(dns(port, { transport, query: '', record: 'SOA' }))
    expect(asked.map((query) => query.toString('hex', 2))).toEqual([
      '01000001000000000000' + '03777777076578616d706c6503636f6d00' + '001c0001',
      '01000001000000000000' + '00' + '00060001',
    ])
  })
})

test('ignores datagrams that answer another query', async () => {
  const port = await overUdp((query) => {
    const other = Buffer.from(query)
    other.writeUInt16BE(other.readUInt16BE() ^ 1)
    const question = response(query, 0x8182)
    question[14] = 0x78
    return [response(other, 0x8182), question, query, Buffer.from('x'), response(query, NOERROR)]
  })
  expect(await outcomeOf(dns(port))).toBe('good')
})

test('a truncated answer passes, unless its records count', async () => {
  const port = await overUdp((query) => [response(query, 0x8380, A).subarray(0, -2)])
  expect(await outcomeOf(dns(port))).toBe('good')
  expect(await outcomeOf(dns(port, { answer: '192.0.2.1' }))).toBe(
    'bad: the answer is too long for UDP: write `transport: tcp`',
  )
})

test('fails a TCP server that answers something else, or nothing', async () => {
  const odd = await overTcp(() => [Buffer.from('no DNS')])
  expect(await outcomeOf(dns(odd, { transport: 'tcp' }))).toBe('bad: the answer is not a response to the query')
  const silent = await overTcp(() => [])
  expect(await outcomeOf(dns(silent, { transport: 'tcp' }))).toBe('bad: connection closed before the end of the answer')
})

test('reaches an IPv6 address', async ({ skip }) => {
  const reason = await whyNot('::1')
  if (reason) skip(reason)
  const port = await overUdp((query) => [response(query, NOERROR)], '::1')
  expect(await outcomeOf(dns(port, {}, '::1'))).toBe('good')
})

test('an abandoned check gives no result', async () => {
  const asked: Buffer[] = []
  const port = await overUdp((query) => {
    asked.push(query)
    return []
  })
  const { abandon, results } = started(dns(port))
  await expect.poll(() => asked.length).toBe(1)
  abandon()
  abandon()
  expect(results).toEqual([])
})

describe('messages', () => {
  const QUESTION = { query: 'www.example.com', record: 'A' } as const
  const whole = response(encodeQuery(7, QUESTION), NOERROR, record('CNAME', [3, 119, 119, 50, 0xc0, 16]), A)

  test('a pointer to itself, or forwards, is no name', () => {
    for (const target of [33, 34, 60]) {
      const looping = response(encodeQuery(7, QUESTION), NOERROR, Buffer.from([0xc0, target, ...A.subarray(2)]))
      expect(decodeResponse(looping, 7, QUESTION)).toBeUndefined()
    }
  })

  test('a message cut at any byte is no response', () => {
    expect(decodeResponse(whole, 7, QUESTION)?.answers).toEqual(['192.0.2.1'])
    for (let length = 0; length < whole.length; length++)
      expect([length, decodeResponse(whole.subarray(0, length), 7, QUESTION)]).toEqual([length, undefined])
  })

  test('any damage ends in a response or none, never in an exception', () => {
    const edits = fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { maxLength: 6 })
    fc.assert(
      fc.property(edits, fc.constantFrom('A', 'CNAME', 'TXT', 'MX', 'SRV', 'SOA', 'AAAA'), (changes, type) => {
        const copy = Buffer.from(whole)
        for (const [at, value] of changes) copy[at] = value
        copy[30] = NUMBERS[type]
        const found = decodeResponse(copy, 7, { query: 'www.example.com', record: type })
        expect(found === undefined || found.answers.every((text) => typeof text === 'string')).toBe(true)
      }),
      { numRuns: 2000 },
    )
  })
})

// Checks a backend with a DNS query over UDP or TCP: good if the response code is accepted, and the answer has the
// expected record. One query per check, without retries: `fall` counts them.

import { randomInt } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { connect } from 'node:net'
import type { DnsCheck } from '../../../model/health.ts'
import { formatAddress } from '../../../model/text.ts'
import { bad, GOOD, type Result } from '../standing.ts'
import { canonicalAnswer, decodeResponse, encodeQuery, type Response } from './dns-message.ts'
import { endOnce, failed, plain } from './settle.ts'
import { from, hangUp, type Source } from './source.ts'

/** Bytes of the length before a message over TCP (RFC 1035 §4.2.2). */
const PREFIX = 2

function judge({ rcode, isTruncated, answers }: Response, { rcodes, answer, record }: DnsCheck): Result {
  if (!(rcodes as readonly string[]).includes(rcode)) return bad(`response code ${rcode}`)
  if (answer === undefined || rcode !== 'noerror') return GOOD
  if (answers.includes(canonicalAnswer(answer, record))) return GOOD
  if (isTruncated) return bad('the answer is too long for UDP: write `transport: tcp`')
  return bad(plain(answers.length === 0 ? `the answer has no ${record} record` : `the answer is ${answers.join(', ')}`))
}

function overUdp(check: DnsCheck, id: number, done: (result: Result) => void, source: Source | undefined): () => void {
  const { address, port } = check
  const socket = createSocket(address.family === 4 ? 'udp4' : 'udp6')
  const { finish, abandon } = endOnce(() => socket.close(), done)
  socket.on('error', (error) => finish(failed(error)))
  // A datagram that answers another query is as good as none, so that no one can answer without seeing ours.
  socket.on('message', (message) => {
    const response = decodeResponse(message, id, check)
    if (response) finish(judge(response, check))
  })
  socket.on('connect', () => {
    socket.send(encodeQuery(id, check), (error) => {
      if (error) finish(failed(error))
    })
  })
  if (source) socket.bind(source.port, source.address)
  socket.connect(port, formatAddress(address.family, address.words))
  return abandon
}

function overTcp(check: DnsCheck, id: number, done: (result: Result) => void, source: Source | undefined): () => void {
  const { address, port } = check
  const socket = connect({ host: formatAddress(address.family, address.words), port, ...from(source) })
  const { finish, abandon } = endOnce(() => hangUp(socket, source), done)
  let received = Buffer.alloc(0)
  socket.on('error', (error) => finish(failed(error)))
  socket.on('data', (part) => {
    received = Buffer.concat([received, part])
    if (received.length < PREFIX || received.length < PREFIX + received.readUInt16BE()) return
    const response = decodeResponse(received.subarray(PREFIX, PREFIX + received.readUInt16BE()), id, check)
    finish(response ? judge(response, check) : bad('the answer is not a response to the query'))
  })
  socket.on('end', () => finish(bad('connection closed before the end of the answer')))
  socket.on('connect', () => {
    const query = encodeQuery(id, check)
    const prefix = Buffer.alloc(PREFIX)
    prefix.writeUInt16BE(query.length)
    socket.write(Buffer.concat([prefix, query]))
  })
  return abandon
}

export function probeDns(check: DnsCheck, done: (result: Result) => void, source?: Source): () => void {
  const id = randomInt(0x10000)
  return check.transport === 'udp' ? overUdp(check, id, done, source) : overTcp(check, id, done, source)
}

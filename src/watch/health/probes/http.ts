// Checks a backend with an HTTP request: compares the status, and looks for a text in the body. One request per
// connection, no redirects, headers and body bounded.

import { type ClientRequest, type IncomingMessage, type RequestOptions, request as requestHttp } from 'node:http'
import { connect, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { connect as connectTls } from 'node:tls'
import type { HttpCheck, HttpsCheck } from '../../../model/health.ts'
import { formatAddress } from '../../../model/text.ts'
import { bad, GOOD, type Result } from '../standing.ts'
import { withStrictHead } from './answer-head.ts'
import { endOnce, failed } from './settle.ts'
import { from, hangUp, type Source } from './source.ts'
import { tlsOptions } from './tls.ts'
import type { Trust } from './trust.ts'

/** Most bytes of a body that are searched. */
export const MOST_BODY = 64 * 1024
/** Most bytes of response headers. */
const MOST_HEADERS = 16 * 1024
/** Most bytes of an answer, with what codings add. */
const MOST_BYTES = 512 * 1024

const DEFAULT_PORTS = { http: 80, https: 443 } as const

function hostHeader({ type, address, port, host }: HttpCheck | HttpsCheck): string {
  if (host !== undefined) return host
  const text = formatAddress(address.family, address.words)
  const bracketed = address.family === 6 ? `[${text}]` : text
  return port === DEFAULT_PORTS[type] ? bracketed : `${bracketed}:${port}`
}

/** Headers of the check, over the defaults: names are compared without regard to case. */
function headersOf(check: HttpCheck | HttpsCheck): Record<string, string> {
  const own = Object.entries(check.headers)
  const defaults = Object.entries({ 'User-Agent': 'xdp-health', Accept: '*/*' }).filter(
    ([name]) => !own.some(([other]) => other.toLowerCase() === name.toLowerCase()),
  )
  return { Host: hostHeader(check), ...Object.fromEntries([...defaults, ...own]), Connection: 'close' }
}

/** Searches the body as it arrives, across chunk borders. */
function readBody(response: IncomingMessage, text: string, finish: (result: Result) => void): void {
  const wanted = Buffer.from(text)
  let tail = Buffer.alloc(0)
  let read = 0
  response.on('data', (chunk: Buffer) => {
    const seen = Buffer.concat([tail, chunk.subarray(0, MOST_BODY - read)])
    read += chunk.length
    if (seen.includes(wanted)) return finish(GOOD)
    if (read >= MOST_BODY) return finish(bad(`the text is not in the first ${MOST_BODY / 1024} KiB of the body`))
    tail = seen.subarray(Math.max(0, seen.length - wanted.length + 1))
  })
  response.on('end', () => finish(bad('the text is not in the body')))
}

function judge(
  response: IncomingMessage,
  { status, body }: Pick<HttpCheck, 'status' | 'body'>,
  finish: (result: Result) => void,
): void {
  const code = response.statusCode ?? 0
  const isGood = status.some(({ first, last }) => code >= first && code <= last)
  if (isGood && body !== undefined) {
    response.on('error', (error) => finish(failed(error)))
    readBody(response, body, finish)
  } else finish(isGood ? GOOD : bad(`status ${code}`))
}

export function probeHttp(
  check: HttpCheck | HttpsCheck,
  trust: Trust,
  done: (result: Result) => void,
  source?: Source,
): () => void {
  const { address, port, method, path } = check
  const target = { host: formatAddress(address.family, address.words), port, ...from(source) }
  // Throws at once if the certificates of the system are damaged.
  const secure = check.type === 'https' ? tlsOptions(check, trust) : undefined
  let connection: Socket | undefined
  const open = (): Duplex => {
    connection = connect(target)
    const socket = secure ? connectTls({ socket: connection, ...secure }) : connection
    for (const one of new Set([connection, socket])) one.on('error', (error) => request.destroy(error))
    return withStrictHead(socket, { head: MOST_HEADERS, answer: MOST_BYTES })
  }
  const options: RequestOptions = {
    createConnection: open,
    method,
    path,
    maxHeaderSize: MOST_HEADERS,
    headers: headersOf(check),
  }
  const request: ClientRequest = requestHttp(options)
  const close = (): void => {
    hangUp(connection, source)
    request.destroy()
  }
  const { finish, abandon } = endOnce(close, done)
  request.on('response', (response) => judge(response, check, finish))
  // 101: no body follows.
  request.on('upgrade', (response) => judge(response, { ...check, body: undefined }, finish))
  request.on('error', (error) => finish(failed(error)))
  request.end()
  return abandon
}

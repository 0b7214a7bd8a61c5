// Checks a backend with a request to its gRPC health service, over HTTP/2 by prior knowledge or over TLS: good if it
// answers SERVING. One request per connection, headers and message bounded.

import { type ClientHttp2Session, connect, type IncomingHttpHeaders } from 'node:http2'
import { connect as openConnection } from 'node:net'
import { connect as connectTls } from 'node:tls'
import type { GrpcCheck, GrpcsCheck } from '../../../model/health.ts'
import { withPort } from '../../../model/service.ts'
import { formatAddress } from '../../../model/text.ts'
import { bad, GOOD, type Result } from '../standing.ts'
import { encodeRequest, GRPC_STATUS, objectionTo } from './grpc-health.ts'
import { endOnce, failed, plain } from './settle.ts'
import { from, hangUp, type Source } from './source.ts'
import { tlsOptions } from './tls.ts'
import type { Trust } from './trust.ts'

/** Most bytes of a message; that of a health service has 7. */
const MOST_MESSAGE = 4096

const METHOD = '/grpc.health.v1.Health/Check'

const CLOSED = bad('connection closed before the end of the answer')

/** An error of the connection or the stream. */
function broken(error: Error & { readonly code?: unknown }): Result {
  const code = typeof error.code === 'string' ? error.code : ''
  if (code === 'ERR_HTTP2_ERROR') return bad('the answer is not HTTP/2')
  return code.startsWith('ERR_HTTP2_') ? bad(plain(error.message)) : failed(error)
}

/** The text of `grpc-message`, which is percent-encoded. */
function decoded(message: string): string {
  try {
    return decodeURIComponent(message)
  } catch {
    return message
  }
}

const textOf = (value: string | readonly string[] | undefined): string | undefined => [value ?? []].flat()[0]

/** The result of a whole answer. `status` and `message` of the call are in the trailers, or in the only headers. */
function judge(headers: IncomingHttpHeaders, trailers: IncomingHttpHeaders, body: Buffer): Result {
  const code = headers[':status']
  if (Number(code) !== 200) return bad(`status ${plain(String(code))}`)
  const type = headers['content-type'] ?? ''
  if (!type.startsWith('application/grpc')) return bad(plain(`the answer is not gRPC, but ${type || 'of no type'}`))
  const status = textOf(trailers['grpc-status'] ?? headers['grpc-status'])
  if (status === undefined) return bad('the answer has no gRPC status')
  if (status !== '0') {
    const message = decoded(textOf(trailers['grpc-message'] ?? headers['grpc-message']) ?? '')
    const name = GRPC_STATUS[Number(status)] ?? status
    return bad(plain(`gRPC status ${name}${message === '' ? '' : `: ${message}`}`))
  }
  const objection = objectionTo(body)
  return objection === undefined ? GOOD : bad(objection)
}

function ask(
  session: ClientHttp2Session,
  check: GrpcCheck | GrpcsCheck,
  authority: string,
  finish: (result: Result) => void,
): void {
  const stream = session.request({
    ':method': 'POST',
    ':path': METHOD,
    ':authority': authority,
    'content-type': 'application/grpc',
    te: 'trailers',
    'user-agent': 'xdp-health',
    'grpc-timeout': `${check.timeoutMs}m`,
  })
  let headers: IncomingHttpHeaders | undefined
  let trailers: IncomingHttpHeaders = {}
  const parts: Buffer[] = []
  let length = 0
  stream.on('response', (received) => {
    headers = received
  })
  stream.on('trailers', (received) => {
    trailers = received
  })
  stream.on('data', (part: Buffer) => {
    length += part.length
    if (length > MOST_MESSAGE) finish(bad(`the message of the answer is longer than ${MOST_MESSAGE / 1024} KiB`))
    else parts.push(part)
  })
  stream.on('error', (error) => finish(broken(error)))
  // A stream that is reset without an error code also ends here.
  stream.on('close', () => finish(headers ? judge(headers, trailers, Buffer.concat(parts)) : CLOSED))
  stream.end(encodeRequest(check.service))
}

export function probeGrpc(
  check: GrpcCheck | GrpcsCheck,
  trust: Trust,
  done: (result: Result) => void,
  source?: Source,
): () => void {
  const target = withPort(formatAddress(check.address.family, check.address.words), check.port)
  const host = formatAddress(check.address.family, check.address.words)
  // Throws at once if the certificates of the system are damaged.
  const secure = check.type === 'grpcs' ? tlsOptions(check, trust) : undefined
  const connection = openConnection({ host, port: check.port, ...from(source) })
  const session = connect(`${secure ? 'https' : 'http'}://${target}`, {
    settings: { enablePush: false },
    createConnection: () =>
      secure ? connectTls({ socket: connection, ...secure, ALPNProtocols: ['h2'] }) : connection,
  })
  const close = (): void => {
    hangUp(connection, source)
    session.destroy()
  }
  const { finish, abandon } = endOnce(close, done)
  connection.on('error', (error) => finish(broken(error)))
  session.on('error', (error) => finish(broken(error)))
  session.on('connect', () => {
    // The event may still come after the check was abandoned.
    if (session.destroyed) return undefined
    if (check.type === 'grpcs' && session.alpnProtocol !== 'h2') {
      return finish(bad('the server does not offer HTTP/2 in the TLS handshake (ALPN)'))
    }
    ask(session, check, check.host ?? target, finish)
  })
  session.on('close', () => finish(CLOSED))
  return abandon
}

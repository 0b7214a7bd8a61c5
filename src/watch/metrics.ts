// The endpoint that Prometheus scrapes: GET /metrics and nothing else, on loopback unless another address is written.
// Clients must not be able to keep the daemon busy or to crash it: connections, headers and times are bounded,
// concurrent scrapes share one collection, and every failure becomes an HTTP status.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type Diagnostic, fail } from '../diagnostics.ts'
import { type Endpoint, formatEndpoint } from '../model/endpoint.ts'
import { parseAddress } from '../model/text.ts'

export interface Limits {
  /** Most open connections; further ones are closed at once. */
  readonly connections: number
  readonly headerBytes: number
  /** Longest time for a request to arrive, and for a connection to be idle. */
  readonly requestMs: number
  /** Longest time to wait for a collection. A slower one runs on, and the next starts only after it ends. */
  readonly collectMs: number
}

const LIMITS: Limits = { connections: 16, headerBytes: 8192, requestMs: 5000, collectMs: 9000 }

export interface MetricsOptions {
  /** Port 0 = any free port. */
  readonly endpoint: Endpoint
  /** Collects all metrics in the text format. If it throws, `report` gets the error and the scrape fails. */
  readonly collect: () => Promise<string>
  /** Receives failures of collections and errors of the server; the server runs on. */
  readonly report?: (error: unknown) => void
  readonly limits?: Partial<Limits>
}

export interface MetricsServer {
  /** Includes the port in use. */
  readonly url: string
  readonly warnings: readonly Diagnostic[]
  /** Ends every connection; the port is free afterwards. */
  readonly close: () => Promise<void>
}

const TEXT = 'text/plain; charset=utf-8'
/** https://prometheus.io/docs/instrumenting/exposition_formats/ */
const METRICS = 'text/plain; version=0.0.4; charset=utf-8'

function answer(response: ServerResponse, status: number, contentType: string, text: string): void {
  // One scrape per connection, so that no idle connection uses up the limit.
  const headers = { 'Content-Type': contentType, 'Content-Length': Buffer.byteLength(text), Connection: 'close' }
  response.writeHead(status, headers)
  response.end(text)
}

const pathOf = (url = ''): string => url.split(/[?#]/, 1)[0] ?? ''

/** Runs one collection at a time; concurrent callers share its result. */
function sharing<T>(collect: () => Promise<T>): () => Promise<T> {
  let current: Promise<T> | undefined
  return () => {
    current ??= collect().finally(() => {
      current = undefined
    })
    return current
  }
}

class TooSlow extends Error {}

async function within<T>(milliseconds: number, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new TooSlow(`no answer within ${milliseconds} ms`)), milliseconds)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}

/** The first line of an error; its stack goes only to the log. */
const sentence = (error: unknown): string =>
  error instanceof Error ? (error.message.split('\n')[0] ?? '') : `${error}`

function listen(server: Server, { address, port }: Endpoint): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const where = formatEndpoint({ address, port })
      const taken = error.code === 'EADDRINUSE'
      const message = taken ? `${where} is already in use` : `cannot listen on ${where}: ${error.code}`
      const hint = taken ? `ss -ltnp 'sport = :${port}'` : 'ip -brief address'
      reject(fail('E500', message, hint, error))
    })
    server.listen({ host: address, port }, resolve)
  })
}

/** RFC 1122, section 3.2.1.3; RFC 4291, section 2.5.3. False for text that is no address. */
function isLoopback(address: string): boolean {
  const [first = 0, ...rest] = parseAddress(address)?.words ?? []
  return rest.length === 0 ? first >>> 24 === 127 : first === 0 && rest.join() === '0,0,1'
}

/**
 * Serves metrics until it is closed. Throws E500 where it cannot listen on the address. Returns warning W500 where
 * other hosts can reach the address.
 */
export async function startMetrics({ endpoint, collect, report, limits }: MetricsOptions): Promise<MetricsServer> {
  const { connections, headerBytes, requestMs, collectMs } = { ...LIMITS, ...limits }
  const scrape = sharing(async () => collect())
  const serve = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    if (pathOf(request.url) !== '/metrics')
      return answer(response, 404, TEXT, 'not found: this server has only /metrics\n')
    if (request.method !== 'GET') {
      response.setHeader('Allow', 'GET')
      return answer(response, 405, TEXT, 'only GET is allowed\n')
    }
    try {
      answer(response, 200, METRICS, await within(collectMs, scrape()))
    } catch (error) {
      report?.(error)
      answer(response, error instanceof TooSlow ? 503 : 500, TEXT, `${sentence(error)}\n`)
    }
  }
  const times = { headersTimeout: requestMs, requestTimeout: requestMs, connectionsCheckingInterval: requestMs / 5 }
  const server = createServer({ maxHeaderSize: headerBytes, ...times }, (request, response) => {
    void serve(request, response).catch((error: unknown) => report?.(error))
  })
  server.maxConnections = connections
  // The server's timeouts end with the request, so a client that never reads its answer needs a timeout on the socket.
  // The socket is idle during a collection, too.
  server.on('connection', (socket) => socket.setTimeout(requestMs + collectMs, () => socket.destroy()))
  await listen(server, endpoint)
  server.removeAllListeners('error')
  server.on('error', (error) => report?.(error))
  const { port } = server.address() as AddressInfo
  const where = formatEndpoint({ address: endpoint.address, port })
  const exposed: Diagnostic = {
    code: 'W500',
    severity: 'warning',
    message: `metrics on ${where} are readable without a password by every host that reaches this address`,
    hint: `listen on 127.0.0.1:${port}, or restrict access with a list or a firewall`,
  }
  return {
    url: `http://${where}/metrics`,
    warnings: isLoopback(endpoint.address) ? [] : [exposed],
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

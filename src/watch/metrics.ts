// The endpoint that Prometheus scrapes: GET /metrics and nothing else, on loopback unless another address is written.
// It must not be a way to keep the daemon busy or to bring it down: connections, headers and times are bounded, scrapes
// that come together share one collection, and whatever goes wrong ends in a status.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type Diagnostic, fail } from '../diagnostics.ts'
import { type Endpoint, formatEndpoint } from '../model/endpoint.ts'
import { parseAddress } from '../model/text.ts'

export interface Limits {
  /** Further ones are closed at once. */
  readonly connections: number
  readonly headerBytes: number
  /** For a request to be there, and for a connection that does nothing. */
  readonly requestMs: number
  /** For a collection; one that takes longer is not waited for, and not begun again before it ends. */
  readonly collectMs: number
}

const LIMITS: Limits = { connections: 16, headerBytes: 8192, requestMs: 5000, collectMs: 9000 }

export interface MetricsOptions {
  /** Port 0 = any that is free. */
  readonly endpoint: Endpoint
  /** Everything there is to tell, now, in the text format. What it throws is told to `report`, and the scrape fails. */
  readonly collect: () => Promise<string>
  /** Hears of collections that failed and of errors of the server, which goes on. */
  readonly report?: (error: unknown) => void
  readonly limits?: Partial<Limits>
}

export interface MetricsServer {
  /** With the port that is listened on. */
  readonly url: string
  readonly warnings: readonly Diagnostic[]
  /** Ends every connection; the port is free afterwards. */
  readonly close: () => Promise<void>
}

const TEXT = 'text/plain; charset=utf-8'
/** https://prometheus.io/docs/instrumenting/exposition_formats/ */
const METRICS = 'text/plain; version=0.0.4; charset=utf-8'

function answer(response: ServerResponse, status: number, contentType: string, text: string): void {
  // One scrape a connection: none is left idle to take the place of another.
  const headers = { 'Content-Type': contentType, 'Content-Length': Buffer.byteLength(text), Connection: 'close' }
  response.writeHead(status, headers)
  response.end(text)
}

const pathOf = (url = ''): string => url.split(/[?#]/, 1)[0] ?? ''

/** One collection at a time; whoever asks meanwhile gets the same. */
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

/** What to say of a failure; the stack is for the log. */
const sentence = (error: unknown): string =>
  error instanceof Error ? (error.message.split('\n')[0] ?? '') : `${error}`

function listen(server: Server, { address, port }: Endpoint): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const where = formatEndpoint({ address, port })
      const taken = error.code === 'EADDRINUSE'
      const message = taken ? `${where} is in use already` : `cannot listen on ${where}: ${error.code}`
      reject(fail('E500', message, taken ? 'name another port' : 'name an address of this host', error))
    })
    server.listen({ host: address, port }, resolve)
  })
}

/** RFC 1122, section 3.2.1.3; RFC 4291, section 2.5.3. What is not known to be is not. */
function isLoopback(address: string): boolean {
  const [first = 0, ...rest] = parseAddress(address)?.words ?? []
  return rest.length === 0 ? first >>> 24 === 127 : first === 0 && rest.join() === '0,0,1'
}

/**
 * Serves metrics until it is closed. Throws E500 where the address cannot be listened on. The warnings are for whoever
 * started it: W500 where others than this host can reach it.
 */
export async function startMetrics({ endpoint, collect, report, limits }: MetricsOptions): Promise<MetricsServer> {
  const { connections, headerBytes, requestMs, collectMs } = { ...LIMITS, ...limits }
  const scrape = sharing(async () => collect())
  const serve = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    if (pathOf(request.url) !== '/metrics') return answer(response, 404, TEXT, 'only /metrics is here\n')
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
  // A reader that takes nothing of its answer has no request to time. While an answer is made, nothing moves either.
  server.on('connection', (socket) => socket.setTimeout(requestMs + collectMs, () => socket.destroy()))
  await listen(server, endpoint)
  server.removeAllListeners('error')
  server.on('error', (error) => report?.(error))
  const { port } = server.address() as AddressInfo
  const where = formatEndpoint({ address: endpoint.address, port })
  const exposed: Diagnostic = {
    code: 'W500',
    severity: 'warning',
    message: `metrics on ${where} can be read by whoever reaches this address, without a password`,
    hint: 'name a loopback address, or let a list or firewall keep others out',
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

// One download over HTTPS from a server that may be broken or hostile: certificates are always verified; time, size,
// redirects and headers are bounded; what arrives is counted while it arrives, before and after unpacking.

import { lookup as lookUp } from 'node:dns'
import type { IncomingMessage } from 'node:http'
import { Agent, request } from 'node:https'
import { isIP, type LookupFunction } from 'node:net'
import { pipeline, type Readable } from 'node:stream'
import { createGunzip } from 'node:zlib'
import { Failure, failureOf } from './failure.ts'
import { isPrivate } from './private.ts'

/** Bounds of one download. */
export interface Bounds {
  readonly maxBytes: number
  /** Milliseconds without a byte, and in all. */
  readonly idleMs: number
  readonly totalMs: number
}

export const BOUNDS = { idleMs: 30_000, totalMs: 300_000 } as const

const MOST_REDIRECTS = 5
const REDIRECTS: readonly number[] = [301, 302, 303, 307, 308]
/** Longest ETag that is remembered. */
const TAG = 1024
/** Longest pause that a server may ask for: a day. */
const PAUSE = 86_400_000

export interface Wanted {
  readonly url: string
  /** Certificates of authorities; undefined: those of Node.js. */
  readonly ca: Buffer | undefined
  /** Of the copy that is there already. */
  readonly etag: string | undefined
  readonly lastModified: string | undefined
  readonly bounds: Bounds
  readonly signal: AbortSignal | undefined
}

export type Downloaded =
  /** The server has what the copy has. */
  | { readonly kind: 'same' }
  | {
      readonly kind: 'new'
      readonly bytes: Buffer
      readonly etag: string | undefined
      readonly lastModified: string | undefined
    }

/** Resolves names like the default, and refuses private addresses. */
const publicOnly: LookupFunction = (host, options, callback) => {
  lookUp(host, { ...options, all: true }, (error, addresses) => {
    const found = error ? [] : addresses.filter(({ address }) => !isPrivate(address))
    const [first] = found
    if (first === undefined) {
      callback(error ?? (new Failure(`it redirects to ${host}, a private address`) as NodeJS.ErrnoException), [])
    } else if (options.all) callback(null, found)
    else callback(null, first.address, first.family)
  })
}

/** Milliseconds of a Retry-After header (RFC 9110), bounded. */
function pauseOf({ headers }: IncomingMessage): number | undefined {
  const written = headers['retry-after']
  if (written === undefined) return undefined
  const ms = /^\d{1,9}$/.test(written) ? Number(written) * 1000 : Date.parse(written) - Date.now()
  return Number.isNaN(ms) ? undefined : Math.min(Math.max(0, ms), PAUSE)
}

/** Why we ended a connection, which the stream of the answer does not say. */
interface Ended {
  why: Failure | undefined
}

/** Sends a request, and resolves when the headers of the answer are there. */
function ask(url: URL, wanted: Wanted, agent: Agent, signal: AbortSignal, ended: Ended): Promise<IncomingMessage> {
  const { etag, lastModified, bounds } = wanted
  return new Promise((resolve, reject) => {
    const headers = {
      accept: '*/*',
      'accept-encoding': 'gzip',
      'user-agent': 'xdp-as-code',
      ...(etag === undefined ? {} : { 'if-none-match': etag }),
      ...(lastModified === undefined ? {} : { 'if-modified-since': lastModified }),
    }
    const sent = request(url, { agent, headers, signal, timeout: bounds.idleMs }, resolve)
    sent.on('timeout', () => {
      ended.why = new Failure(`nothing arrived for ${bounds.idleMs / 1000} s`)
      sent.destroy(ended.why)
    })
    sent.on('error', reject)
    sent.end()
  })
}

const tooLarge = (most: number): Failure =>
  new Failure(`it is larger than ${most} bytes`, 'if that is right, write a larger `max_size`')

/** The content of an answer, unpacked. */
async function contentOf(answer: IncomingMessage, { maxBytes }: Bounds): Promise<Buffer> {
  const encoding = (answer.headers['content-encoding'] ?? 'identity').toLowerCase()
  if (!['identity', 'gzip', 'x-gzip'].includes(encoding)) {
    throw new Failure(`its content is encoded as ${JSON.stringify(encoding.slice(0, 40))}, and only gzip was asked for`)
  }
  if (Number(answer.headers['content-length'] ?? 0) > maxBytes) throw tooLarge(maxBytes)
  // Both errors reach the loop below: that of the answer destroys what unpacks it.
  const stream: Readable = encoding === 'identity' ? answer : pipeline(answer, createGunzip(), () => undefined)
  let received = 0
  answer.on('data', (chunk: Buffer) => {
    received += chunk.length
    if (received > maxBytes) answer.destroy(tooLarge(maxBytes))
  })
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    length += chunk.length
    if (length > maxBytes) throw tooLarge(maxBytes)
    chunks.push(chunk)
  }
  if (!answer.complete) throw new Failure('the connection ended before the list was complete')
  return Buffer.concat(chunks)
}

/** Where an answer sends us. */
function redirected(answer: IncomingMessage, from: URL): URL {
  const { location = '' } = answer.headers
  const to = URL.canParse(location, from.href) ? new URL(location, from) : undefined
  if (to === undefined) throw new Failure('it redirects to something that is not a URL')
  if (to.protocol !== 'https:') throw new Failure(`it redirects to ${to.protocol}, and only https: is followed`)
  if (to.username !== '' || to.password !== '') throw new Failure('it redirects to a URL with a password')
  return to
}

const header = (value: string | undefined): string | undefined =>
  value !== undefined && value.length <= TAG && /^[\x20-\x7e]*$/.test(value) ? value : undefined

async function follow(wanted: Wanted, signal: AbortSignal, ended: Ended): Promise<Downloaded> {
  const tls = { rejectUnauthorized: true, minVersion: 'TLSv1.2', ...(wanted.ca && { ca: wanted.ca }) } as const
  const open = new Agent(tls)
  const guarded = new Agent({ ...tls, lookup: publicOnly })
  let url = new URL(wanted.url)
  let isPublic = false
  for (let hop = 0; hop <= MOST_REDIRECTS; hop++) {
    const host = url.hostname.replace(/^\[|\]$/g, '')
    if (isPublic && isIP(host) !== 0 && isPrivate(host)) throw new Failure(`it redirects to ${host}, a private address`)
    const answer = await ask(url, wanted, isPublic ? guarded : open, signal, ended)
    const { statusCode = 0 } = answer
    try {
      isPublic ||= !isPrivate(answer.socket.remoteAddress ?? '')
      if (REDIRECTS.includes(statusCode)) {
        url = redirected(answer, url)
        continue
      }
      if (statusCode === 304 && (wanted.etag ?? wanted.lastModified) !== undefined) return { kind: 'same' }
      if (statusCode !== 200)
        throw new Failure(`the server answers with status ${statusCode}`, undefined, pauseOf(answer))
      const bytes = await contentOf(answer, wanted.bounds)
      const { etag, 'last-modified': lastModified } = answer.headers
      return { kind: 'new', bytes, etag: header(etag), lastModified: header(lastModified) }
    } finally {
      answer.destroy()
    }
  }
  throw new Failure(`it redirects more than ${MOST_REDIRECTS} times`)
}

/** Downloads a URL. Throws Failure. */
export async function download(wanted: Wanted): Promise<Downloaded> {
  const { totalMs } = wanted.bounds
  const late = AbortSignal.timeout(totalMs)
  const signal = AbortSignal.any([late, ...(wanted.signal ? [wanted.signal] : [])])
  const ended: Ended = { why: undefined }
  try {
    return await follow(wanted, signal, ended)
  } catch (error) {
    if (late.aborted) throw new Failure(`it was not complete after ${totalMs / 1000} s`)
    if (wanted.signal?.aborted) throw new Failure('interrupted')
    throw ended.why ?? failureOf(error)
  }
}

// The messages of the control socket, one JSON document a line: requests of ban and unban, and their answers. docs/bans.md
// describes them for other programs.

import { CODES, type Code } from '../diagnostics.ts'
import type { Address } from './address.ts'
import {
  type BanLabels,
  type BanOrder,
  type BanOutcome,
  type BanRefusal,
  BY_BYTES,
  LONGEST_BAN,
  objectionToLabel,
  parseBanned,
  REASON_BYTES,
} from './ban.ts'
import { type AllowedCuts, NO_ALLOWED_CUTS, readAllowedCuts, wordsOfAllowed } from './contact.ts'
import { formatAddress, type Prefix, parseAddress } from './text.ts'

/** Version of the messages. */
const VERSION = 1

/** Most bytes of a message, and most requests in one. */
export const MOST_MESSAGE_BYTES = 1 << 20
export const MOST_MESSAGE_REQUESTS = 4096

/** A message in transit: its orders and who may have sent them. */
export interface BanMessage {
  readonly orders: readonly BanOrder[]
  /** Inode of the sender's network namespace; undefined: not given. */
  readonly netns: bigint | undefined
  /** Time of the monotonic clock in ms after which the sender no longer waits; undefined: it waits for ever. */
  readonly until: number | undefined
}

/** An error of the daemon, as in the JSON of commands. */
export interface WireError {
  readonly code: string
  readonly message: string
  readonly hint?: string
}

export type BanAnswer =
  | { readonly outcomes: readonly BanOutcome[]; readonly error?: undefined }
  | { readonly outcomes?: undefined; readonly error: WireError }

const documentLine = (value: unknown): string => `${JSON.stringify(value)}\n`

const titleOf = ({ family, start, length }: Prefix): string => `${formatAddress(family, start)}/${length}`

const NO_ORDER = { labels: { reason: '', by: '' }, allowed: NO_ALLOWED_CUTS, peers: [] }

/** A message as a line. All orders have the labels, allowed cuts and peers of the first. */
export function encodeMessage({ orders, netns, until }: BanMessage): string {
  const [{ labels, allowed, peers } = NO_ORDER] = orders
  const allow = wordsOfAllowed(allowed)
  return documentLine({
    version: VERSION,
    ...(netns === undefined ? {} : { netns: `${netns}` }),
    ...(until === undefined ? {} : { until }),
    ...labels,
    force: allowed.all,
    ...(allow.length === 0 ? {} : { allow }),
    peers: peers.map(({ family, words }) => formatAddress(family, words)),
    requests: orders.map(({ op, prefix, ttlMs, observe }) => ({
      // A daemon of an older build must not take it for a ban that drops.
      op: op === 'remove' ? 'unban' : observe ? 'observe' : 'ban',
      prefix: titleOf(prefix),
      ...(ttlMs === 0 ? {} : { ttl: ttlMs / 1000 }),
    })),
  })
}

type Json = Readonly<Record<string, unknown>>

const isObject = (value: unknown): value is Json => typeof value === 'object' && value !== null && !Array.isArray(value)

/** Thrown by the decoders below, and caught by decodeMessage. */
class Invalid extends Error {}

function textOf(message: Json, key: keyof BanLabels, most: number): string {
  const text = message[key] ?? ''
  if (typeof text !== 'string') throw new Invalid(`"${key}" is not a string`)
  const objection = objectionToLabel(text, most)
  if (objection !== undefined) throw new Invalid(`"${key}" ${objection}`)
  return text
}

function allowedOf({ force = false, allow = [] }: Json): AllowedCuts {
  if (typeof force !== 'boolean') throw new Invalid('"force" is not a boolean')
  const isText = (word: unknown): word is string => typeof word === 'string'
  if (!Array.isArray(allow) || !allow.every(isText)) throw new Invalid('"allow" is not an array of strings')
  const allowed = readAllowedCuts(allow, force)
  if (typeof allowed !== 'string') return allowed
  throw new Invalid(`"allow" contains ${JSON.stringify(allowed).slice(0, 80)}, neither a kind of peer nor an address`)
}

function peersOf({ peers = [] }: Json): Address[] {
  if (!Array.isArray(peers)) throw new Invalid('"peers" is not an array')
  return peers.map((peer) => {
    const address = typeof peer === 'string' ? parseAddress(peer) : undefined
    if (!address) throw new Invalid('"peers" contains no address')
    return address
  })
}

function requestOf(request: unknown, common: Pick<BanOrder, 'labels' | 'allowed' | 'peers'>): BanOrder {
  if (!isObject(request)) throw new Invalid('a request is not an object')
  const { op, prefix: text, ttl = 0 } = request
  if (op !== 'ban' && op !== 'observe' && op !== 'unban') throw new Invalid('"op" must be "ban", "observe" or "unban"')
  const prefix = typeof text === 'string' ? parseBanned(text) : undefined
  if (!prefix) throw new Invalid(`${JSON.stringify(text ?? null).slice(0, 80)} is not an address or CIDR`)
  if (typeof ttl !== 'number' || !(ttl >= 0 && ttl * 1000 <= LONGEST_BAN)) {
    throw new Invalid('"ttl" is not a number of seconds, at most ten years')
  }
  if (op === 'unban') return { op: 'remove', prefix, ttlMs: 0, ...common }
  // 0 means without end, so the shortest time is a millisecond.
  const ttlMs = ttl === 0 ? 0 : Math.max(1, Math.round(ttl * 1000))
  return { op: 'add', prefix, ttlMs, ...(op === 'observe' ? { observe: true } : {}), ...common }
}

function messageOf(message: unknown): BanMessage {
  if (!isObject(message)) throw new Invalid('the message is not an object')
  const { version, netns, until, requests } = message
  if (version !== VERSION) throw new Invalid(`"version" is not ${VERSION}`)
  if (netns !== undefined && !(typeof netns === 'string' && /^\d{1,19}$/.test(netns))) {
    throw new Invalid('"netns" is not a string of digits')
  }
  if (until !== undefined && typeof until !== 'number') throw new Invalid('"until" is not a number')
  if (!Array.isArray(requests)) throw new Invalid('"requests" is not an array')
  if (requests.length > MOST_MESSAGE_REQUESTS) throw new Invalid(`more than ${MOST_MESSAGE_REQUESTS} requests`)
  const labels = { reason: textOf(message, 'reason', REASON_BYTES), by: textOf(message, 'by', BY_BYTES) }
  const common = { labels, allowed: allowedOf(message), peers: peersOf(message) }
  return {
    orders: requests.map((request) => requestOf(request, common)),
    netns: netns === undefined ? undefined : BigInt(netns),
    until,
  }
}

/** Parses a line; a string says why it is no valid message. */
export function decodeMessage(line: string): BanMessage | string {
  try {
    return messageOf(JSON.parse(line))
  } catch (error) {
    if (error instanceof Invalid) return error.message
    if (error instanceof SyntaxError) return 'the message is not JSON'
    throw error
  }
}

/** An answer as a line. */
export function encodeAnswer({ outcomes, error }: BanAnswer): string {
  if (error) return documentLine({ version: VERSION, error })
  const results = outcomes.map((outcome) =>
    outcome.result === 'refused'
      ? { result: outcome.result, protects: outcome.reasons.map(({ message }) => message), reasons: outcome.reasons }
      : { result: outcome.result },
  )
  return documentLine({ version: VERSION, results })
}

function refusalOf(value: unknown): BanRefusal | undefined {
  if (!isObject(value)) return undefined
  const { code, message, hint } = value
  const isKnown = typeof code === 'string' && code in CODES
  if (!isKnown || typeof message !== 'string' || typeof hint !== 'string') return undefined
  return { code: code as Code, message, hint }
}

const RESULTS = ['added', 'refreshed', 'removed', 'absent', 'full', 'no-memory'] as const

function outcomeOf(value: unknown): BanOutcome | undefined {
  if (!isObject(value)) return undefined
  const { result, reasons } = value
  const known = RESULTS.find((one) => one === result)
  if (known) return { result: known }
  if (result !== 'refused' || !Array.isArray(reasons)) return undefined
  const read = reasons.map(refusalOf)
  return read.every((reason) => reason !== undefined) ? { result, reasons: read } : undefined
}

/** Parses the answer to `count` orders; undefined if it is none that this build understands. */
export function decodeAnswer(line: string, count: number): BanAnswer | undefined {
  let answer: unknown
  try {
    answer = JSON.parse(line)
  } catch {
    return undefined
  }
  if (!isObject(answer) || answer['version'] !== VERSION) return undefined
  const { error, results } = answer
  if (isObject(error) && typeof error['code'] === 'string' && typeof error['message'] === 'string') {
    const { code, message, hint } = error
    return { error: { code, message, ...(typeof hint === 'string' ? { hint } : {}) } }
  }
  if (!Array.isArray(results) || results.length !== count) return undefined
  const outcomes = results.map(outcomeOf)
  return outcomes.every((outcome) => outcome !== undefined) ? { outcomes } : undefined
}

// Keys of health checks that the schema cannot judge alone: request headers, and queries to DNS servers.

import type { DnsCheck, HttpCheck } from '../../model/health.ts'
import { parseAddress } from '../../model/text.ts'
import { fieldOf, keyLocation, type Reading, reportAt } from '../text/place.ts'
import { quote } from '../text/show.ts'
import type { Placed } from '../text/tree.ts'
import type { WrittenHealth } from './written-services.ts'

/** A check as written, and its place. */
export interface Context extends Reading {
  readonly placed: Placed
}

export const field = ({ placed }: Context, key: string): Placed => fieldOf(placed, key)

/**
 * Whether the mapping itself has one of the keys. Errors in keys inherited from the service are reported there, once.
 */
export const says = ({ placed }: Context, ...keys: readonly string[]): boolean =>
  keys.some((key) => placed.fields?.has(key) ?? false)

/** Headers that follow from the request itself, or concern the connection (RFC 9110 §7.6.1, §8.6, §10.1.1). */
const MANAGED = new Set([
  'connection',
  'content-length',
  'expect',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
])

/** More would not fit into the 8 KiB that most servers accept. */
const MOST_HEADERS = 32

/** The Host header and the others. */
export function readHeaders(written: WrittenHealth, context: Context): Pick<HttpCheck, 'host' | 'headers'> {
  const own = says(context, 'headers')
  const at = field(context, 'headers')
  const place = (name: string): Placed => at.fields?.get(name) ?? at
  const error = (name: string, code: 'E013' | 'E049', message: string, hint: string): void => {
    if (own) context.report.error(code, keyLocation(context, place(name)), message, hint)
  }
  const first = new Map<string, string>()
  const headers: Record<string, string> = {}
  let named: string | undefined
  for (const [name, value] of Object.entries(written.headers ?? {})) {
    const lower = name.toLowerCase()
    const other = first.get(lower)
    if (other !== undefined) error(name, 'E049', `${name} and ${other} set the same header`, 'remove one of them')
    else if (MANAGED.has(lower)) error(name, 'E013', `the check sets the header ${name} itself`, 'remove it')
    else if (lower === 'host') named = value
    else headers[name] = value
    first.set(lower, name)
    if (lower !== 'host') continue
    if (says(context, 'host')) error(name, 'E049', 'host and headers.Host set the same value', 'remove one of them')
    else if (!/^[!-~]{1,255}$/.test(value)) {
      error(name, 'E013', `${quote(value)} is not a host name`, 'write a host name, with or without a port')
    }
  }
  if (own && first.size > MOST_HEADERS) {
    reportAt(context, at, 'E013', `the check has ${first.size} headers; it may have ${MOST_HEADERS}`)
  }
  const host = says(context, 'host') ? written.host : (named ?? written.host)
  return { host, headers }
}

/** RFC 1035 §2.3.4: 255 octets, which count the length of each label and the root. */
const LONGEST_NAME = 253

const FAMILY_OF: Readonly<Partial<Record<DnsCheck['record'], 4 | 6>>> = { A: 4, AAAA: 6 }

/** A query and its expected answer; undefined after an error. */
export function readDns(
  written: WrittenHealth,
  context: Context,
): Pick<DnsCheck, 'query' | 'record' | 'transport' | 'rcodes' | 'answer'> | undefined {
  const { query, record = 'A', transport = 'udp', rcode = 'noerror', answer } = written
  if (query === undefined) {
    const hint = 'name a record that the backend serves, for example `query: www.example.com`'
    reportAt(context, context.placed, 'E011', 'the key "query" is missing', hint)
    return undefined
  }
  const name = query.replace(/\.$/, '')
  if (name.length > LONGEST_NAME && says(context, 'query')) {
    reportAt(context, field(context, 'query'), 'E013', `the name is longer than ${LONGEST_NAME} characters`)
  }
  const rcodes = [...new Set([rcode].flat())]
  if (says(context, 'answer', 'record', 'rcode') && answer !== undefined) {
    const at = says(context, 'answer') ? 'answer' : says(context, 'record') ? 'record' : 'rcode'
    const family = FAMILY_OF[record]
    if (!rcodes.includes('noerror')) {
      const hint = 'add noerror to `rcode`, or remove `answer`'
      reportAt(context, field(context, at), 'E049', 'answer has no effect: an accepted response has no records', hint)
    } else if (family !== undefined && parseAddress(answer)?.family !== family) {
      const message = `${quote(answer)} is not an IPv${family} address, which a record of type ${record} has`
      reportAt(context, field(context, at), 'E013', message, 'write the address, or change `record`')
    }
  }
  return { query: name, record, transport, rcodes, answer }
}

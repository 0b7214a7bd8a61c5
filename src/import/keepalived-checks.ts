// Checkers of keepalived → the check of a backend. A checker that no check of a service can replace is reported: without
// it a dead server would count as up. Meaning of keywords and defaults: keepalived.conf(5).

import type { Address } from '../model/address.ts'
import { formatAddress, parseAddress } from '../model/text.ts'
import type { Differences, WrittenCheck } from './ipvs-model.ts'
import { milliseconds, noteWithoutEffect, type Settings, whole, withSetting } from './keepalived-settings.ts'
import type { Statement } from './keepalived-text.ts'
import { lookUp, type Place } from './source.ts'

/** The server to check. */
export interface Checked {
  readonly address: Address
  /** Port of the server; 0: any. */
  readonly port: number
  /** Port of the check without `port` in it; undefined: the service has several. */
  readonly standardPort: number | undefined
  readonly settings: Settings
  /** `script_user` of the configuration. */
  readonly scriptUser: string | undefined
}

/** Settings and statements of one checker. */
interface Checker {
  readonly checked: Checked
  readonly settings: Settings
  readonly place: Place
  /** Statements that only this type of checker has. */
  readonly own: readonly Statement[]
  readonly port: number
  readonly differences: Differences
}

/** A check without port and schedule; undefined after reporting why there is none. */
type Convert = (checker: Checker) => WrittenCheck | undefined

interface Kind {
  readonly convert: Convert
  readonly retry: number
  /** Milliseconds; `interval`: as `delay_loop`. */
  readonly retryDelay: number | 'interval'
}

/** Words for a checker that is left out. */
function unlike({ place, differences }: Checker, why: string): undefined {
  differences.elsewhere('checks', place, why)
}

/** Milliseconds as text; above two hours in whole seconds, because a config has seven digits. */
function durationText(ms: number): string {
  const rounded = ms < 7_200_000 ? ms : Math.ceil(ms / 1000) * 1000
  return rounded % 1000 === 0 ? `${rounded / 1000}s` : `${rounded}ms`
}

/** Characters of `body`, and bytes that a check sends or expects, at most. */
const LONGEST_TEXT = 1024

/** A regular expression that stands for its own text. */
const LITERAL = /^[\w \-/:;,<>="'&%@~]+$/

interface Url {
  readonly place: Place
  readonly statements: readonly Statement[]
}

/** Keywords of a URL that a check has too, with the key and the value; undefined for a value that it cannot have. */
const URL_KEYS: Readonly<
  Record<string, (values: readonly string[]) => readonly [key: string, value: unknown] | undefined>
> = {
  path: ([value = '']) => (/^\/[!-~]*$/.test(value) ? ['path', value] : undefined),
  virtualhost: ([value = '']) => (/^[!-~]{1,255}$/.test(value) ? ['host', value] : undefined),
  status_code: (values) => {
    if (values.length === 0 || !values.every((one) => /^[1-5]\d\d(?:-[1-5]\d\d)?$/.test(one))) return undefined
    const codes = values.map((one) => (one.includes('-') ? one : Number(one)))
    return ['status', codes.length === 1 ? codes[0] : codes]
  },
  regex: ([value = '']) => (LITERAL.test(value) && value.length <= LONGEST_TEXT ? ['body', value] : undefined),
}

/** As `user` of a check. */
const USER_NAME = /^[a-z_][a-z0-9_-]{0,31}$/

/** As `sni` of a check. */
const HOST_NAME = /^[A-Za-z0-9]([A-Za-z0-9.-]{0,252}[A-Za-z0-9])?$/

/** Why a keyword of a URL makes the check weaker. */
function lossOf(keyword: string): string {
  if (keyword === 'digest') return 'it does not compare the digest of the body; `body` looks for a text in it'
  if (keyword.startsWith('regex')) return 'it has no regular expressions; `body` looks for a text'
  return `${keyword} is not understood`
}

function urlFields({ place, statements }: Url, { differences, settings }: Checker): WrittenCheck {
  const fields: Record<string, unknown> = {
    path: '/',
    status: '200-299',
    ...(settings.host && { host: settings.host }),
  }
  const isPattern = statements.some(({ words: [keyword] }) => keyword.startsWith('regex_'))
  for (const { words, place: at } of statements) {
    const [keyword, ...values] = words
    const found = isPattern && keyword === 'regex' ? undefined : lookUp(URL_KEYS, keyword)?.(values)
    if (found) fields[found[0]] = found[1]
    else differences.elsewhere('checks', at, `the check is weaker: ${lossOf(keyword)}`)
  }
  if (statements.length === 0) differences.elsewhere('checks', place, 'the check names no URL')
  return fields
}

/** HTTP_GET and SSL_GET. */
function httpCheck(checker: Checker, type: 'http' | 'https'): WrittenCheck {
  const { own, differences, place } = checker
  const urls: Url[] = []
  let sendsName = false
  for (const { words, place: at, block } of own) {
    if (words[0] === 'url' && block) urls.push({ place: at, statements: block })
    else if (words[0] === 'enable_sni') sendsName = true
    else differences.elsewhere('checks', at, `${words[0]} of a check is not understood`)
  }
  const [first = { place, statements: [] }, ...others] = urls
  for (const { place: at } of others) {
    differences.elsewhere('checks', at, 'the check is weaker: it requests the first URL only')
  }
  const fields = urlFields(first, checker)
  const { host } = fields
  const name = typeof host === 'string' ? host.replace(/:\d+$/, '') : undefined
  if (sendsName && name !== undefined && !HOST_NAME.test(name)) {
    differences.elsewhere(
      'checks',
      place,
      'the check is weaker: it sends no server name, because the host is not a name',
    )
    sendsName = false
  }
  const tls = type === 'https' ? { ...(sendsName && name && { sni: name }), verify: false } : {}
  return { type, ...fields, ...tls }
}

/** As `query` of a check, which is a name in DNS. */
const DOMAIN_NAME = /^(?=.{1,253}\.?$)(?:\.|(?:[!--/-~]{1,63}\.)*[!--/-~]{1,63}\.?)$/

/** Types of records that keepalived asks for. */
const RECORDS: readonly string[] = ['A', 'NS', 'CNAME', 'SOA', 'MX', 'TXT', 'AAAA']

function dnsCheck(checker: Checker): WrittenCheck | undefined {
  let [query, record] = ['.', 'SOA']
  for (const { words, place } of checker.own) {
    const [keyword, value = ''] = words
    if (keyword === 'name' && DOMAIN_NAME.test(value)) query = value
    else if (keyword === 'type' && RECORDS.includes(value.toUpperCase())) record = value.toUpperCase()
    else return unlike({ ...checker, place }, `${words.join(' ')} of a DNS check is not understood`)
  }
  return { type: 'dns', query, record }
}

/** `Ab12f 3` as ab120f03; undefined if it is anything else, or too long for a check. keepalived.conf(5), "UDP_CHECK". */
function hexOf(words: readonly string[]): string | undefined {
  const parts = words.flatMap((word) => word.split(/\s+/)).filter((part) => part !== '')
  if (parts.length === 0 || !parts.every((part) => /^[0-9a-f]+$/i.test(part))) return undefined
  const bytes = parts.flatMap(
    (part) => part.match(/../g)?.concat(part.length % 2 === 1 ? [`0${part.at(-1)}`] : []) ?? [`0${part}`],
  )
  return bytes.length <= LONGEST_TEXT ? bytes.join('').toLowerCase() : undefined
}

function udpCheck(checker: Checker): WrittenCheck | undefined {
  const { own, differences } = checker
  const found = new Map(own.map(({ words, place }) => [words[0], { values: words.slice(1), place }]))
  const reply = found.get('require_reply')
  if (reply === undefined)
    return unlike(checker, 'a UDP check needs an answer; this one passes without, if no ICMP error arrives')
  const expected = reply.values.length === 0 ? undefined : hexOf(reply.values)
  if (reply.values.length > 0 && expected === undefined)
    return unlike(
      { ...checker, place: reply.place },
      'the expected answer is too long, or has digits that count as any',
    )
  if (expected !== undefined)
    differences.approximated(reply.place, 'the expected bytes may be anywhere in the answer, not only at its start')
  const payload = found.get('payload')
  const sent = payload && hexOf(payload.values)
  if (payload && sent === undefined)
    return unlike({ ...checker, place: payload.place }, 'the payload is not hexadecimal, or longer than a check sends')
  if (payload === undefined)
    differences.approximated(checker.place, 'the check sends the text "check", not random bytes')
  for (const [keyword, { place }] of found) {
    if (keyword === 'min_reply_length' || keyword === 'max_reply_length')
      differences.approximated(place, 'the length of the answer is not compared')
    else if (keyword !== 'payload' && keyword !== 'require_reply')
      return unlike({ ...checker, place }, `${keyword} of a UDP check is not understood`)
  }
  return {
    type: 'udp',
    ...(sent === undefined ? { send: 'check' } : { send_hex: sent }),
    ...(expected !== undefined && { expect_hex: expected }),
  }
}

/** A command line in words: spaces separate, single quotes join. */
const commandOf = (line: string): string[] =>
  (line.match(/(?:[^\s']|'[^']*')+/g) ?? []).map((word) => word.replaceAll("'", ''))

function commandCheck(checker: Checker): WrittenCheck | undefined {
  const { own, checked, differences, place, settings } = checker
  let command: string[] = []
  let user = checked.scriptUser
  let timeout = settings.interval
  for (const { words, place: at } of own) {
    const [keyword, ...values] = words
    if (keyword === 'misc_path') command = commandOf(values.join(' '))
    else if (keyword === 'misc_timeout') timeout = milliseconds(values[0]) ?? timeout
    else if (keyword === 'user') user = values[0]
    else if (keyword === 'misc_dynamic')
      return unlike({ ...checker, place: at }, 'the exit status of a check sets no weights')
    else return unlike({ ...checker, place: at }, `${keyword} of a check is not understood`)
  }
  const [path = ''] = command
  if (!path.startsWith('/')) return unlike(checker, `a check needs the absolute path of its command, not "${path}"`)
  if (user !== undefined && !USER_NAME.test(user)) {
    differences.elsewhere('checks', place, `${user} is not the name of a user`)
    user = undefined
  }
  if (user === undefined)
    differences.approximated(place, 'the check runs as nobody; keepalived runs it as keepalived_script, or as root')
  return { type: 'exec', command, ...(user !== undefined && { user }), timeout: durationText(timeout) }
}

/** For checkers that no check is like. */
const none =
  (why: string): Convert =>
  (checker) =>
    unlike(checker, why)

/** A check that at least connects, in place of one that says more. */
const weaker =
  (why: string): Convert =>
  ({ place, differences }) => {
    differences.elsewhere('checks', place, `the check is weaker: ${why}`)
    return { type: 'tcp' }
  }

const KINDS: Readonly<Record<string, Kind>> = {
  TCP_CHECK: {
    convert: (checker) => {
      const [other] = checker.own
      return other
        ? unlike({ ...checker, place: other.place }, `${other.words[0]} of a check is not understood`)
        : { type: 'tcp' }
    },
    retry: 1,
    retryDelay: 1000,
  },
  HTTP_GET: { convert: (checker) => httpCheck(checker, 'http'), retry: 1, retryDelay: 3000 },
  SSL_GET: { convert: (checker) => httpCheck(checker, 'https'), retry: 1, retryDelay: 3000 },
  DNS_CHECK: { convert: dnsCheck, retry: 3, retryDelay: 'interval' },
  UDP_CHECK: { convert: udpCheck, retry: 1, retryDelay: 1000 },
  MISC_CHECK: { convert: commandCheck, retry: 1, retryDelay: 1000 },
  SMTP_CHECK: { convert: weaker('it connects, and does not speak SMTP'), retry: 1, retryDelay: 1000 },
  PING_CHECK: { convert: none('there is no check by ping'), retry: 1, retryDelay: 1000 },
  BFD_CHECK: { convert: none('there is no check by BFD'), retry: 1, retryDelay: 1000 },
  FILE_CHECK: { convert: none('there is no check of a file'), retry: 1, retryDelay: 1000 },
}

export const isChecker = (keyword: string): boolean => Object.hasOwn(KINDS, keyword)

/** Where a check comes from; it follows the routes of this host. */
const ORIGINS = new Set(['bindto', 'bind_if', 'bind_port', 'fwmark'])

/** A checker with its settings; undefined after reporting that it goes elsewhere. */
function readChecker(
  { place, block = [] }: Statement,
  checked: Checked,
  differences: Differences,
): Checker | undefined {
  let { settings, port } = checked
  const own: Statement[] = []
  for (const statement of block) {
    const [keyword, value = ''] = statement.words
    const changed = withSetting(settings, statement, differences)
    if (changed) settings = changed
    else if (keyword === 'connect_port' && whole(value, 65_535)) port = Number(value)
    else if (keyword === 'connect_ip') {
      const to = parseAddress(value)
      const isServer =
        to && formatAddress(to.family, to.words) === formatAddress(checked.address.family, checked.address.words)
      if (isServer) continue
      differences.elsewhere(
        'checks',
        statement.place,
        'the check is left out: it connects to another address than the server',
      )
      return undefined
    } else if (ORIGINS.has(keyword)) {
      differences.approximated(statement.place, `${keyword} is left out: checks follow the routes of this host`)
    } else if (!noteWithoutEffect(statement, differences)) own.push(statement)
  }
  return { checked, settings, place, own, port, differences }
}

/**
 * The schedule. keepalived tests a living server every `delay_loop`, and `retry` times more, `delay_before_retry` apart,
 * before it gives it up; checks of a service have one interval. The interval with which as many failures take as long
 * keeps the time until a dead server gets no more connections.
 */
function scheduleOf({ settings }: Checker, kind: Kind, own: number | undefined): WrittenCheck {
  const { interval } = settings
  const timeout = own ?? settings.timeout ?? 5000
  const retry = settings.retry ?? kind.retry
  const delay = settings.retryDelay ?? (kind.retryDelay === 'interval' ? interval : kind.retryDelay)
  const apart = Math.round((interval + retry * delay) / (retry + 1))
  return {
    interval: durationText(Math.max(100, timeout, apart)),
    timeout: durationText(timeout),
    rise: 1,
    fall: retry + 1,
  }
}

function convert(statement: Statement, checked: Checked, differences: Differences): WrittenCheck | undefined {
  const kind = lookUp(KINDS, statement.words[0]) as Kind
  const checker = readChecker(statement, checked, differences)
  const found = checker && kind.convert(checker)
  if (!checker || !found) return undefined
  const { type, timeout, ...fields } = found
  const schedule = scheduleOf(checker, kind, typeof timeout === 'string' ? readDuration(timeout) : undefined)
  if (type !== 'exec' && checker.port === 0) return unlike(checker, 'the check is left out: its port is unknown')
  const port = type !== 'exec' && checker.port !== checked.standardPort ? { port: checker.port } : {}
  return { type, ...port, ...fields, ...schedule }
}

const readDuration = (text: string): number =>
  text.endsWith('ms') ? Number.parseInt(text, 10) : Number.parseInt(text, 10) * 1000

/** The check for the checkers of a server, all of which keepalived requires; undefined if there is none. */
export function checkOf(
  checkers: readonly Statement[],
  checked: Checked,
  differences: Differences,
): WrittenCheck | undefined {
  let chosen: WrittenCheck | undefined
  for (const statement of checkers) {
    if (chosen === undefined) chosen = convert(statement, checked, differences)
    else differences.elsewhere('checks', statement.place, `${statement.words[0]} is left out: a backend has one check`)
  }
  return chosen
}

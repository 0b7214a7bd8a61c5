// `health` of a service and of its backends → one complete check per backend.

import { FORWARDING_MODES, type Forwarding } from '../../features/forwarding/forwarding.ts'
import type { Address } from '../../model/address.ts'
import {
  type CheckSchedule,
  DEFAULT_MIN_HEALTHY,
  defaultFallback,
  type HealthCheck,
  type MinHealthy,
  type ServiceHealth,
} from '../../model/health.ts'
import type { PortRange } from '../../model/ports.ts'
import { canonicalPorts } from '../../model/scope.ts'
import { type Backend, backendKey, onlyPort } from '../../model/service.ts'
import { readDuration, readShare } from '../text/duration.ts'
import { fieldOf, keyLocation, type Reading, reportAt } from '../text/place.ts'
import { listed, quote } from '../text/show.ts'
import type { Placed } from '../text/tree.ts'
import type { Frame, ReadBackend } from './backends.ts'
import { type Context, field, readDns, readHeaders, says } from './check-keys.ts'
import type { WrittenHealth, WrittenService } from './written-services.ts'

type Type = HealthCheck['type']

/** Shorter intervals, in ms, would add load but no knowledge. */
const SHORTEST_INTERVAL = 100

/** Keys that only some types of checks have. */
const TYPES_OF: Readonly<Partial<Record<keyof WrittenHealth, readonly Type[]>>> = {
  path: ['http', 'https'],
  host: ['http', 'https', 'grpc', 'grpcs'],
  headers: ['http', 'https'],
  method: ['http', 'https'],
  status: ['http', 'https'],
  body: ['http', 'https'],
  sni: ['https', 'grpcs'],
  verify: ['https', 'grpcs'],
  grpc_service: ['grpc', 'grpcs'],
  query: ['dns'],
  record: ['dns'],
  transport: ['dns'],
  rcode: ['dns'],
  answer: ['dns'],
  send: ['udp'],
  send_hex: ['udp'],
  expect: ['udp'],
  expect_hex: ['udp'],
  command: ['exec'],
  user: ['exec'],
}

function checkKeys(type: Type, context: Context): void {
  for (const [key, types] of Object.entries(TYPES_OF)) {
    if (types.includes(type) || !says(context, key)) continue
    const message = `${key} has no effect: only ${listed(types, 'and')} checks have it, and this is a ${type} check`
    context.report.error('E049', keyLocation(context, field(context, key)), message, 'remove it, or change `type`')
  }
  for (const key of ['send', 'expect']) {
    if (!says(context, key) || !says(context, `${key}_hex`)) continue
    const message = `${key} and ${key}_hex set the same value`
    context.report.error('E049', keyLocation(context, field(context, `${key}_hex`)), message, 'remove one of them')
  }
}

function readSchedule(written: WrittenHealth, context: Context): CheckSchedule {
  const intervalMs = readDuration(written.interval ?? '2s')
  const timeoutMs = written.timeout === undefined ? Math.min(1000, intervalMs) : readDuration(written.timeout)
  if (says(context, 'interval') && intervalMs < SHORTEST_INTERVAL) {
    const message = `the interval ${written.interval} is shorter than ${SHORTEST_INTERVAL}ms`
    reportAt(context, field(context, 'interval'), 'E051', message, 'write `interval: 1s`, for example')
  } else if (says(context, 'interval', 'timeout') && timeoutMs > intervalMs) {
    const at = says(context, 'timeout') ? 'timeout' : 'interval'
    const message = `the timeout of ${written.timeout} is longer than the interval of ${written.interval ?? '2s'}`
    reportAt(
      context,
      field(context, at),
      'E051',
      message,
      'shorten `timeout`, or lengthen `interval`: a check must end before the next one starts',
    )
  }
  return {
    intervalMs,
    jitterMs: Math.floor(intervalMs * readShare(written.jitter ?? '10%')),
    timeoutMs,
    rise: written.rise ?? 2,
    fall: written.fall ?? 3,
    slowStartMs: written.slow_start === undefined ? 0 : readDuration(written.slow_start),
  }
}

function readStatus({ status = '200-399' }: WrittenHealth, context: Context): readonly PortRange[] {
  const at = field(context, 'status')
  const ranges = [status].flat().map((item, index) => {
    const [first = 0, last = first] = String(item).split('-').map(Number)
    if (first > last && says(context, 'status')) {
      const message = `the range of status codes ${quote(String(item))} ends before it starts`
      reportAt(context, at.items?.[index] ?? at, 'E013', message, `write ${last}-${first}`)
    }
    return { first, last }
  })
  return canonicalPorts(ranges)
}

function readCommand({ command }: WrittenHealth, context: Context): readonly [string, ...string[]] | undefined {
  const [path, ...rest] = command ?? []
  if (path === undefined) {
    const hint = 'name the program to run, for example `command: [/usr/local/bin/check, --fast]`'
    reportAt(context, context.placed, 'E011', 'the key "command" is missing', hint)
    return undefined
  }
  if (!path.startsWith('/') && says(context, 'command')) {
    const at = field(context, 'command')
    const hint = 'write an absolute path: the check runs without a shell and without PATH'
    reportAt(context, at.items?.[0] ?? at, 'E013', `${quote(path)} is not an absolute path`, hint)
  }
  return [path, ...rest]
}

const hex = (text: string): string => Buffer.from(text).toString('hex')

/** A check without the address of a backend. */
type Pattern = CheckSchedule & { readonly type: Type; readonly port: number | undefined } & Record<string, unknown>

/** Reads a check; undefined after an error. */
function readPattern(written: WrittenHealth, context: Context): Pattern | undefined {
  const { type } = written
  if (type === undefined) {
    const hint = 'write `type: tcp`, or http, https, grpc, grpcs, dns, udp or exec'
    reportAt(context, context.placed, 'E011', 'the key "type" is missing', hint)
    return undefined
  }
  checkKeys(type, context)
  const base = { type, port: written.port, ...readSchedule(written, context) }
  switch (type) {
    case 'tcp':
      return base
    case 'http':
    case 'https': {
      const { method = 'GET', path = '/', body, sni, verify = true } = written
      const request = {
        ...base,
        method,
        path,
        ...readHeaders(written, context),
        status: readStatus(written, context),
        body,
      }
      if (method === 'HEAD' && body !== undefined && says(context, 'method', 'body')) {
        const at = field(context, says(context, 'body') ? 'body' : 'method')
        reportAt(context, at, 'E049', 'a response to HEAD has no body to search', 'write `method: GET`')
      }
      return type === 'http' ? request : { ...request, sni, verify }
    }
    case 'grpc':
    case 'grpcs': {
      const { grpc_service: service = '', host, sni, verify = true } = written
      return type === 'grpc' ? { ...base, service, host } : { ...base, service, host, sni, verify }
    }
    case 'dns': {
      const query = readDns(written, context)
      return query && { ...base, ...query }
    }
    case 'udp': {
      const expected = written.expect === undefined ? written.expect_hex?.toLowerCase() : hex(written.expect)
      return { ...base, send: written.send_hex?.toLowerCase() ?? hex(written.send ?? ''), expect: expected }
    }
    case 'exec': {
      const command = readCommand(written, context)
      return command && { ...base, command, user: written.user ?? 'nobody' }
    }
    default:
      return type satisfies never
  }
}

/**
 * The check of one backend; undefined after calling `missing` because no port is known.
 *
 * @param vip the address to check, instead of that of the backend
 */
function checkOf(
  pattern: Pattern,
  { address, port }: Pick<Backend, 'address' | 'port'>,
  vip: Address | undefined,
  missing: () => void,
): HealthCheck | undefined {
  const asked = pattern.port ?? port
  if (asked === undefined && pattern.type !== 'exec') {
    missing()
    return undefined
  }
  const target = vip ? { address: vip, port: asked, via: 'vip' } : { address, port: asked }
  // readPattern built the fields of this type; the compiler loses the union in the spread.
  return { ...pattern, ...target } as HealthCheck
}

/** Reports a check that cannot go through the VIP. Returns whether it does. */
function goesThroughVip({ via, type }: WrittenHealth, forwarding: Forwarding, context: Context): boolean {
  if (via !== 'vip') return false
  const isTranslated = FORWARDING_MODES[forwarding].translatesReplies
  if (!isTranslated && type !== 'exec') return true
  // An inherited one is reported where it meets the other key.
  const at = says(context, 'via') ? field(context, 'via') : says(context, 'type') ? field(context, 'type') : undefined
  if (!at) return false
  if (isTranslated) {
    const message = `via: vip is not possible with forwarding: ${forwarding}: its packets go to the address of the backend, as those of every other check do`
    reportAt(context, at, 'E224', message, 'remove `via`')
  } else {
    const message = 'via: vip is not possible for an exec check: the command makes its own connections'
    reportAt(context, at, 'E224', message, 'write `via: backend`, or choose another `type`')
  }
  return false
}

/** The check of a backend that overrides some keys of its service. A different type inherits no keys of the old one. */
function merged(service: WrittenHealth | undefined, own: WrittenHealth): WrittenHealth {
  if (service === undefined || own.type === undefined || own.type === service.type) return { ...service, ...own }
  const common = Object.entries(service).filter(([key]) => !(key in TYPES_OF))
  return { ...Object.fromEntries(common), ...own }
}

export function readMinHealthy(written: WrittenService['min_healthy']): MinHealthy {
  if (written === undefined) return DEFAULT_MIN_HEALTHY
  if (typeof written === 'number') return { kind: 'count', value: written }
  return { kind: 'share', value: readShare(written) }
}

/** Reports keys that have no effect without checks. */
function reportIdle(written: WrittenService, placed: Placed, reading: Reading): void {
  for (const key of ['min_healthy', 'fallback', 'sorry'] as const) {
    if (written[key] === undefined || (key === 'sorry' && written.fallback !== 'sorry')) continue
    const message = `${key} has no effect: no backend of the service has a health check`
    reading.report.error('E049', keyLocation(reading, fieldOf(placed, key)), message, 'add `health`, or remove it')
  }
}

/** The checks of a service; undefined if it has none. */
export function readHealth(
  written: WrittenService,
  placed: Placed,
  { vip, ports, forwarding }: Frame,
  backends: readonly ReadBackend[],
  reading: Reading,
): ServiceHealth | undefined {
  const own = written.health
  const service: Context = { ...reading, placed: fieldOf(placed, 'health') }
  const read = (health: WrittenHealth, context: Context): readonly [Pattern, Address | undefined] | undefined => {
    const pattern = readPattern(health, context)
    return pattern && [pattern, goesThroughVip(health, forwarding, context) ? vip : undefined]
  }
  const common = own && read(own, service)
  const single = ports && onlyPort({ ports })
  const checks = new Map<string, HealthCheck>()
  let reported = ports === undefined
  for (const { backend, placed: at, written: given } of backends) {
    if (given.health === false || (own === undefined && given.health === undefined)) continue
    const context = given.health ? { ...reading, placed: fieldOf(at, 'health') } : service
    const used = given.health ? read(merged(own, given.health), context) : common
    const missing = (): void => {
      const message = 'the check has no port: the service has several'
      if (!reported) reportAt(context, context.placed, 'E050', message, 'add `port` to `health`')
      reported = true
    }
    const target = { address: backend.address, port: backend.port ?? single }
    const check = used && checkOf(used[0], target, used[1], missing)
    if (check) checks.set(backendKey(backend), check)
  }
  if (own === undefined && checks.size === 0) {
    reportIdle(written, placed, reading)
    return undefined
  }
  const fallback =
    written.fallback ??
    defaultFallback({ backends: backends.map(({ backend }) => backend), onEmpty: written.on_empty ?? 'drop' })
  return { minHealthy: readMinHealthy(written.min_healthy), fallback, checks }
}

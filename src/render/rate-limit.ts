// Rate limits in plans, as text and as JSON with the keys of the config.

import type { AddressSet } from '../model/address.ts'
import type { Provenance } from '../model/desired.ts'
import { formatCount } from '../model/numbers.ts'
import { RATE, type Rate, type RateLimit } from '../model/rate-limit.ts'
import { scopeKey } from '../model/state.ts'
import { formatRange, wordsOf } from '../model/text.ts'
import type { Change } from '../plan/change.ts'
import { formatDuration } from './duration.ts'
import type { Paint } from './paint.ts'
import { SAME, setting } from './setting.ts'

type RateLimitChange = Extract<Change, { kind: 'rate_limit' }>

const MULTIPLES = ['', 'k', 'M', 'G', 'T', 'P'] as const

/** Bits with the largest decimal unit that needs no more than three decimals: `500 Mbit`, `1.5 Gbit`, `12.112 kbit`. */
export function bitsText(bits: number): string {
  for (let multiple = MULTIPLES.length - 1; multiple > 0; multiple--) {
    const value = bits / 1000 ** multiple
    if (value >= 1 && Number.isInteger(bits / 1000 ** (multiple - 1)))
      return `${Number(value.toFixed(3))} ${MULTIPLES[multiple]}bit`
  }
  return `${formatCount(bits)} bit`
}

const packetsText = (packets: number): string => `${formatCount(packets)} ${packets === 1 ? 'packet' : 'packets'}`

/** The prefixes of both families as texts, in order. */
const sourcesOf = ({ v4, v6 }: AddressSet): string[] =>
  [v4, v6].flatMap(({ family, length, start, end }) =>
    Array.from({ length }, (_, at) => formatRange(family, start, end, at * wordsOf(family))),
  )

/** The first texts, and a count of the others. */
function some(texts: readonly string[], most: number, separator: string): string {
  const rest = texts.length - most
  return rest <= 0 ? texts.join(separator) : `${texts.slice(0, most).join(separator)} and ${formatCount(rest)} more`
}

/** Sources that a plan shows as a list. */
const LISTED = 'its list'

const sourcesText = ({ sources }: RateLimit, most: number): string =>
  typeof sources === 'object' ? some(sourcesOf(sources), most, ', ') : sources === 'list' ? LISTED : 'any'

const prefixText = ({ prefix: { v4, v6 } }: RateLimit): string => `/${v4} and /${v6}`

/** `per source`, `per source /24 and /56`, `for all together`. */
function perText(limit: RateLimit): string {
  if (limit.per === 'all') return 'for all together'
  const isUsual = limit.prefix.v4 === 32 && limit.prefix.v6 === (limit.per === 'source' ? RATE.prefix.v6 : 128)
  return `per ${limit.per}${isUsual ? '' : ` ${prefixText(limit)}`}`
}

const packetRate = ({ perSecond }: Rate): string => `${packetsText(perSecond)}/s`
const bitRate = ({ perSecond }: Rate): string => `${bitsText(perSecond)}/s`

/** `1,000 packets/s and 500 Mbit/s per source`. */
export function rateText(limit: RateLimit): string {
  const rates = [...(limit.packets ? [packetRate(limit.packets)] : []), ...(limit.bits ? [bitRate(limit.bits)] : [])]
  return `${rates.join(' and ')} ${perText(limit)}`
}

function burstText({ packets, bits }: RateLimit): string {
  const bursts = [...(packets ? [formatCount(packets.burst)] : []), ...(bits ? [bitsText(bits.burst)] : [])]
  return `burst ${bursts.join(' and ')}`
}

/** `udp dport 53, 1,000 packets/s per source (burst 2,000)`, and the sources if there are any. */
function identity(limit: RateLimit, most: number): string[] {
  const observed = limit.action === 'observe' ? ', observed only' : ''
  const from = limit.sources ? [`from ${sourcesText(limit, most)}`] : []
  const bans = limit.ban ? [`bans ${banText(limit)}`] : []
  return [`${scopeKey(limit.scope)}, ${rateText(limit)} (${burstText(limit)})${observed}`, ...from, ...bans]
}

/** `bans sources for 10m after 3s`. */
const banText = ({ ban }: RateLimit): string =>
  ban ? `sources for ${formatDuration(ban.forMs)} after ${formatDuration(ban.afterMs)}` : 'none'

const NO_LIMIT = 'no limit'

/** The texts that `setting` compares, by name. */
const settingsOf = (limit: RateLimit): Readonly<Record<string, string>> => ({
  // A reader counts from 1.
  position: `${limit.position + 1}`,
  'applies to': scopeKey(limit.scope),
  per: limit.per,
  prefix: limit.per === 'all' ? 'none' : prefixText(limit),
  packets: limit.packets ? packetRate(limit.packets) : NO_LIMIT,
  bits: limit.bits ? bitRate(limit.bits) : NO_LIMIT,
  action: limit.action,
  bans: banText(limit),
  buckets: formatCount(limit.buckets),
})

/** `sources: +192.0.2.0/25 -198.51.100.0/24`; a change from or to every source as a setting. */
function sourceLines(before: RateLimit, after: RateLimit, most: number): string[] {
  if (typeof before.sources !== 'object' || typeof after.sources !== 'object') {
    const texts = [sourcesText(before, most), sourcesText(after, most)] as const
    return texts[0] === texts[1] ? [] : [setting('sources', ...texts)]
  }
  const [left, right] = [sourcesOf(before.sources), sourcesOf(after.sources)]
  const gone = left.filter((one) => !right.includes(one))
  const come = right.filter((one) => !left.includes(one))
  if (gone.length + come.length === 0) return []
  return [`sources: ${some([...come.map((one) => `+${one}`), ...gone.map((one) => `-${one}`)], most, ' ')}`]
}

/** The bursts that differ, of rates that both have. */
const burstLines = (before: RateLimit, after: RateLimit): string[] =>
  (['packets', 'bits'] as const).flatMap((unit) => {
    const [left, right] = [before[unit]?.burst, after[unit]?.burst]
    if (left === undefined || right === undefined || left === right) return []
    const text = unit === 'packets' ? packetsText : bitsText
    return [setting('burst', text(left), text(right))]
  })

function updateLines(before: RateLimit, after: RateLimit, most: number): string[] {
  const [left, right] = [settingsOf(before), settingsOf(after)]
  const settings = Object.keys(left).flatMap((name) =>
    left[name] === right[name] ? [] : [setting(name, left[name], right[name])],
  )
  const lines = [...settings, ...sourceLines(before, after, most), ...burstLines(before, after)]
  const restart =
    before.buckets === after.buckets ? [] : ['the counts of all limits start from zero: bursts may pass again']
  return lines.length > 0 ? [...lines, ...restart] : [SAME]
}

/** `file:line` of the limit in the config. */
export function rateLimitPlace({ after }: RateLimitChange, provenance: Provenance | undefined): string | undefined {
  const at = after && provenance?.rateLimits.get(after.name)
  return at && `${at.file}:${at.line}`
}

/** The lines under the title, not indented. `most`: most sources shown. */
export function rateLimitLines(
  change: RateLimitChange,
  provenance: Provenance | undefined,
  most: number,
  { dim }: Paint,
): string[] {
  const at = rateLimitPlace(change, provenance)
  const [first = '', ...rest] =
    change.op === 'create' || change.op === 'delete'
      ? identity(change.after ?? change.before, most)
      : updateLines(change.before, change.after, most)
  return [`${first}${at ? dim(`  # ${at}`) : ''}`, ...rest]
}

export const rateLimitJson = (limit: RateLimit) => ({
  name: limit.name,
  position: limit.position,
  scope: scopeKey(limit.scope),
  sources: typeof limit.sources === 'object' ? sourcesOf(limit.sources) : (limit.sources ?? null),
  per: limit.per,
  prefix: limit.per === 'all' ? null : limit.prefix,
  packets_per_second: limit.packets?.perSecond ?? null,
  burst: limit.packets?.burst ?? null,
  bits_per_second: limit.bits?.perSecond ?? null,
  burst_bits: limit.bits?.burst ?? null,
  action: limit.action,
  ban: limit.ban ? { for_seconds: limit.ban.forMs / 1000, after_seconds: limit.ban.afterMs / 1000 } : null,
  buckets: limit.buckets,
})

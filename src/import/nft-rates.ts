// Rates in `nft -j list ruleset`: `limit`, and sets and meters with one for each element: libnftables-json(5).

import { parseAddress } from '../model/text.ts'
import type { Json } from './nft-json.ts'
import { fieldsOf, only } from './nft-json.ts'
import type { NftSet } from './nft-match.ts'
import type { RateSpec } from './rate-spec.ts'
import { rateSpec, secondsOf, type WrittenRate } from './rates.ts'

/** The default of nft: nft(8), "limit statement". */
const BURST = 5

function limitOf(content: Json): WrittenRate | undefined {
  const { rate, burst, per, inv, rate_unit: unit } = fieldsOf(content)
  const seconds = secondsOf(`${per}`)
  if (typeof rate !== 'number' || seconds === undefined) return undefined
  const isPackets = unit === undefined || unit === 'packets'
  return {
    amount: rate,
    unit: seconds,
    burst: typeof burst === 'number' && burst > 0 ? burst : BURST,
    over: inv === true,
    ...(!isPackets && { why: 'it counts bytes of IP packets, and a limit those of frames' }),
  }
}

const SIDES: Readonly<Record<string, 'source' | 'destination'>> = { saddr: 'source', daddr: 'destination' }

/** Length of the mask `255.255.255.0`; undefined for one with holes. */
function lengthOf(mask: Json): number | undefined {
  const words = [...(parseAddress(`${mask}`)?.words ?? [])]
  const digits = words.map((word) => word.toString(2).padStart(32, '0')).join('')
  return /^1+0*$/.test(digits) ? digits.replace(/0+$/, '').length : undefined
}

/** The header and the field of an element of a set, and the mask of the field. */
function payloadOf(element: Json): { readonly protocol: Json; readonly field: Json; readonly mask: Json | undefined } {
  const [key, content] = only(element)
  const [payload, mask] = key === '&' && Array.isArray(content) ? content : [element, undefined]
  const { protocol, field } = fieldsOf(fieldsOf(payload)['payload'])
  return { protocol: protocol ?? null, field: field ?? null, mask }
}

/** The element of a set or meter that a packet updates. */
function elementOf(statement: string, content: Json): Json {
  const { elem, key } = fieldsOf(content)
  const found = statement === 'set' ? elem : key
  return fieldsOf(fieldsOf(found)['elem'])['val'] ?? found ?? null
}

/** The family of the packets that such a rate counts: `ip saddr` is in no IPv6 packet. undefined: both. */
export function rateFamily(statement: string, content: Json): 4 | 6 | undefined {
  if (statement !== 'set' && statement !== 'meter') return undefined
  const { protocol } = payloadOf(elementOf(statement, content))
  return protocol === 'ip' ? 4 : protocol === 'ip6' ? 6 : undefined
}

/** The meaning of the elements of a set: `ip saddr`, or a network of it; undefined for another key. */
function keyOf(element: Json): Pick<WrittenRate, 'per' | 'prefix'> | undefined {
  const { protocol, field, mask } = payloadOf(element)
  const per = Object.hasOwn(SIDES, `${field}`) ? SIDES[`${field}`] : undefined
  const length = mask === undefined ? (protocol === 'ip' ? 32 : 128) : lengthOf(mask)
  if (per === undefined || length === undefined || (protocol !== 'ip' && protocol !== 'ip6')) return undefined
  return { per, prefix: protocol === 'ip' ? { v4: length, v6: 128 } : { v4: 32, v6: length } }
}

const numberOf = (value: Json): number | undefined => (typeof value === 'number' ? value : undefined)

/** `update @flood { ip saddr limit rate over 10/second }`. */
function ofSet(content: Json, sets: ReadonlyMap<string, NftSet>): RateSpec | undefined {
  const { op, elem, set, stmt } = fieldsOf(content)
  const statements: readonly Json[] = Array.isArray(stmt) ? stmt : [stmt]
  const limit = statements.length === 1 ? limitOf(fieldsOf(statements[0])['limit']) : undefined
  const own = fieldsOf(fieldsOf(elem)['elem'])
  const key = keyOf(elementOf('set', content))
  const known = sets.get(`${set}`.replace('@', ''))
  if (limit === undefined || key === undefined || (op !== 'add' && op !== 'update')) return undefined
  const after = numberOf(own['timeout']) ?? known?.timeout
  const forgets = after === undefined ? undefined : { after, evenBusy: op === 'add' }
  return rateSpec({ ...limit, ...key, name: known?.name ?? '', forgets })
}

/** `meter NAME { ip saddr limit rate over 10/second }`, as older versions print it. */
function ofMeter(content: Json): RateSpec | undefined {
  const { key, stmt, name } = fieldsOf(content)
  const limit = limitOf(fieldsOf(stmt)['limit'])
  const own = keyOf(elementOf('meter', content))
  const isForgetting = fieldsOf(fieldsOf(key)['elem'])['timeout'] !== undefined
  if (limit === undefined || own === undefined || isForgetting) return undefined
  return rateSpec({ ...limit, ...own, name: `${name}` })
}

/** The rate of a statement; undefined if it has none that a config can have. */
export function readRate(key: string, content: Json, sets: ReadonlyMap<string, NftSet>): RateSpec | undefined {
  if (key === 'set') return ofSet(content, sets)
  if (key === 'meter') return ofMeter(content)
  const limit = key === 'limit' ? limitOf(content) : undefined
  return limit && rateSpec(limit)
}

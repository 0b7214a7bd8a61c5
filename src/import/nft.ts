// `nft -j list ruleset`: tables with sets, maps, chains and rules. Imports only chains that filter incoming packets:
// filter chains with the hooks ingress, prerouting and input. Format: libnftables-json(5).

import type { Diagnostic } from '../diagnostics.ts'
import type { Family } from '../model/address.ts'
import { ANY } from '../model/scope.ts'
import { resolveChains } from './chains.ts'
import { extrasOf } from './extras.ts'
import { type Flat, flatten, type WrittenRule } from './flatten.ts'
import { notFrom } from './ipset.ts'
import { type Fields, fieldsOf, type Json, only } from './nft-json.ts'
import { type NftSet, readAddresses } from './nft-match.ts'
import { readRule } from './nft-rule.ts'
import { type Chain, type Rule, reassembledBefore } from './rules.ts'
import {
  bufferOf,
  type Ignorable,
  type Imported,
  type ImportedInterface,
  type ImportedList,
  type Input,
  leftOut,
  lookUp,
  mayDropForwarded,
  type Place,
} from './source.ts'

/** Families of the packets in a table. */
const FAMILIES: Readonly<Record<string, readonly Family[]>> = { ip: [4], ip6: [6], inet: [4, 6], netdev: [4, 6] }

interface Table {
  readonly label: string
  readonly families: readonly Family[]
  readonly sets: Map<string, NftSet>
  readonly chains: Map<string, { readonly fields: Fields; readonly rules: Fields[] }>
}

/** The objects of the ruleset by table. Throws E400 if the input is not such JSON. */
function readTables(input: Input): Table[] {
  const { name } = input
  let document: Json
  try {
    document = JSON.parse(bufferOf(input).toString('utf8'))
  } catch {
    throw notFrom('nft -j list ruleset', { text: name }, '')
  }
  const { nftables } = fieldsOf(document)
  if (!Array.isArray(nftables)) throw notFrom('nft -j list ruleset', { text: name }, '')
  const tables = new Map<string, Table>()
  for (const object of nftables as readonly Json[]) {
    // `nft -j -f` and `nft -j monitor` wrap each object in `add`.
    const [kind, content] = only(fieldsOf(object)['add'] ?? object)
    const fields = fieldsOf(content)
    const label = `${fields['family']} ${kind === 'table' ? fields['name'] : fields['table']}`
    const fresh: Table = {
      label,
      families: lookUp(FAMILIES, `${fields['family']}`) ?? [],
      sets: new Map(),
      chains: new Map(),
    }
    const table = tables.get(label) ?? fresh
    if (kind !== 'metainfo' && kind !== '') tables.set(label, table)
    addObject(table, kind, fields)
  }
  return [...tables.values()]
}

function addObject({ sets, chains }: Table, kind: string, fields: Fields): void {
  const name = `${fields['name']}`
  if (kind === 'set' || kind === 'map') {
    const { type, elem, timeout, flags } = fields
    const elements = Array.isArray(elem) ? elem : []
    const expires = timeout !== undefined || (Array.isArray(flags) && flags.includes('timeout'))
    const after = typeof timeout === 'number' ? timeout : undefined
    sets.set(name, { name, type, elements, expires: expires && elements.length > 0, timeout: after })
  } else if (kind === 'chain') {
    chains.set(name, { fields, rules: chains.get(name)?.rules ?? [] })
  } else if (kind === 'rule') {
    const chain = chains.get(`${fields['chain']}`)
    if (chain === undefined) chains.set(`${fields['chain']}`, { fields: {}, rules: [fields] })
    else chain.rules.push(fields)
  }
}

interface Options {
  readonly interfaces: readonly string[]
  readonly ignore: readonly Ignorable[]
  readonly translates: boolean
  readonly helps: boolean
  readonly rewrites: boolean
}

const rulesOf = (table: Table, name: string, options: Options): WrittenRule[] =>
  (table.chains.get(name)?.rules ?? []).flatMap((fields, index) => {
    const text = `${table.label} ${name} rule ${index + 1} (handle ${fields['handle'] ?? '?'})`
    const device = table.label.startsWith('netdev ')
    return readRule(fields, { text }, { sets: table.sets, families: table.families, device, ...options })
  })

/** A base chain with its jumps replaced. `adapt` may change its rules first. */
function flat(
  table: Table,
  name: string,
  options: Options,
  adapt: (rule: WrittenRule) => WrittenRule = (rule) => rule,
): ReturnType<typeof flatten> {
  const own = (one: string): WrittenRule[] => rulesOf(table, one, options).map(adapt)
  const base = {
    place: { text: `${table.label} ${name}` },
    families: table.families,
    default: table.chains.get(name)?.fields['policy'] === 'drop' ? ('drop' as const) : ('pass' as const),
    rules: own(name),
  }
  return flatten(base, new Map([...table.chains.keys()].map((one) => [one, own(one)] as const)))
}

/** The priority at which chains of the type nat see incoming packets. */
const DSTNAT = -100

/** Packets that the nat chains of tables send elsewhere before the hook input. */
function translated(tables: readonly Table[], options: Options): readonly Rule[] {
  const adapt = (rule: WrittenRule): WrittenRule =>
    ['accept', 'drop', 'return', 'established'].includes(rule.action.do) ? { ...rule, action: { do: 'nothing' } } : rule
  return tables
    .flatMap((table) =>
      [...table.chains]
        .filter(([, { fields }]) => fields['type'] === 'nat' && fields['hook'] === 'prerouting')
        .flatMap(([name]) => flat(table, name, options, adapt).chain.rules),
    )
    .filter(({ kind, objection }) => kind === 'allowlist' && objection !== undefined)
}

const rulesMatching = ({ chains }: Table, words: RegExp): readonly Fields[] =>
  [...chains.values()].flatMap(({ rules }) => rules).filter(({ expr }) => words.test(JSON.stringify(expr) ?? ''))

/** Expressions that need connection tracking, which reassembles fragments. */
const TRACKING = /"(?:ct(?: \w+)?|masquerade|snat|dnat|redirect|synproxy|tproxy|socket)":/

/** A place that shows that the host forwards packets: a chain for forwarded packets, or a rule that translates addresses. */
function forwardingPlace(tables: readonly Table[]): Place | undefined {
  for (const table of tables) {
    for (const [name, { fields, rules }] of table.chains)
      if (fields['hook'] === 'forward' && rules.length > 0) return { text: `${table.label} ${name}` }
    const [rule] = rulesMatching(table, /"(?:masquerade|snat|dnat)":/)
    if (rule !== undefined) return { text: `${table.label} ${rule['chain']} (handle ${rule['handle'] ?? '?'})` }
  }
  return undefined
}

/** Devices of a netdev chain; older versions of nft do not print them. */
const devicesOf = ({ dev }: Fields): readonly string[] =>
  (Array.isArray(dev) ? dev : [dev]).filter((one) => typeof one === 'string')

/** Whether a base chain filters incoming packets on interfaces of the config; a warning if it does in part. */
function judges(fields: Fields, place: Place, rules: number, interfaces: readonly string[]): boolean | Diagnostic {
  const { hook, type, policy } = fields
  if (type !== 'filter') return false
  if (hook === 'forward' && (rules > 0 || policy === 'drop'))
    return leftOut(place, `left out with ${rules} rules because it filters forwarded packets only`)
  if (hook !== 'ingress' && hook !== 'prerouting' && hook !== 'input') return false
  const devices = devicesOf(fields)
  if (devices.length === 0 || interfaces.length === 0) return true
  const hits = interfaces.filter((name) => devices.includes(name)).length
  if (hits === 0) return false
  return (
    hits === interfaces.length ||
    leftOut(place, `left out with ${rules} rules because it applies to some of the interfaces only`)
  )
}

/** If the input has no rule at all, imports every set of addresses as a blocklist: the user listed only sets. */
function setsAlone(tables: readonly Table[]): ImportedList[] {
  return tables.flatMap(({ label, sets }) =>
    [...sets.values()].flatMap(({ name, type, elements }): ImportedList[] => {
      const addresses = type === 'ipv4_addr' || type === 'ipv6_addr' ? readAddresses(elements) : undefined
      if (addresses === undefined) return []
      const place = `set ${label} ${name}`
      return [{ kind: 'blocklist', name, scope: ANY, addresses, comment: undefined, places: [place] }]
    }),
  )
}

interface Around {
  /** Packets that nat sends elsewhere. */
  readonly elsewhere: readonly Rule[]
  readonly tracked: boolean
  readonly ignore: readonly Ignorable[]
}

/** A base chain as the packets of the config meet it. */
function chainOf({ chain }: Flat, fields: Fields, { elsewhere, tracked, ignore }: Around): Chain {
  const hook = fields['hook'] as 'ingress' | 'prerouting' | 'input'
  const isBehindNat = hook === 'input' || (hook === 'prerouting' && Number(fields['prio']) > DSTNAT)
  return {
    ...chain,
    rules: [...(isBehindNat ? elsewhere : []), ...chain.rules],
    reassembled: reassembledBefore(hook, tracked, ignore),
    ignoresFragments: ignore.includes('fragments'),
  }
}

/** The allowlists, blocklists and default that drop no packet that the chains for incoming packets let pass. */
export function importNft(input: Input): Imported {
  const tables = readTables(input)
  const { interfaces, ignore = [] } = input
  const has = (words: RegExp): boolean => tables.some((table) => rulesMatching(table, words).length > 0)
  // Translations by iptables-nft are extensions of iptables here.
  const options = {
    interfaces,
    ignore,
    translates: has(/"(?:dnat|redirect|xt)":/),
    helps: has(/"ct helper":/),
    rewrites: has(/"mangle":\{"key":\{"payload":/),
  }
  const forwards = !ignore.includes('forwarding')
  const elsewhere = translated(tables, options)
  const tracked = has(TRACKING)
  const local = new Set<Chain>()
  const notes: Diagnostic[] = []
  const flats: Flat[] = []
  const found: ImportedInterface[] = []
  const chains = tables.flatMap((table) =>
    [...table.chains].flatMap(([name, { fields, rules }]) => {
      if (typeof fields['hook'] !== 'string') return []
      const place = { text: `${table.label} ${name}` }
      const judged = judges(fields, place, rules.length, interfaces)
      if (typeof judged === 'object') notes.push(judged)
      if (judged !== true) return []
      if (table.families.length === 0) {
        notes.push(leftOut(place, `left out with ${rules.length} rules because it is not a chain for IP packets`))
        return []
      }
      found.push(...devicesOf(fields).map((device) => ({ name: device, mode: undefined })))
      const all = flat(table, name, options)
      notes.push(...all.leftOut)
      flats.push(fields['hook'] === 'input' ? all : { ...all, protects: [] })
      const chain = chainOf(all, fields, { elsewhere, tracked, ignore })
      if (fields['hook'] === 'input') local.add(chain)
      return [chain]
    }),
  )
  const resolved = resolveChains(chains)
  const forwarding = forwards ? forwardingPlace(tables) : undefined
  const judging = [...local].find((chain) => resolved.dropping.has(chain))
  const alone = tables.some(({ chains: all }) => [...all.values()].some(({ rules }) => rules.length > 0))
    ? []
    : setsAlone(tables)
  const unique = [...new Map(found.map((one) => [one.name, one])).values()]
  return {
    default: resolved.default,
    established: resolved.established,
    interfaces: unique,
    lists: [...resolved.lists, ...alone],
    anomalies: resolved.anomalies,
    limits: resolved.limits,
    ...extrasOf(flats),
    leftOut: [...notes, ...resolved.leftOut],
    refusal: judging && forwarding && mayDropForwarded(judging.place, forwarding),
  }
}

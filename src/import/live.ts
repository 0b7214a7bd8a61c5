// The live policy → the text of a config that brings the kernel to it, and a list file for each long set of addresses. The
// kernel has no comments, names of files, health checks or settings of the planner: the text says so.

import { Document, isMap, isSeq, type Scalar, type YAMLMap, YAMLSeq } from 'yaml'
import { parseAnomaly } from '../model/anomaly.ts'
import { formatCount } from '../model/numbers.ts'
import { DEFAULT_POLICY, type Policy } from '../model/policy.ts'
import { countPrefixes } from '../model/prefixes.ts'
import { parseProtect } from '../model/protect.ts'
import { EMPTY_SET } from '../model/ranges.ts'
import type { RateLimit } from '../model/rate-limit.ts'
import { decides, sourcesOf } from '../model/rate-sources.ts'
import { scopesOf } from '../model/scope.ts'
import { type Attachment, type List, type ListKind, type ScopedSet, type State, scopeKey } from '../model/state.ts'
import { parseSyn } from '../model/syn-protection.ts'
import { formatRange } from '../model/text.ts'
import { sourcesPath } from './limit-text.ts'
import { listText } from './list-text.ts'
import { modeline } from './modeline.ts'
import { addressTexts, type Fields, portsField, protocolField, scopeFields } from './written-scope.ts'
import { bucketsOf, rateLimitFields, serviceFields } from './written-service.ts'

/** Most ranges of a set inside a config that has list files beside it. */
const INLINE = 20

/** Turns off the guards against mistakes in public feeds, which would change the set. */
const AS_LIVE = { exclude_private: false, min_prefix: { v4: 0, v6: 0 } } as const

/** Facts of a config that the kernel does not have. */
export interface LeftOut {
  readonly what: 'comments' | 'sources' | 'settings' | 'health' | 'secrets' | 'bans' | 'leaving' | 'scope'
  /** In words. */
  readonly why: string
}

export interface LiveFile {
  /** Relative to the config. */
  readonly path: string
  readonly content: Uint8Array
}

export interface ListedLive {
  readonly config: string
  readonly files: readonly LiveFile[]
  readonly leftOut: readonly LeftOut[]
  /** Ranges of all lists. */
  readonly ranges: number
}

export interface LiveOptions {
  /** Lines about the origin, for the head of the config. */
  readonly about: readonly string[]
  /** Path of the config's schema for editors, if a file has it. */
  readonly schema: string | undefined
  /** Whether long sets get list files. */
  readonly files: boolean
  /** Whether to write the hash key. */
  readonly secrets: boolean
  /** Backends that were removed and keep their flows, and bans in force. */
  readonly leaving: number
  readonly bans: number
}

const modesField = (modes: Attachment['modes']): unknown => (modes.length === 1 ? modes[0] : modes)

function interfaceFields({ interfaces, lists, rateLimits, policy }: State): Fields {
  const attached = [...interfaces.values()].map(({ interface: name, modes, roles, chain }) => [
    name,
    {
      mode: modesField(modes),
      ...(roles.length === 1 && { roles: [...roles] }),
      ...(chain && { on_conflict: 'chain' }),
    },
  ])
  // An entry may be limited to an interface that is not there now.
  const named = [
    ...scopesOf({ lists, rateLimits }).flatMap((scope) => scope.interfaces ?? []),
    ...(policy?.anomalies ?? []).flatMap((text) => parseAnomaly(text).interfaces ?? []),
  ]
  const missing = [...new Set(named)].filter((name) => !interfaces.has(name)).sort()
  return Object.fromEntries([...attached, ...missing.map((name) => [name, { missing: 'skip' }])])
}

/** Verdicts that a config has to name: those that do not follow from the default. */
function policyFields(policy: Policy): Fields {
  const { default: verdict, unparsed, established, essential } = policy
  const follows = verdict === 'drop' ? 'pass' : 'judge'
  return {
    default: verdict,
    ...(unparsed !== verdict && { unparsed }),
    ...(established !== follows && { established }),
    ...(String(essential) !== String(DEFAULT_POLICY.essential) && { essential }),
  }
}

const anomalyField = (text: string): string | Fields => {
  const { name, action, interfaces } = parseAnomaly(text)
  return action === 'drop' && !interfaces
    ? name
    : { name, ...(action === 'observe' && { action }), ...(interfaces && { interfaces }) }
}

function protectField(text: string): string | Fields {
  const found = parseProtect(text)
  if (found === undefined) return text
  const { prefix, protocol, port } = found
  const cidr = formatRange(prefix.family, prefix.start, prefix.end)
  if (protocol === undefined) return cidr
  return { cidr, protocol: protocolField(protocol), ...(port !== undefined && { port }) }
}

function synField(text: string): Fields {
  const found = parseSyn(text)
  return found
    ? { syn_protection: { ports: portsField(found.ports), mode: found.mode, threshold: found.threshold } }
    : {}
}

/** Sections of the settings in force that are not the default ones. */
function settingFields({ policy = DEFAULT_POLICY, services, rateLimits }: State, secrets: boolean): Fields {
  const { flows, bans, hash_key, protect, anomalies, syn_protection } = policy
  const buckets = bucketsOf(rateLimits?.values() ?? [])
  const limits = {
    ...(services.size > 0 && flows !== DEFAULT_POLICY.flows && { flows }),
    ...(bans !== DEFAULT_POLICY.bans && { bans }),
    ...(buckets !== undefined && { rate_buckets: buckets }),
  }
  return {
    ...(Object.keys(limits).length > 0 && { limits }),
    ...(protect.length > 0 && { protect: protect.map(protectField) }),
    ...(anomalies.length > 0 && { anomalies: anomalies.map(anomalyField) }),
    ...synField(syn_protection),
    ...(secrets && hash_key !== '' && { balancer: { hash_key } }),
  }
}

/** The content of an entry: its addresses, or the path of a file with them. */
interface Written {
  readonly kind: ListKind
  readonly elements: readonly unknown[]
  readonly file: LiveFile | undefined
}

/** The entry of one set; undefined: no config has its scope. */
function writtenSet(list: List, set: ScopedSet, number: number, options: LiveOptions): Written | undefined {
  const scope = scopeFields(set.scope)
  if (scope === undefined) return undefined
  const { kind } = list
  const { v4, v6 } = set.addresses
  const suffixed = `${list.name}${number === 0 ? '' : `-${number + 1}`}`
  // A name has one entry in a config; entries without a name share that of their kind.
  const name = list.name === kind ? kind : suffixed
  const path = `lists/${suffixed}.txt`
  const isLong = options.files && v4.length + v6.length > INLINE
  const own = name === kind ? {} : { name }
  if (isLong) {
    const head = `# ${name}: ${scopeKey(set.scope)}; ${formatCount(countPrefixes(v4) + countPrefixes(v6))} prefixes, from the kernel\n`
    const file = { path, content: listText(head, set.addresses) }
    return { kind, elements: [{ ...own, file: path, ...AS_LIVE, ...scope }], file }
  }
  const texts = addressTexts(set.addresses)
  const isPlain = name === kind && Object.keys(scope).length === 0
  const elements = isPlain
    ? texts
    : [{ ...own, ...(texts.length === 1 ? { cidr: texts[0] } : { cidrs: texts }), ...scope }]
  return { kind, elements, file: undefined }
}

/** The sources of a limit that are a list: in a file, or in the config if that has none beside it. undefined: there are none. */
function writtenSources(
  limit: RateLimit,
  { lists }: State,
  options: LiveOptions,
): { readonly fields: Fields; readonly file: LiveFile | undefined } | undefined {
  const addresses = sourcesOf(limit, lists) ?? EMPTY_SET
  if (addresses.v4.length + addresses.v6.length === 0) return undefined
  if (!options.files) return { fields: { cidrs: addressTexts(addresses) }, file: undefined }
  const path = sourcesPath(limit.name)
  const count = formatCount(countPrefixes(addresses.v4) + countPrefixes(addresses.v6))
  const content = listText(`# sources of rate limit ${limit.name}: ${count} prefixes, from the kernel\n`, addresses)
  return { fields: { file: path, ...AS_LIVE }, file: { path, content } }
}

const wordsOf = (count: number, one: string, several: string): string =>
  count === 1 ? `one ${one}` : `${formatCount(count)} ${several}`

function leftOutOf(state: State, unwritten: readonly string[], options: LiveOptions): LeftOut[] {
  const { services, policy } = state
  const out: LeftOut[] = [
    {
      what: 'comments',
      why: 'comments, and the lines and order of entries: lists are merged, so prefixes may be joined',
    },
    {
      what: 'sources',
      why: 'names of list files, URLs, hosts, countries and numbers of networks: their addresses are here',
    },
    {
      what: 'settings',
      why: 'settings that the kernel does not have: `limits` of plans, `watch`, `history`, `bans.persist`, `include`, further attach modes',
    },
  ]
  if (services.size > 0)
    out.push({
      what: 'health',
      why: 'health checks, `min_healthy` and `fallback` of services; beside a sorry backend, a check by TCP stands for them',
    })
  if (!options.secrets && policy?.hash_key)
    out.push({ what: 'secrets', why: '`balancer.hash_key`: --secrets writes it, and without it new flows would move' })
  if (options.bans > 0)
    out.push({ what: 'bans', why: `${wordsOf(options.bans, 'ban', 'bans')}: \`xdp bans\` lists them` })
  if (options.leaving > 0)
    out.push({
      what: 'leaving',
      why: `${wordsOf(options.leaving, 'removed backend that keeps', 'removed backends that keep')} flows`,
    })
  for (const name of unwritten)
    out.push({ what: 'scope', why: `entries of ${name}, whose scope no config can express` })
  return out
}

const headOf = ({ about, schema }: LiveOptions, leftOut: readonly LeftOut[]): string =>
  [
    ...modeline(schema),
    '#',
    ...about.map((line) => `# ${line}`),
    '# Not in the kernel, and so not in this file:',
    ...leftOut.map(({ why }) => `#   ${why}`),
    '',
    '',
  ].join('\n')

const flow = (node: unknown): void => {
  if (isMap(node) || node instanceof YAMLSeq) node.flow = true
}

/** Writes each element on one line, but long lists of addresses one below the other. */
function flowItems(node: unknown): void {
  if (!isSeq(node)) return
  for (const item of node.items) {
    if (!isMap(item)) continue
    const cidrs = item.get('cidrs')
    if (isSeq(cidrs) && cidrs.items.length > 5) for (const pair of item.items) pair.key !== 'cidrs' && flow(pair.value)
    else flow(item)
    if (isSeq(cidrs) && cidrs.items.length > 5) cidrs.flow = false
  }
}

function flowServices(node: unknown): void {
  for (const pair of isMap(node) ? node.items : []) {
    if (!isMap(pair.value)) continue
    flowItems(pair.value.get('backends'))
    for (const { key, value } of pair.value.items) if (String(key) !== 'backends') flow(value)
  }
}

function textOf(fields: Fields): string {
  const document = new Document(fields)
  for (const { key } of (document.contents as unknown as YAMLMap).items.slice(1)) (key as Scalar).spaceBefore = true
  for (const { value } of (document.get('interfaces') as YAMLMap).items) flow(value)
  for (const name of ['allowlist', 'blocklist', 'anomalies', 'protect', 'rate_limits']) flowItems(document.get(name))
  for (const name of ['limits', 'syn_protection']) flow(document.get(name))
  flowServices(document.get('services'))
  return document.toString({ lineWidth: 0, flowCollectionPadding: true })
}

/** The config of a live policy. */
export function listLive(state: State, options: LiveOptions): ListedLive {
  const unwritten: string[] = []
  const written = [...state.lists.values()].filter(decides).flatMap((list) =>
    list.sets.flatMap((set, number) => {
      const entry = writtenSet(list, set, number, options)
      if (entry === undefined) unwritten.push(`list ${list.name}`)
      return entry ?? []
    }),
  )
  const limits = [...(state.rateLimits?.values() ?? [])].toSorted((left, right) => left.position - right.position)
  const sources: LiveFile[] = []
  const rates = limits.flatMap((limit) => {
    const isListed = limit.sources === 'list'
    const own = isListed ? writtenSources(limit, state, options) : undefined
    // No config says "no source", as of a name that was never resolved.
    const fields = isListed && own === undefined ? undefined : rateLimitFields(limit, own?.fields)
    if (fields && own?.file) sources.push(own.file)
    if (fields === undefined) unwritten.push(`rate limit ${limit.name}`)
    return fields ?? []
  })
  const of = (kind: ListKind): unknown[] => written.flatMap((one) => (one.kind === kind ? one.elements : []))
  const services = Object.fromEntries([...state.services.values()].map((one) => [one.name, serviceFields(one)]))
  const leftOut = leftOutOf(state, [...new Set(unwritten)], options)
  const fields = {
    version: 1,
    interfaces: interfaceFields(state),
    policy: policyFields(state.policy ?? DEFAULT_POLICY),
    ...settingFields(state, options.secrets),
    allowlist: of('allowlist'),
    blocklist: of('blocklist'),
    ...(rates.length > 0 && { rate_limits: rates }),
    ...(state.services.size > 0 && { services }),
  }
  return {
    config: headOf(options, leftOut) + textOf(fields),
    files: [...written.flatMap(({ file }) => file ?? []), ...sources],
    leftOut,
    ranges: [...state.lists.values()]
      .flatMap(({ sets }) => sets)
      .reduce((sum, { addresses: { v4, v6 } }) => sum + v4.length + v6.length, 0),
  }
}

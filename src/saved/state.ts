// The file of an exported state: text ↔ data. Does no I/O.

import { createHash } from 'node:crypto'
import { BadAnswer, bad, between, flag, list, optional, type Shape } from '../abi/answer.ts'
import { fail, type XdpError } from '../diagnostics.ts'
import type { Confirmation } from '../model/confirmation.ts'
import type { ExportedState } from '../model/exported.ts'
import type { AttachedProgram, Link, Live, LiveChain, Slots, TcpSettings } from '../model/live.ts'
import type { State } from '../model/state.ts'
import { isTooDeep } from './depth.ts'
import {
  address,
  addressList,
  attachedMode,
  attachment,
  backend,
  chained,
  digits,
  jsonOf,
  mac,
  named,
  nextHop,
  number,
  object,
  policy,
  portRange,
  program,
  rateLimit,
  service,
  text,
} from './shapes.ts'

const KIND = 'xdp-state'

/** major.minor: a new minor only adds fields. */
const FORMAT = { version: '1.0', major: '1' } as const

/** Largest file of a state: that of ten million prefixes. */
export const STATE_LIMIT = 256 * 1024 * 1024

const HINT = 'export it again on the host: xdp status --state FILE'

const attached = object<AttachedProgram>({
  id: number,
  mode: attachedMode,
  name: text,
  tag: text,
  loadedAt: number,
  generation: optional(number),
  pin: optional(text),
})

const link = object<Link>({
  name: text,
  ifindex: number,
  mtu: number,
  mac,
  vlan: optional(object({ parent: text, tag: number })),
  below: optional(text),
  up: flag,
  kind: text,
  linkType: text,
  isMultipoint: flag,
  master: optional(text),
  bond: optional(object({ mode: text, policy: text })),
  programs: list(attached),
})

const state = object<State>({
  program: optional(program),
  policy: optional(policy),
  interfaces: named(attachment),
  lists: named(addressList),
  services: named(service),
  rateLimits: optional(named(rateLimit)),
  localPorts: optional(portRange),
  receiveMax: optional(number),
})

const slots = object<Slots>({
  interfaces: named(number),
  lists: named(number),
  services: named(number),
  backends: named(number),
  pools: named(number),
  rates: optional(named(number)),
})

const owners = named(
  object<{ uid: number | undefined; holders: readonly { pid: number; command: string }[] }>({
    uid: optional(number),
    holders: list(object({ pid: number, command: text })),
  }),
)

const words = list(text)

const chain = object<LiveChain>({
  program: chained,
  held: optional(number),
  next: chained,
  words: (value, at) => {
    const [first = '', second = ''] = words(value, at)
    return [first, second]
  },
})

const live = object<Live>({
  state,
  links: named(link),
  drift: named(text) as never,
  applied: object<Live['applied']>({ interfaces: named(attachment), edited: named(flag) as never }),
  chains: named(chain),
  owners: (value, at) => new Map([...owners(value, at)].map(([id, owner]) => [Number(id), owner])),
  generation: number,
  lastGeneration: number,
  slots,
  netns: optional(digits),
  ownNetns: digits,
  committedAt: number,
  leftovers: list(text),
  pending: optional(object<Confirmation>({ id: text, generation: number, previous: number })),
  leaving: list(object({ service: text, backend, deadline: number })),
  deadlines: named(number),
  nextHops: named(optional(nextHop)),
  unresolved: named(text),
  gateways: named(text),
  unanswered: named(text),
  stripping: named(list(text)),
  drivers: optional(object<NonNullable<Live['drivers']>>({ kernel: text, names: named(text) })),
  localPorts: portRange,
  reservedPorts: list(portRange),
  tcp: optional(
    object<TcpSettings>({
      cookies: optional(number),
      timestamps: number,
      receiveMax: number,
      loose: optional(number),
    }),
  ),
  forwards: object({ v4: flag, v6: flag }),
  acceptsLocal: (value, at) => new Set(list(text)(value, at)),
  sshEnds: list(object({ address, port: between(0, 0xffff) })),
  ownAddresses: list(address),
  bootSeconds: number,
})

const time: Shape<string> = (value, at) =>
  typeof value === 'string' && /^\d{4}-\d\d-\d\dT[\d:.]{8,12}Z$/.test(value) && !Number.isNaN(Date.parse(value))
    ? value
    : bad(at, 'a time', value)

const document = object<ExportedState>({
  createdAt: time,
  host: object({ name: text, bootId: text, netns: text, bpffs: text, instance: text }),
  build: object({ version: text, abi: number, digest: text }),
  live,
})

/** Fields of an observation that a plan follows from: the others are about pins and bytes. */
const FIELDS = [
  ...(['state', 'links', 'drift', 'applied', 'chains', 'owners', 'generation', 'lastGeneration', 'slots'] as const),
  ...(['netns', 'ownNetns', 'committedAt', 'leftovers', 'pending', 'leaving', 'deadlines', 'nextHops'] as const),
  ...(['unresolved', 'gateways', 'unanswered', 'stripping', 'drivers', 'localPorts', 'reservedPorts', 'tcp'] as const),
  ...(['forwards', 'acceptsLocal', 'sshEnds', 'ownAddresses', 'bootSeconds'] as const),
] satisfies readonly (keyof Live)[]

const digestOf = (content: unknown): string => createHash('sha256').update(JSON.stringify(content)).digest('hex')

/** The text of an exported state. Secrets must be fingerprints by now. */
export function sealState({ createdAt, host, build, live: observed }: ExportedState): string {
  const own = Object.fromEntries(FIELDS.map((name) => [name, observed[name]]))
  const content = { created_at: createdAt, host: jsonOf(host), build: jsonOf(build), live: jsonOf(own) }
  return `${JSON.stringify({ format_version: FORMAT.version, kind: KIND, sha256: digestOf(content), ...content }, null, 1)}\n`
}

const unusable = (path: string, why: string): XdpError => fail('E280', `${path} is not a state: ${why}`, HINT)

/** The object of a JSON text; undefined: it is no JSON object. */
function parsed(bytes: Uint8Array): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : undefined
  } catch {
    return undefined
  }
}

/** Whether a file is JSON, so that it is read as a state. A config in JSON has `version`, which no output has. */
function isOutput(bytes: Uint8Array): boolean {
  const head = new TextDecoder().decode(bytes.subarray(0, 4096))
  return head.trimStart().startsWith('{') && head.includes('"format_version"')
}

/**
 * Reads an exported state; undefined: the file is something else, most likely a config.
 *
 * @throws XdpError E280 for another output or damage, E281 for another format
 */
export function openState(path: string, bytes: Uint8Array): ExportedState | undefined {
  if (!isOutput(bytes)) return undefined
  const value = parsed(bytes)
  if (value === undefined) throw unusable(path, 'it is damaged or cut off')
  if (value['kind'] !== KIND) throw unusable(path, 'it is another output of xdp')
  const { format_version: version, kind: _, sha256, ...content } = value
  const [, major] = /^(\d{1,6})\.\d{1,6}$/.exec(typeof version === 'string' ? version : '') ?? []
  if (major === undefined) throw unusable(path, 'its format_version is not MAJOR.MINOR')
  if (major !== FORMAT.major) {
    const what = `${path} has format ${version}, and this xdp reads ${FORMAT.major}.x`
    throw fail('E281', what, 'use the xdp that exported it')
  }
  if (isTooDeep(content)) throw unusable(path, 'it is nested too deeply')
  if (digestOf(content) !== sha256) throw unusable(path, 'it was changed after it was exported')
  try {
    return document(content)
  } catch (error) {
    if (error instanceof BadAnswer) throw unusable(path, error.message)
    throw error
  }
}

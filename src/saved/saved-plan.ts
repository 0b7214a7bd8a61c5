// The file of a saved plan: text ↔ data. Does no I/O, and decides nothing about the plan: a document that this room accepts
// is whole, as it was written, and of a format that this build knows.
//
// The digest finds accidents and edits. It is no signature: whoever may write the file can compute it. As for a config,
// permissions decide who that is.

import { createHash } from 'node:crypto'
import { BadAnswer, between, flag, list, optional, record, type Shape, type ShapeOf, text } from '../abi/answer.ts'
import { fail, type XdpError } from '../diagnostics.ts'
import { FACT_KINDS, type FactKind, type PlanInput, type SavedPlan } from '../model/saved-plan.ts'
import { isTooDeep } from './depth.ts'

/** The word by which a document says what it is. */
const KIND = 'xdp-saved-plan'

/** major.minor: a new minor only adds fields. */
const FORMAT = { version: '1.0', major: '1' } as const

/** Largest file of a saved plan. */
export const PLAN_LIMIT = 64 * 1024 * 1024

const CONFIG_HINT = 'a plan is what `xdp plan --out FILE` writes; to apply a config: xdp apply -f FILE'

/** Text of parsed JSON whose order of keys and spaces do not matter. */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  const fields = Object.entries(value).sort(([left], [right]) => (left < right ? -1 : 1))
  return `{${fields.map(([name, field]) => `${JSON.stringify(name)}:${canonical(field)}`).join()}}`
}

/** SHA-256 of a document without its own digest, as hex. */
function digestOf(document: Readonly<Record<string, unknown>>): string {
  const { sha256: _, ...content } = document
  return createHash('sha256').update(canonical(content)).digest('hex')
}

export interface Sealed {
  readonly text: string
  readonly sha256: string
}

/**
 * The text of a saved plan.
 *
 * @param shown the plan as JSON, for readers; an apply does not read it
 * @throws XdpError E003 if it would be too large to be read again
 */
export function sealPlan(saved: Omit<SavedPlan, 'sha256'>, shown: Readonly<Record<string, unknown>>): Sealed {
  const { createdAt, config, inputs, accepted, host, build, live, changes } = saved
  const document = {
    format_version: FORMAT.version,
    kind: KIND,
    created_at: createdAt,
    config,
    inputs,
    accepted,
    host: {
      name: host.name,
      boot_id: host.bootId,
      netns: host.netns,
      bpffs: host.bpffs,
      instance: host.instance,
    },
    build,
    live,
    changes,
    plan: shown,
  }
  // Undefined fields are not in the text, and must not be in the digest either.
  const sha256 = digestOf(JSON.parse(JSON.stringify(document)))
  const { format_version, kind, ...rest } = document
  const sealed = `${JSON.stringify({ format_version, kind, sha256, ...rest }, null, 2)}\n`
  if (Buffer.byteLength(sealed) > PLAN_LIMIT)
    throw fail('E003', 'the plan is too large to be saved: more than 64 MiB', 'apply it without saving it: xdp apply')
  return { text: sealed, sha256 }
}

const oneOf =
  <T extends string>(words: readonly T[]): Shape<T> =>
  (value, at) => {
    const found = words.find((word) => word === value)
    if (found !== undefined) return found
    throw new BadAnswer(`at ${at ?? 'its top'} it has none of ${words.join(', ')}`)
  }

const hex =
  (digits: number): Shape<string> =>
  (value, at) => {
    if (typeof value === 'string' && value.length === digits && /^[0-9a-f]+$/.test(value)) return value
    throw new BadAnswer(`at ${at ?? 'its top'} it has no ${digits} hex digits`)
  }

const sha256 = hex(64)

const INPUT_KINDS: readonly PlanInput['kind'][] = ['config', 'included', 'allowlist', 'blocklist', 'sources']

const shape = record({
  created_at: text,
  config: record({ path: text, sha256 }),
  inputs: list(record({ kind: oneOf(INPUT_KINDS), path: text, sha256 })),
  accepted: record({
    ...{ shrink: flag, growth: flag },
    // Absent in plans of earlier builds.
    ...{ removed: optional(flag), blocked: optional(flag), wide: optional(flag), cuts: optional(list(text)) },
  }),
  host: record({ name: text, boot_id: text, netns: text, bpffs: text, instance: text }),
  build: record({ version: text, abi: between(0, 0xffff_ffff), digest: hex(32) }),
  live: list(record({ kind: oneOf<FactKind>(FACT_KINDS), name: text, value: text })),
  changes: list(record({ key: text, op: text, sha256 })),
  sha256,
})

const notAPlan = (path: string, why: string, hint = CONFIG_HINT): XdpError =>
  fail('E240', `${path} is not a saved plan: ${why}`, hint)

/** The object that the text holds. Throws E240 for another kind of text. */
function parse(path: string, bytes: Uint8Array): Readonly<Record<string, unknown>> {
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch {
    const start = new TextDecoder().decode(bytes.subarray(0, 4096)).trimStart()
    if (bytes.length === 0) throw notAPlan(path, 'it is empty')
    // A copy that broke off, or a disk that was full.
    const isCut = start.startsWith('{') && start.includes(`"kind": "${KIND}"`)
    throw isCut
      ? notAPlan(path, 'it is damaged or cut off', 'make it again: xdp plan --out FILE')
      : notAPlan(path, 'it is not JSON')
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw notAPlan(path, 'it is JSON, but no object')
  const document = value as Readonly<Record<string, unknown>>
  if (document['kind'] !== KIND) throw notAPlan(path, 'it is another document')
  return document
}

/** Throws E243 for a format that this build does not know. */
function checkFormat(path: string, { format_version: version }: Readonly<Record<string, unknown>>): void {
  const [, major] = /^(\d{1,6})\.\d{1,6}$/.exec(typeof version === 'string' ? version : '') ?? []
  if (major === undefined) throw notAPlan(path, 'its format_version is not MAJOR.MINOR')
  if (major === FORMAT.major) return
  const what = `${path} has format ${version}, and this xdp reads ${FORMAT.major}.x`
  throw fail('E243', what, 'apply it with the xdp that made it, or make it again with this one')
}

/** Whether a file is, or was, a saved plan: one that is damaged, edited or of another format included. */
export const wasPlan = (bytes: Uint8Array): boolean => Buffer.from(bytes).includes(`"${KIND}"`)

/**
 * Reads a saved plan.
 *
 * @throws XdpError E240 for anything else, E243 for another format, E241 if it was edited
 */
export function openPlan(path: string, bytes: Uint8Array): SavedPlan {
  const document = parse(path, bytes)
  checkFormat(path, document)
  if (isTooDeep(document)) throw notAPlan(path, 'it is nested too deeply')
  let read: ShapeOf<typeof shape>
  try {
    read = shape(document)
  } catch (error) {
    if (!(error instanceof BadAnswer)) throw error
    throw notAPlan(path, error.message)
  }
  if (digestOf(document) !== read.sha256)
    throw fail('E241', `${path} was changed after it was saved`, 'make and review it again: xdp plan --out FILE')
  const { created_at: createdAt, host, accepted, ...rest } = read
  const { boot_id: bootId, ...others } = host
  const { removed = false, blocked = false, wide = false, cuts = [] } = accepted
  return { ...rest, createdAt, host: { ...others, bootId }, accepted: { ...accepted, removed, blocked, wide, cuts } }
}

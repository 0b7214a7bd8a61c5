// The config room: from the text of a config file to the state it asks for, with the place of every value. It reads
// the file and the list files it names, and nothing else: no kernel, no environment, no defaults that are not in
// schemas/xdp.schema.json. Everything that is wrong is collected and thrown together; whatever else is thrown is a bug.
// An empty, unreadable or vanished file is an error, never "nothing is wanted".

import { createHash } from 'node:crypto'
import { accessSync } from 'node:fs'
import { type Diagnostic, fail } from '../diagnostics.ts'
import type { Desired, InterfaceOptions } from '../model/desired.ts'
import type { Attachment, DefaultVerdict, ListKind } from '../model/state.ts'
import { validate } from './generated/validate.js'
import { readLists } from './lists.ts'
import { parse } from './parse.ts'
import { createReport, type Report } from './report.ts'
import { reportSchemaErrors } from './schema-errors.ts'
import { quote } from './show.ts'
import {
  CONFIG_LIMIT,
  checkText,
  createSource,
  isUnusable,
  markLength,
  readBytes,
  refuse,
  type Source,
} from './source.ts'
import type { Placed } from './tree.ts'
import { warnOfEverything } from './warn.ts'
import type { WrittenInterface, WrittenPolicy } from './written.ts'

const DEFAULT_PATHS = ['./xdp.yaml', '/etc/xdp/xdp.yaml'] as const

/** The path that is given, or the first default one that exists. Throws XdpError E001 if none does. */
export function findConfig(explicit?: string): string {
  if (explicit !== undefined) return explicit
  const found = DEFAULT_PATHS.find(exists)
  if (found !== undefined) return found.replace(/^\.\//, '')
  throw fail('E001', `there is neither ${DEFAULT_PATHS.join(' nor ')}`, 'name the file with -f FILE')
}

function exists(path: string): boolean {
  try {
    accessSync(path)
    return true
  } catch {
    return false
  }
}

/** IFNAMSIZ of the kernel, less the NUL; the schema can only count characters. */
const MAX_INTERFACE_BYTES = 15

interface Interfaces {
  readonly attachments: ReadonlyMap<string, Attachment>
  readonly options: ReadonlyMap<string, InterfaceOptions>
}

function readInterfaces(fields: readonly (readonly [string, Placed])[], source: Source, report: Report): Interfaces {
  const attachments = new Map<string, Attachment>()
  const options = new Map<string, InterfaceOptions>()
  for (const [name, placed] of fields) {
    const key = placed.key ?? placed
    if (Buffer.byteLength(name) > MAX_INTERFACE_BYTES) {
      const message = `${quote(name)} cannot be the name of an interface: it has ${Buffer.byteLength(name)} bytes`
      report.error('E033', source.locate(key.from, key.to), message, `at most ${MAX_INTERFACE_BYTES} bytes`)
    }
    const written = (placed.value ?? {}) as WrittenInterface
    const mode = placed.fields?.get('mode') ?? key
    attachments.set(name, { interface: name, modes: [written.mode ?? 'native'].flat() })
    options.set(name, {
      onConflict: written.on_conflict ?? 'fail',
      missing: written.missing ?? 'error',
      at: source.locate(mode.from, mode.to),
    })
  }
  return { attachments, options }
}

/** The fields of a mapping that have no error in them, sorted by name. */
function soundFields(root: Placed, key: string, wrong: ReadonlySet<string>): (readonly [string, Placed])[] {
  const fields = [...(root.fields?.get(key)?.fields ?? [])]
  return fields.filter(([name]) => !wrong.has(`${key}/${name}`)).sort(([left], [right]) => (left < right ? -1 : 1))
}

function soundEntries(root: Placed, kind: ListKind, wrong: ReadonlySet<string>): { kind: ListKind; placed: Placed }[] {
  const items = root.fields?.get(kind)?.items ?? []
  return items.flatMap((placed, index) => (wrong.has(`${kind}/${index}`) ? [] : [{ kind, placed }]))
}

function readPolicy(root: Placed): DefaultVerdict {
  const policy = root.fields?.get('policy')?.value as WrittenPolicy | undefined
  return policy?.default ?? 'pass'
}

/** SHA-256 of the config, and of the digests of its list files where it names any. */
function digest(bytes: Buffer, lists: readonly Buffer[]): string {
  const hash = createHash('sha256').update(bytes)
  for (const list of lists) hash.update(list)
  return hash.digest('hex')
}

export interface Loaded {
  readonly desired: Desired
  readonly warnings: readonly Diagnostic[]
}

function load(path: string): Loaded {
  const bytes = readBytes(path, CONFIG_LIMIT)
  if (isUnusable(bytes)) return refuse(bytes)
  const problem = checkText(path, bytes)
  if (problem !== undefined) return refuse(problem)
  const source = createSource(path, bytes.toString('utf8', markLength(bytes)))
  const files = [path]
  const report = createReport(files)
  const root = parse(source, report)
  if (root === undefined) {
    report.finish()
    throw new Error('a config without content was not reported')
  }
  const wrong = validate(root.value)
    ? new Set<string>()
    : reportSchemaErrors(validate.errors ?? [], { root, source, report })
  const { attachments, options } = readInterfaces(soundFields(root, 'interfaces', wrong), source, report)
  const entries = (['allowlist', 'blocklist'] as const).flatMap((kind) => soundEntries(root, kind, wrong))
  const { lists, provenance, digests } = readLists(entries, source, files, report)
  const policy = { default: wrong.size > 0 ? 'pass' : readPolicy(root) } as const
  const state = { program: undefined, policy, interfaces: attachments, lists }
  const desired: Desired = { state, options, provenance, config: { path, sha256: digest(bytes, digests) } }
  warnOfEverything(desired, report)
  return { desired, warnings: report.finish() }
}

/**
 * Reads a config and the list files it names.
 *
 * @throws XdpError with every error of all the files, in file order, at most 20; `omitted` counts the rest
 */
export async function loadConfig(path: string): Promise<Loaded> {
  return load(path)
}

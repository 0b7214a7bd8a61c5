// xdp import

import { isUnusable, LIST_LIMIT, readBytes, refuse as refuseFile } from '../../config/text/source.ts'
import { type Diagnostic, EXIT, type Exit, fail, XdpError } from '../../diagnostics.ts'
import { type Composed, compose, PRINTABLE } from '../../import/document.ts'
import { importFrom, isSource } from '../../import/import.ts'
import {
  IGNORABLE,
  type Ignorable,
  type Imported,
  type ImportedInterface,
  type Printed,
  SOURCES,
  type SourceName,
} from '../../import/source.ts'
import { nearest } from '../../model/nearest.ts'
import { formatCount, plural } from '../../model/numbers.ts'
import { formatPorts } from '../../model/ports.ts'
import { computing } from '../../pipelines/computing.ts'
import { printFilter, routedInterfaces } from '../../pipelines/host.ts'
import { diagnosticsJson, renderDiagnostics } from '../../render/diagnostic.ts'
import { jsonDocument } from '../../render/json.ts'
import type { Context } from '../cli/context.ts'
import type { Arguments, Options } from '../cli/flag.ts'
import type { IMPORT_FLAGS } from '../cli/flags.ts'
import { filesOf } from './included.ts'
import { editorSchema } from './schema-file.ts'
import { writeConfig } from './write-config.ts'

/** Most warnings on stderr; further ones are counted. */
const SHOWN = 200
/** Most diagnostics in an error document. */
const IN_ERROR = 20
/** The file that keepalived reads without an option. */
const KEEPALIVED = '/etc/keepalived/keepalived.conf'

/** Throws E300 without a known tool. `file`: the argument, which may be the tool that --from should name. */
function readFrom(text: string | undefined, file: string | undefined): SourceName {
  const choice = SOURCES.join(', ')
  if (text === undefined) {
    const usage = file && isSource(file) ? `xdp import --from ${file}` : `write --from TOOL with one of ${choice}`
    throw fail('E300', '`xdp import` needs --from', usage)
  }
  if (isSource(text)) return text
  const meant = nearest(text, SOURCES)
  throw fail(
    'E300',
    `--from "${text}" is not a tool that xdp can import from`,
    meant === undefined ? `write one of ${choice}` : `did you mean --from ${meant}?`,
  )
}

function checkInterface(name: string): void {
  if (Buffer.byteLength(name) <= 15 && /^(?!\.{1,2}$)[^/:\s\p{C}]+$/u.test(name)) return
  throw fail(
    'E300',
    `--interface "${name}" is not a valid interface name`,
    'repeat the flag for each interface: --interface eth0 --interface eth1',
  )
}

function readIgnored(texts: readonly string[]): readonly Ignorable[] {
  return texts.map((text) => {
    const found = IGNORABLE.find((one) => one === text)
    if (found !== undefined) return found
    throw fail('E300', `--ignore "${text}" is unknown`, `write one of ${IGNORABLE.join(', ')}`)
  })
}

/** The output of the tool: from a file, from stdin, or by running it now. */
async function read(
  from: SourceName,
  file: string | undefined,
  { host, readInput }: Context,
): Promise<readonly Printed[]> {
  if (file === undefined && from !== 'keepalived') {
    host.progress?.(`running ${from}`)
    return printFilter(host, from)
  }
  if (file === '-') return [{ name: 'stdin', bytes: await readInput() }]
  const path = file ?? KEEPALIVED
  const bytes = await computing(host, () => readBytes(path, LIST_LIMIT))
  return isUnusable(bytes) ? refuseFile(bytes) : [{ name: path, bytes }]
}

interface Chosen {
  readonly interfaces: readonly ImportedInterface[]
  readonly warnings: readonly Diagnostic[]
}

/** The interfaces of the config: from the flags, else the source, else the default routes, else a guess to correct. */
async function choose(flags: readonly string[], { interfaces }: Imported, live: boolean): Promise<Chosen> {
  if (flags.length > 0) {
    const mode = (name: string): ImportedInterface['mode'] => interfaces.find((one) => one.name === name)?.mode
    return { interfaces: [...new Set(flags)].map((name) => ({ name, mode: mode(name) })), warnings: [] }
  }
  if (interfaces.length > 0) return { interfaces, warnings: [] }
  const routed = live ? await routedInterfaces() : []
  const names = routed.length > 0 ? routed : ['eth0']
  const why = routed.length > 0 ? 'which the default route uses' : 'a guess'
  const message = `the source names no interfaces; the config has ${names.join(', ')}, ${why}`
  const hint = `to choose: --interface ${names[0]}`
  const warning = { code: 'W401', severity: 'warning', message, hint } as const
  return { interfaces: names.map((name) => ({ name, mode: undefined })), warnings: [warning] }
}

/** Warns if `--ignore state` leaves out the rule that accepts replies before a default drop. */
function repliesWarning(imported: Imported): Diagnostic[] {
  const stateful = imported.leftOut.some(({ message }) => message.includes('state of connections'))
  if (imported.default !== 'drop' || imported.established === 'pass' || !stateful) return []
  const message =
    'policy.default is drop, and the rule that accepts replies was not imported: replies to this host will be dropped'
  return [
    {
      code: 'W402',
      severity: 'warning',
      message,
      hint: 'write `established: pass` under `policy`, or add the peers to the allowlist',
    },
  ]
}

function showNotes({ stderr, color }: Context, notes: readonly Diagnostic[]): void {
  for (const note of notes.slice(0, SHOWN)) stderr(renderDiagnostics([note], { color: color.stderr }))
  if (notes.length > SHOWN) stderr(`… and ${plural(notes.length - SHOWN, 'more warning')}\n`)
}

function refuse(losses: readonly Diagnostic[], context: Context): XdpError {
  const message = `${plural(losses.length, 'setting')} cannot be imported exactly, and --strict is set; nothing was written`
  return withLosses({ code: 'E404', severity: 'error', message }, losses, context)
}

function nothingLeft({ source, composed, imported }: Outcome, context: Context): XdpError {
  if (imported.services)
    return fail('E401', `${source} has no virtual server that can be a service; nothing was written`)
  const widened = composed.leftOut.filter(({ code }) => code === 'W403')
  if (widened.length === 0) return fail('E401', `${source} has no rule that a list can express; nothing was written`)
  const message = `${source} drops no packet that it surely does not let through elsewhere; nothing was written`
  const state = composed.leftOut.some((one) => one.message.includes('state of connections'))
  const hint = state
    ? 'to leave out rules that accept packets by their state: --ignore state'
    : 'W403 names the rules that let packets through'
  return withLosses({ code: 'E401', severity: 'error', message, hint }, widened, context)
}

/** An error with the losses behind it. Text output has shown them before. */
function withLosses(error: Diagnostic, losses: readonly Diagnostic[], context: Context): XdpError {
  if (!context.flags.json) return new XdpError([error])
  const omitted = Math.max(0, losses.length - IN_ERROR + 1)
  return new XdpError([error, ...losses.slice(0, IN_ERROR - 1)], { omitted })
}

const refused = (error: Diagnostic, losses: readonly Diagnostic[], context: Context): XdpError =>
  withLosses({ ...error, message: `${error.message}; nothing was written` }, losses, context)

function refuseToPrint({ ranges }: Composed, context: Context): void {
  if (ranges <= PRINTABLE) return
  const message = `${formatCount(ranges)} prefixes and ranges are too many to print`
  throw fail('E403', message, `add --output DIR${context.flags.json ? '' : ' to write list files'}`)
}

interface Outcome {
  readonly imported: Imported
  readonly composed: Composed
  readonly interfaces: readonly ImportedInterface[]
  readonly warnings: readonly Diagnostic[]
  readonly from: SourceName
  readonly source: string
  /** Path of the written config; undefined: it is printed. */
  readonly path: string | undefined
}

function renderJson({ imported, composed, interfaces, warnings, from, source, path }: Outcome): string {
  return jsonDocument({
    from,
    source,
    config: path ?? null,
    text: path === undefined ? composed.config : null,
    files: composed.files.map((file) => file.path),
    interfaces: interfaces.map(({ name }) => name),
    policy: { default: imported.default },
    lists: composed.lists,
    services: composed.services,
    anomalies: imported.anomalies ?? [],
    rate_limits: composed.limits,
    syn_protection: (imported.protects ?? []).map(formatPorts),
    left_out: diagnosticsJson(composed.leftOut),
    warnings: diagnosticsJson(warnings),
  })
}

function renderText({ imported, composed, path }: Outcome): string {
  if (path === undefined) return composed.config
  const { lists, files, services } = composed
  const prefixes = lists.reduce((sum, list) => sum + list.prefixes, 0)
  const limited = composed.limits.length === 0 ? '' : `, ${plural(composed.limits.length, 'rate limit')}`
  const contents = imported.services
    ? `${plural(services.length, 'service')} with ${plural(
        services.reduce((sum, { backends }) => sum + backends, 0),
        'backend',
      )}`
    : `${plural(lists.length, 'list')} with ${plural(prefixes, 'prefix', 'prefixes')}${limited}, default ${imported.default}`
  const beside = files.length === 0 ? '' : ` and ${plural(files.length, 'list file')}`
  return `Wrote ${path}${beside}: ${contents}.\nShow its plan: xdp plan -f ${path}\n`
}

async function importAll(
  context: Context,
  file: string | undefined,
  options: Options<typeof IMPORT_FLAGS>,
): Promise<Outcome> {
  const from = readFrom(options.from, file)
  for (const name of options.interface) checkInterface(name)
  const ignore = readIgnored(options.ignore)
  const [first, ...beside] = await read(from, file, context)
  const { name, bytes } = first as Printed
  context.host.progress?.('parsing')
  const include = from === 'keepalived' ? filesOf : undefined
  const input = { name, bytes, interfaces: options.interface, beside, ignore, include }
  const imported = await computing(context.host, () => importFrom(from, input))
  const { interfaces, warnings } = await choose(options.interface, imported, file === undefined)
  const source = [name, ...beside.map((one) => one.name)].join(', ')
  const files = options.output !== undefined
  const composed = compose(imported, { from, source, interfaces, schema: editorSchema(), files })
  const all = [...warnings, ...repliesWarning(imported)]
  return { imported, composed, interfaces, warnings: all, from, source, path: undefined }
}

const isWithout = ({ composed, imported: { protects = [], anomalies = [] } }: Outcome): boolean =>
  [composed.lists, composed.services, composed.limits, protects, anomalies].every(({ length }) => length === 0)

export async function run(context: Context, { positionals, options }: Arguments<typeof IMPORT_FLAGS>): Promise<Exit> {
  const outcome = await importAll(context, positionals[0], options)
  const { composed, imported, warnings } = outcome
  if (!context.flags.json) showNotes(context, [...composed.leftOut, ...warnings])
  if (options.strict && composed.leftOut.length > 0) throw refuse(composed.leftOut, context)
  const isEmpty = imported.default === 'pass' && isWithout(outcome)
  // Of a balancer that has something to refuse, the refusal names what to accept.
  if (isEmpty && !(imported.services && imported.refusal)) throw nothingLeft(outcome, context)
  if (imported.refusal !== undefined) throw refused(imported.refusal, composed.leftOut, context)
  if (options.output === undefined) refuseToPrint(composed, context)
  const path = options.output === undefined ? undefined : writeConfig(options.output, composed, options.force)
  const done = { ...outcome, path }
  context.stdout(context.flags.json ? renderJson(done) : renderText(done))
  return EXIT.ok
}

// Finds and loads the config of a command, and keeps its warnings.

import { inputsOf } from '../../config/inputs.ts'
import { findConfig, loadConfig } from '../../config/load.ts'
import type { OwnHost } from '../../config/text/own-host.ts'
import { type Copies, DEFAULT_COPIES } from '../../config/text/remote.ts'
import { newReads } from '../../config/text/source.ts'
import { ANY_FILE, rootsRule, type Trust } from '../../config/text/trust.ts'
import { CODES, type Diagnostic, XdpError } from '../../diagnostics.ts'
import type { Desired } from '../../model/desired.ts'
import type { PlanInput } from '../../model/saved-plan.ts'
import { computing } from '../../pipelines/computing.ts'
import { renderDiagnostics } from '../../render/diagnostic.ts'
import type { Context } from '../cli/context.ts'

/** The files that this command may use. */
export const trustOf = ({ flags, isRoot }: Context): Trust =>
  isRoot ? rootsRule(flags['allow-insecure-permissions']) : ANY_FILE

/** Where the copies of sources in the network are. */
export const copiesOf = ({ host }: Pick<Context, 'host'>): Copies => ({ ...DEFAULT_COPIES, ...host.copies })

export interface Loaded {
  readonly desired: Desired
  readonly warnings: readonly Diagnostic[]
  /** The addresses that `destination: host` stands for; undefined: no entry names the host. */
  readonly host?: string
  /** The files that it was read from. */
  readonly inputs: () => readonly PlanInput[]
  /** Paths of the copies that it names. */
  readonly copies: ReadonlySet<string>
}

/** The addresses of this host. Loads what it needs only for a config that names them. */
const readAddresses: OwnHost['read'] = async () => (await import('../../pipelines/host.ts')).ownAddresses()

/** As `readAddresses`, for commands that also run where these cannot be read: then none is known, which warns. */
export const addressesIfAny: OwnHost['read'] = () => readAddresses().catch(() => [])

interface Terms {
  readonly missing?: Copies['missing']
  /** Reads the addresses of the host that the config is for; those of this host by default. */
  readonly readHost?: OwnHost['read'] | undefined
}

/** Loads a config. Reads files, which may be large, or pipes that never end. */
export async function loadFrom(
  context: Context,
  path: string,
  { missing = 'error', readHost = readAddresses }: Terms = {},
): Promise<Loaded> {
  const reads = newReads(trustOf(context), undefined, { ...copiesOf(context), missing }, readHost)
  const loaded = await computing(context.host, () => loadConfig(path, { shelf: { cache: context.cache }, reads }))
  const copies = new Set(reads.remotes.map((remote) => remote.path))
  return { ...loaded, inputs: () => inputsOf(loaded.desired, reads), copies }
}

/** Loads the file of --file, or the default one. Throws XdpError with all mistakes in it. */
export async function load(context: Context, terms?: Terms): Promise<Loaded> {
  return loadFrom(context, findConfig(context.flags.file), terms)
}

/** Loads a file that an argument names. */
export const loadFile = (context: Context, path: string, terms?: Terms): Promise<Loaded> =>
  loadFrom(context, path, terms)

/** Like `load`, but returns undefined without --file and without a default file. */
export async function loadIfAny(context: Context, terms?: Terms): Promise<Loaded | undefined> {
  const { flags } = context
  let path: string
  try {
    path = findConfig(flags.file)
  } catch (error) {
    const none = error instanceof XdpError && error.diagnostics.every(({ code }) => CODES[code].name === 'file-missing')
    if (none && flags.file === undefined) return undefined
    throw error
  }
  return loadFrom(context, path, terms)
}

/** Writes warnings to stderr, for commands whose result has no place for them. */
export function showWarnings({ stderr, color }: Context, warnings: readonly Diagnostic[]): void {
  if (warnings.length > 0) stderr(renderDiagnostics(warnings, { color: color.stderr }))
}

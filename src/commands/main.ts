// One run, from argv to exit status: parses the arguments, runs the command, and renders its exception. Reaches the
// process only through `Terminal`.

import { join } from 'node:path'
import manifest from '../../package.json' with { type: 'json' }
import { BPFFS } from '../abi/directory.ts'
import { type Cache, NO_CACHE } from '../cache/none.ts'
import { type Diagnostic, EXIT, type Exit, fail } from '../diagnostics.ts'
import type { History } from '../history/history.ts'
import { renderDiagnostics, renderErrorJson } from '../render/diagnostic.ts'
import { wantsColor } from './cli/color.ts'
import type { Context, GlobalFlags } from './cli/context.ts'
import { parseDuration } from './cli/duration.ts'
import { explain } from './cli/explain.ts'
import { renderCommandHelp, renderHelp } from './cli/help.ts'
import { type Invocation, parseArguments } from './cli/parse.ts'
import { printable } from './cli/printable.ts'
import { createProgress, type Progress } from './cli/progress.ts'
import type { Screen } from './cli/screen.ts'
import { COMPLETE, type CommandSpec, GUARD } from './cli/specification.ts'
import { COMMANDS, GUARD_COMMAND } from './table.ts'

export interface Output {
  readonly write: (text: string) => void
  readonly isTTY: boolean
  /** The first error that kept a part of it from being written, unless the reader did not want it; absent in tests. */
  readonly lost?: () => string | undefined
  /** Whether it is the journal of systemd; absent in tests. */
  readonly isJournal?: boolean
}

/** The process as a run sees it. */
export interface Terminal {
  /** The arguments after `xdp`. */
  readonly argv: readonly string[]
  readonly env: Readonly<Record<string, string | undefined>>
  readonly stdout: Output
  readonly stderr: Output
  readonly stdinIsTTY: boolean
  /** Stdin as a stream of chunks. */
  readonly stdin: () => AsyncIterable<Uint8Array>
  /** Asks on stderr and reads one line from stdin; empty at its end. */
  readonly ask: (question: string, signal: AbortSignal) => Promise<string>
  /** Reads all of stdin. */
  readonly readInput: () => Promise<Uint8Array>
  /** The terminal behind stdout; absent if stdout is none, or has no control sequences. */
  readonly screen?: Screen
  /** Aborted when a signal asks the run to stop. */
  readonly signal: AbortSignal
  /** Runs a long computation; see Host. */
  readonly compute?: <T>(body: () => T) => Promise<T>
  /** Effective user id. */
  readonly uid: number
  /** The command that starts this program; absent in tests. */
  readonly self?: readonly string[]
  /** Ignores the end of the session from now on; returns the signal of a request to stop. Absent in tests. */
  readonly outlive?: () => AbortSignal
  /** Makes SIGHUP call the listener from now on; absent in tests. */
  readonly onHangup?: (listener: () => void) => void
}

/** The name becomes part of paths in bpffs, which allows no dots, and of lock files. */
const INSTANCE = /^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$/

function hostOf(flags: GlobalFlags, { signal, compute, self }: Terminal, progress: Progress): Context['host'] {
  const { bpffs = BPFFS, instance = 'default' } = flags
  if (!INSTANCE.test(instance)) {
    const hint = 'use at most 32 letters, digits, - and _, starting with a letter or digit: --instance edge-1'
    throw fail('E300', `--instance "${instance}" is not a valid name`, hint)
  }
  const lockTimeoutMs = parseDuration('lock-timeout', flags['lock-timeout'] ?? '30s')
  const given = { ...(compute ? { compute } : {}), ...(self ? { self } : {}) }
  return { bpffs, instance, lockTimeoutMs, signal, progress: progress.report, ...given }
}

/**
 * systemd sets CACHE_DIRECTORY (systemd.exec(5)). Without it only root has a cache, because only root can write there.
 */
const cacheDirectory = ({ env, uid }: Pick<Terminal, 'env' | 'uid'>): string | undefined =>
  env['CACHE_DIRECTORY'] || (uid === 0 ? '/var/cache/xdp' : undefined)

/** The cache for a command, whose code is loaded only if the command uses it. */
async function cacheOf({ isCacheless }: CommandSpec, terminal: Terminal): Promise<Cache> {
  const directory = cacheDirectory(terminal)
  if (isCacheless || directory === undefined) return NO_CACHE
  const { openCache } = await import('../cache/cache.ts')
  return openCache(directory, terminal.uid)
}

/** systemd sets STATE_DIRECTORY (systemd.exec(5)). Without it only root has state, as with the cache. */
const stateDirectory = ({ env, uid }: Terminal): string | undefined =>
  env['STATE_DIRECTORY'] || (uid === 0 ? '/var/lib/xdp' : undefined)

/** The copies of sources in the network. Every user may read those of root, as far as permissions allow. */
const copiesOf = (terminal: Terminal): NonNullable<Context['host']['copies']> => ({
  directory: join(stateDirectory(terminal) ?? '/var/lib/xdp', 'feeds'),
  uid: terminal.uid,
})

/** The history for a command, whose code is loaded only if the command uses it. */
async function historyOf(
  { usesHistory }: CommandSpec,
  terminal: Terminal,
  { bpffs = BPFFS, instance = 'default' }: GlobalFlags,
): Promise<History | undefined> {
  const directory = stateDirectory(terminal)
  if (!usesHistory || directory === undefined) return undefined
  const [{ historyDirectory }, { openHistory }] = await Promise.all([
    import('../history/place.ts'),
    import('../history/store.ts'),
  ])
  return openHistory(historyDirectory(directory, bpffs, instance), terminal.uid)
}

/** Warns of an unusable history. The command has succeeded without it. */
async function warnOfHistory({ host, color, stderr }: Context): Promise<void> {
  if (host.history?.problem === undefined) return
  const { warningOf } = await import('../history/history.ts')
  const warning = warningOf(host.history)
  if (warning) stderr(renderDiagnostics([warning], { color: color.stderr, omitted: 0 }))
}

/** Warns of an unusable cache. The command has succeeded without it. */
function warnOfCache({ cache, color, stderr }: Context, directory: string | undefined): void {
  if (cache.problem === undefined) return
  const warning: Diagnostic = {
    code: 'W220',
    severity: 'warning',
    message: `the cache does not work, so every run reads and compiles all lists: ${cache.problem}`,
    hint: `rm -r ${directory}`,
  }
  stderr(renderDiagnostics([warning], { color: color.stderr, omitted: 0 }))
}

function contextOf(
  terminal: Terminal,
  flags: GlobalFlags,
  progress: Progress,
  { cache, history }: { readonly cache: Cache; readonly history: History | undefined },
): Context {
  const { env, stdout, stderr, stdin, stdinIsTTY, ask, readInput, screen, onHangup = () => undefined } = terminal
  const color = { stdout: wantsColor(flags, env, stdout.isTTY), stderr: wantsColor(flags, env, stderr.isTTY) }
  // Output and the progress line may share a screen, so erase the line first.
  const through =
    <T extends unknown[], R>(write: (...args: T) => R) =>
    (...args: T): R => {
      progress.clear()
      return write(...args)
    }
  return {
    flags,
    cache,
    isRoot: terminal.uid === 0,
    host: { ...hostOf(flags, terminal, progress), cache, copies: copiesOf(terminal), ...(history && { history }) },
    isTerminal: stdout.isTTY,
    isJournal: stdout.isJournal ?? false,
    onHangup,
    outlive: terminal.outlive ?? (() => terminal.signal),
    stdin,
    stdout: through((text: string) => stdout.write(printable(text, color.stdout))),
    stderr: through(stderr.write),
    color,
    interactive: stdinIsTTY && stderr.isTTY && !flags['no-input'],
    prompt: through((question: string, signal?: AbortSignal) =>
      ask(question, signal ? AbortSignal.any([terminal.signal, signal]) : terminal.signal),
    ),
    readInput,
    ...(screen ? { screen } : {}),
  }
}

async function perform({ flags, command, args }: Invocation, terminal: Terminal, progress: Progress): Promise<Exit> {
  const { stdout, stderr } = terminal
  if (flags.version) {
    const { describeVersion } = await import('./verbs/version.ts')
    stdout.write(await describeVersion(manifest.version, flags.json === true))
  } else if (flags.help) stdout.write(command ? renderCommandHelp(command) : renderHelp(COMMANDS))
  else if (command === undefined) {
    if (flags.json) throw fail('E300', 'no command was given', '`xdp help` lists the commands')
    stderr.write(renderHelp(COMMANDS))
    return EXIT.usage
  } else {
    const [cache, history] = await Promise.all([cacheOf(command, terminal), historyOf(command, terminal, flags)])
    const context = contextOf(terminal, flags, progress, { cache, history })
    const { run } = await command.load()
    const exit = await run(context, args)
    warnOfCache(context, cacheDirectory(terminal))
    await warnOfHistory(context)
    return exit
  }
  return EXIT.ok
}

/** Prints candidates for a shell's completion. A failure prints nothing: the user is in the middle of typing. */
async function offer([, , ...words]: readonly string[], { write }: Output): Promise<Exit> {
  try {
    const { complete } = await import('./cli/completion/complete.ts')
    const { HOST_NAMES } = await import('./cli/completion/names.ts')
    write(complete(words, COMMANDS, HOST_NAMES))
  } catch {}
  return EXIT.ok
}

/** The stacks of an error and of its causes, innermost last. */
function stacks(error: unknown): string {
  const lines: string[] = []
  for (let one = error; one instanceof Error; one = one.cause) lines.push(one.stack ?? one.message)
  return `${lines.join('\ncaused by ')}\n`
}

/** Commands that change the kernel: their exit status says what became of that. */
const CHANGING: ReadonlySet<string> = new Set([
  ...['apply', 'confirm', 'watch', 'ban', 'unban', 'destroy', 'rollback', GUARD],
])

/** Reports output that could not be written, on a full disk for example. Returns the exit status. */
function withLoss(exit: Exit, { flags, command }: Invocation, { stdout, stderr }: Terminal): Exit {
  const code = stdout.lost?.()
  if (code === undefined) return exit
  const message = `the output could not be written: ${code}`
  const isDone = !flags.help && !flags.version && CHANGING.has(command?.name ?? '')
  const hint = 'the exit status says what was done; `xdp status` shows what is in force'
  const lost: Diagnostic = isDone
    ? { code: 'W278', severity: 'warning', message, hint }
    : { code: 'E405', severity: 'error', message }
  stderr.write(renderDiagnostics([lost], { color: false, omitted: 0 }))
  return isDone || exit !== EXIT.ok ? exit : EXIT.failed
}

/** Runs a command. Never throws: returns the exit status, and writes errors to stderr, with --json to stdout. */
export async function main(terminal: Terminal): Promise<Exit> {
  const { argv, env, stdout, stderr, signal } = terminal
  if (argv[0] === COMPLETE) return offer(argv, stdout)
  const progress = createProgress(stderr.write, stderr.isTTY && env['TERM'] !== 'dumb')
  // Parsing may fail, so the output flags are read from the raw arguments.
  const words = argv.slice(0, argv.indexOf('--') < 0 ? argv.length : argv.indexOf('--'))
  const given = (flag: string): boolean => words.includes(flag)
  try {
    const commands = argv[0] === GUARD ? [GUARD_COMMAND] : COMMANDS
    const invocation = parseArguments(argv, commands)
    return withLoss(await perform(invocation, terminal, progress), invocation, terminal)
  } catch (thrown) {
    progress.clear()
    const error = explain(thrown, signal)
    const { diagnostics, omitted } = error
    const color = wantsColor({ 'no-color': given('--no-color') }, env, stderr.isTTY)
    if (given('--json')) stdout.write(renderErrorJson(diagnostics, omitted))
    if (!given('--json') || stdout.lost?.()) stderr.write(renderDiagnostics(diagnostics, { color, omitted }))
    if (given('--debug')) stderr.write(stacks(thrown))
    return error.exit
  } finally {
    progress.clear()
  }
}

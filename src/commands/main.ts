// One run of the tool, from its words to its exit status: parse, find the command, run it, and turn whatever it
// throws into one clear report. The process itself is behind `Terminal`.

import manifest from '../../package.json' with { type: 'json' }
import { BPFFS } from '../abi/directory.ts'
import { type Cache, NO_CACHE, openCache } from '../cache/cache.ts'
import { type Diagnostic, EXIT, type Exit, fail } from '../diagnostics.ts'
import { renderDiagnostics, renderErrorJson } from '../render/diagnostic.ts'
import { wantsColor } from './cli/color.ts'
import type { Context, GlobalFlags } from './cli/context.ts'
import { parseDuration } from './cli/duration.ts'
import { explain } from './cli/explain.ts'
import { renderCommandHelp, renderHelp } from './cli/help.ts'
import { type Invocation, parseArguments } from './cli/parse.ts'
import { createProgress, type Progress } from './cli/progress.ts'
import type { Screen } from './cli/screen.ts'
import { COMPLETE } from './cli/specification.ts'
import { COMMANDS } from './table.ts'

export interface Output {
  readonly write: (text: string) => void
  readonly isTTY: boolean
}

/** All that a run sees of the world around it. */
export interface Terminal {
  /** The words after `xdp`. */
  readonly argv: readonly string[]
  readonly env: Readonly<Record<string, string | undefined>>
  readonly stdout: Output
  readonly stderr: Output
  readonly stdinIsTTY: boolean
  /** All of stdin, as it comes. */
  readonly stdin: () => AsyncIterable<Uint8Array>
  /** Asks on stderr and reads one line of stdin; empty at its end. */
  readonly ask: (question: string, signal: AbortSignal) => Promise<string>
  /** All of stdin. */
  readonly readInput: () => Promise<Uint8Array>
  /** The terminal that stdout is; absent where it is none that can be drawn on. */
  readonly screen?: Screen
  /** Aborted when the user or the system asks the run to stop. */
  readonly signal: AbortSignal
  /** Effective user. */
  readonly uid: number
  /** From now on SIGHUP calls the listener instead; absent where there are no signals. */
  readonly onHangup?: (listener: () => void) => void
}

/** bpffs takes no dot in names, and the name is part of paths and lock files. */
const INSTANCE = /^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$/

function hostOf(flags: GlobalFlags, signal: AbortSignal, progress: Progress): Context['host'] {
  const { bpffs = BPFFS, instance = 'default' } = flags
  if (!INSTANCE.test(instance)) {
    const hint = 'use at most 32 letters, digits, - and _, beginning with a letter or digit'
    throw fail('E300', `--instance "${instance}" is not a name`, hint)
  }
  const lockTimeoutMs = parseDuration('lock-timeout', flags['lock-timeout'] ?? '30s')
  return { bpffs, instance, lockTimeoutMs, signal, progress: progress.report }
}

/** systemd.exec(5) CacheDirectory= tells a service where its own is. Others than root have none of ours to write to. */
function cacheOf({ env, uid }: Terminal): Cache {
  const directory = env['CACHE_DIRECTORY'] || (uid === 0 ? '/var/cache/xdp' : undefined)
  return directory === undefined ? NO_CACHE : openCache(directory, uid)
}

/** What is wrong with the cache: nothing has failed for it. */
function warnOfCache({ cache, color, stderr }: Context): void {
  if (cache.problem === undefined) return
  const warning: Diagnostic = {
    code: 'W220',
    severity: 'warning',
    message: `nothing was remembered between runs: ${cache.problem}`,
    hint: 'remove it; it is made anew',
  }
  stderr(renderDiagnostics([warning], { color: color.stderr, omitted: 0 }))
}

function contextOf(terminal: Terminal, flags: GlobalFlags, progress: Progress): Context {
  const {
    env,
    stdout,
    stderr,
    stdin,
    stdinIsTTY,
    ask,
    readInput,
    screen,
    signal,
    onHangup = () => undefined,
  } = terminal
  // The progress line must be gone before anything else is written: both may go to the same screen.
  const through =
    <T extends unknown[], R>(write: (...args: T) => R) =>
    (...args: T): R => {
      progress.clear()
      return write(...args)
    }
  const cache = cacheOf(terminal)
  return {
    flags,
    cache,
    host: { ...hostOf(flags, signal, progress), cache },
    isTerminal: stdout.isTTY,
    onHangup,
    stdin,
    stdout: through(stdout.write),
    stderr: through(stderr.write),
    color: { stdout: wantsColor(flags, env, stdout.isTTY), stderr: wantsColor(flags, env, stderr.isTTY) },
    interactive: stdinIsTTY && stderr.isTTY && !flags['no-input'],
    prompt: through((question: string) => ask(question, signal)),
    readInput,
    ...(screen ? { screen } : {}),
  }
}

async function perform({ flags, command, args }: Invocation, terminal: Terminal, progress: Progress): Promise<Exit> {
  const { stdout, stderr } = terminal
  if (flags.version) stdout.write(`xdp ${manifest.version}\n`)
  else if (flags.help) stdout.write(command ? renderCommandHelp(command) : renderHelp(COMMANDS))
  else if (command === undefined) {
    stderr.write(renderHelp(COMMANDS))
    return EXIT.usage
  } else {
    const context = contextOf(terminal, flags, progress)
    const { run } = await command.load()
    const exit = await run(context, args)
    warnOfCache(context)
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

/** The causes of an error, innermost last, with their stacks. */
function stacks(error: unknown): string {
  const lines: string[] = []
  for (let one = error; one instanceof Error; one = one.cause) lines.push(one.stack ?? one.message)
  return `${lines.join('\ncaused by ')}\n`
}

/** Runs the tool. Never throws: the exit status tells, and stderr (stdout with --json) says why. */
export async function main(terminal: Terminal): Promise<Exit> {
  const { argv, env, stdout, stderr, signal } = terminal
  if (argv[0] === COMPLETE) return offer(argv, stdout)
  const progress = createProgress(stderr.write, stderr.isTTY && env['TERM'] !== 'dumb')
  // Before parsing has succeeded, the words themselves are all there is to tell how errors are wanted.
  const words = argv.slice(0, argv.indexOf('--') < 0 ? argv.length : argv.indexOf('--'))
  const given = (flag: string): boolean => words.includes(flag)
  try {
    return await perform(parseArguments(argv, COMMANDS), terminal, progress)
  } catch (thrown) {
    progress.clear()
    const error = explain(thrown, signal)
    const { diagnostics, omitted } = error
    const color = wantsColor({ 'no-color': given('--no-color') }, env, stderr.isTTY)
    if (given('--json')) stdout.write(renderErrorJson(diagnostics, omitted))
    else stderr.write(renderDiagnostics(diagnostics, { color, omitted }))
    if (given('--debug')) stderr.write(stacks(thrown))
    return error.exit
  } finally {
    progress.clear()
  }
}

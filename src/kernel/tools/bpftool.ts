// bpftool, one command or a batch of them in one process; everything as JSON.

import { anything, BadAnswer, list, optional, record, type Shape } from '../../abi/answer.ts'
import { type Command, commandLine, type Part } from '../../abi/command.ts'
import { parseAnswer, parseJson, understand } from './answer.ts'
import { CommandError, type Input, spawnTool, stderrWords } from './spawn.ts'

const errorOf = (output: unknown): string | undefined => {
  if (typeof output !== 'object' || output === null || !('error' in output)) return undefined
  return String(output.error)
}

/** JSON of a failed bpftool, which may be incomplete; undefined for other text. */
function tryParse(text: string): unknown {
  try {
    return parseJson(text)
  } catch {
    return undefined
  }
}

/** A tool that starts bpftool: its name, and its arguments, the path of bpftool last. */
export interface Launcher {
  readonly tool: string
  readonly argv: readonly string[]
}

/** Starts bpftool itself. */
export const DIRECTLY: Launcher = { tool: 'bpftool', argv: [] }

/** Marks the end of the options where a later word looks like one: the kernel permits an interface named `-j`. */
function withOptionsEnded(argv: readonly string[]): readonly string[] {
  const first = argv.findIndex((word) => !word.startsWith('-'))
  const isAmbiguous = argv.slice(first).some((word) => word.startsWith('-'))
  return first >= 0 && isAmbiguous ? [...argv.slice(0, first), '--', ...argv.slice(first)] : argv
}

async function runOne(argv: readonly string[], launcher: Launcher = DIRECTLY, input?: Input): Promise<string> {
  const words = [...launcher.argv, '-j', ...withOptionsEnded(argv)]
  const { stdout, stderr, exitCode } = await spawnTool(launcher.tool, words, input)
  if (exitCode === 0) return stdout
  const reasons = [stderrWords(stderr), errorOf(tryParse(stdout))].filter((word) => word).join('; ')
  throw new CommandError(`bpftool ${argv.join(' ')}`, exitCode, reasons)
}

/**
 * Runs one bpftool command whose output does not matter. Throws CommandError with the kernel's words, XdpError as spawnTool.
 */
export async function runBpftool(...argv: readonly string[]): Promise<void> {
  await runOne(argv)
}

/** Runs one `bpftool -j` command and returns its answer. Throws like runBpftool, and E131 if the answer has another shape. */
export const askBpftool = <T>(shape: Shape<T>, ...argv: readonly string[]): Promise<T> =>
  launchBpftool(shape, argv, DIRECTLY)

/** Like askBpftool, through a launcher. `input` is for its stdin. */
export async function launchBpftool<T>(
  shape: Shape<T>,
  argv: readonly string[],
  launcher: Launcher,
  input?: Input,
): Promise<T> {
  const stdout = await runOne(argv, launcher, input)
  return understand('bpftool', `bpftool ${argv.join(' ')}`, () => shape(parseAnswer(stdout)))
}

/** A part that explains the failure of one of its commands. */
export interface ExplainedPart<T> extends Part<T> {
  readonly explain?: (error: CommandError) => unknown
}

/**
 * Runs parts in one bpftool process; returns the results of their `finish`, in order. Throws the error that the failed
 * part explains, else CommandError; the commands before it have taken effect. Throws E131 for an unusable answer.
 */
export async function runParts<T extends readonly unknown[]>(
  ...parts: { readonly [K in keyof T]: ExplainedPart<T[K]> }
): Promise<T> {
  const all = parts as readonly ExplainedPart<unknown>[]
  const outputs = await runBatch(all.flatMap(({ commands }) => commands)).catch((error: unknown) => {
    if (!(error instanceof CommandError) || error.position === undefined) throw error
    let position = error.position
    const failed = all.find(({ commands }) => {
      position -= commands.length
      return position < 0
    })
    throw failed?.explain?.(error) ?? error
  })
  let first = 0
  const results: unknown[] = []
  for (const { commands, finish } of all) {
    const own = outputs.slice(first, first + commands.length)
    first += commands.length
    results.push(await understand('bpftool', linesOf(commands), () => finish(own)))
  }
  return results as unknown as T
}

/** The first command of several, and their number. */
function linesOf(commands: readonly Command[]): string {
  const [first] = commands
  if (first === undefined) return 'bpftool batch'
  return `${commandLine(first)}${commands.length > 1 ? `, and ${commands.length - 1} more in its batch` : ''}`
}

/** Joins parts to one, with the results of all in order. */
export function joinParts<T extends readonly unknown[]>(...parts: { readonly [K in keyof T]: Part<T[K]> }): Part<T> {
  const all = parts as readonly Part<unknown>[]
  return {
    commands: all.flatMap(({ commands }) => commands),
    finish: (outputs) => {
      let first = 0
      const results = all.map(({ commands, finish }) => {
        const own = outputs.slice(first, first + commands.length)
        first += commands.length
        return finish(own)
      })
      return results as unknown as T
    },
  }
}

/** Returns the results of all, or throws the first failure, once all have settled. */
export async function allDone<T>(promises: readonly Promise<T>[]): Promise<T[]> {
  await Promise.allSettled(promises)
  return Promise.all(promises)
}

/**
 * Runs a batch, and the command in the arguments if it fails. The shell is in a process group of its own, so that it outlives
 * this process. $0 is bpftool, which it finds in the PATH of toolEnvironment.
 */
const GUARDED = '"$0" -j batch file - || { status=$?; "$0" -- "$@" >/dev/null 2>&1; exit $status; }'

/** The answer to a batch. The last element has no command if the batch itself failed. */
const batchAnswer = list(record({ command: optional(list(anything)), output: anything }))

/** Parses the answer to a batch. A failing bpftool may leave its JSON incomplete. Throws BadAnswer. */
function readBatch(stdout: string, exitCode: number, count: number): ReturnType<typeof batchAnswer> {
  if (exitCode !== 0) {
    const parsed = tryParse(stdout)
    return Array.isArray(parsed) ? batchAnswer(parsed) : []
  }
  const outputs = batchAnswer(parseAnswer(stdout))
  if (outputs.length < count) throw new BadAnswer(`it answers ${outputs.length} of ${count} commands`)
  return outputs
}

/**
 * Runs commands in one `bpftool -j batch` process and returns the JSON output of each. bpftool stops at the first
 * command that fails; the CommandError names it, and the ones before it have taken effect. Throws E131 if the answer is
 * no batch, or bpftool failed between commands.
 *
 * @param guard a command that a process of its own runs if the batch fails, even if this process has been killed
 */
export async function runBatch(
  commands: readonly Command[],
  { tool, argv }: Launcher = DIRECTLY,
  guard?: Command,
): Promise<unknown[]> {
  if (commands.length === 0) return []
  const input = `${commands.map(({ argv }) => argv.join(' ')).join('\n')}\n`
  const { stdout, stderr, exitCode } = await (guard === undefined
    ? spawnTool(tool, [...argv, '-j', 'batch', 'file', '-'], input)
    : spawnTool('sh', ['-c', GUARDED, 'bpftool', ...guard.argv], input))
  const outputs = await understand('bpftool', linesOf(commands), () => readBatch(stdout, exitCode, commands.length))
  const last = outputs.at(-1)
  const words = (): string => [stderrWords(stderr), errorOf(last?.output)].filter((word) => word).join('; ')
  const isBatch = last !== undefined && last.command === undefined
  // At the end of its input bpftool takes an errno that libbpf left behind (`prog loadall` does) for a failed read, and
  // adds an element without a command. It gets there only if every command has succeeded.
  const isDone = outputs.length === commands.length + 1 && isBatch
  if (exitCode !== 0 && !isDone) {
    if (isBatch) {
      const done = outputs.length - 1
      await understand('bpftool', linesOf(commands), () => {
        throw new BadAnswer(`it stopped after ${done} of ${commands.length} commands: ${words()}`)
      })
    }
    const position = Math.max(0, outputs.length - 1)
    const failed = commands[position]
    const error = new CommandError(failed ? commandLine(failed) : 'bpftool batch', exitCode, words())
    error.position = position
    throw error
  }
  return outputs.slice(0, commands.length).map(({ output }) => output)
}

/** Like runBatch, with the shape of every answer. Throws E131 also if one has another shape. */
export async function askBatch<T>(
  shape: Shape<T>,
  commands: readonly Command[],
  launcher: Launcher = DIRECTLY,
): Promise<T[]> {
  const outputs = await runBatch(commands, launcher)
  const answers: T[] = []
  for (const [i, output] of outputs.entries()) {
    answers.push(await understand('bpftool', commandLine(commands[i] as Command), () => shape(output)))
  }
  return answers
}

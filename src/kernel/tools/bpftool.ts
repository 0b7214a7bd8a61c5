// bpftool, one command or a batch of them in one process; everything as JSON.

import { type Command, commandLine, type Part } from '../../abi/command.ts'
import { CommandError, parseJson, spawnTool, stderrWords } from './spawn.ts'

const errorOf = (output: unknown): string | undefined => {
  if (typeof output !== 'object' || output === null || !('error' in output)) return undefined
  return String(output.error)
}

/**
 * Runs one `bpftool -j` command and returns its JSON (undefined where it prints none).
 * Throws CommandError with the kernel's words, XdpError E100 where bpftool is missing.
 */
export async function runBpftool(...argv: readonly string[]): Promise<unknown> {
  const { stdout, stderr, exitCode } = await spawnTool('bpftool', ['-j', ...argv])
  const output = stdout.trim().startsWith('{') || stdout.trim().startsWith('[') ? parseJson(stdout) : undefined
  if (exitCode !== 0) {
    const words = [stderrWords(stderr), errorOf(output)].filter((word) => word).join('; ')
    throw new CommandError(`bpftool ${argv.join(' ')}`, exitCode, words)
  }
  return output
}

/** A part that explains the failure of one of its commands. */
export interface ExplainedPart<T> extends Part<T> {
  readonly explain?: (error: CommandError) => unknown
}

/**
 * Runs parts in one bpftool process; returns the results of their `finish`, in order. Throws the error that the failed
 * part explains, else CommandError; the commands before it have taken effect.
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
  return joinParts<T>(...parts).finish(outputs)
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
 * Runs commands in one `bpftool -j batch` process and returns the JSON output of each. bpftool stops at the first
 * command that fails; the CommandError names it, and the ones before it have taken effect.
 */
export async function runBatch(commands: readonly Command[]): Promise<unknown[]> {
  if (commands.length === 0) return []
  const input = `${commands.map(({ argv }) => argv.join(' ')).join('\n')}\n`
  const { stdout, stderr, exitCode } = await spawnTool('bpftool', ['-j', 'batch', 'file', '-'], input)
  // A failing bpftool may leave its JSON incomplete.
  const outputs = (exitCode === 0 || stdout.trimEnd().endsWith(']') ? (parseJson(stdout) ?? []) : []) as {
    command?: unknown
    output: unknown
  }[]
  // At the end of its input bpftool takes an errno that libbpf left behind (`prog loadall` does) for a failed read, and
  // adds an element without a command. It gets there only if every command has succeeded.
  const isDone = outputs.length === commands.length + 1 && outputs.at(-1)?.command === undefined
  if (exitCode !== 0 && !isDone) {
    const position = Math.max(0, outputs.length - 1)
    const failed = commands[position]
    const words = [stderrWords(stderr), errorOf(outputs.at(-1)?.output)].filter((word) => word).join('; ')
    const error = new CommandError(failed ? commandLine(failed) : 'bpftool batch', exitCode, words)
    error.position = position
    throw error
  }
  return outputs.slice(0, commands.length).map(({ output }) => output)
}

// bpftool, one command or a batch of them in one process; everything as JSON.

import { CommandError, parseJson, spawnTool, stderrWords } from './spawn.ts'

/** One process to run: what `plan --commands` prints is what apply runs. */
export interface Command {
  readonly tool: 'bpftool' | 'ip'
  readonly argv: readonly string[]
}

export const bpftool = (...argv: readonly string[]): Command => ({ tool: 'bpftool', argv })
export const commandLine = ({ tool, argv }: Command): string => [tool, ...argv].join(' ')

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

/**
 * Runs commands in one `bpftool -j batch` process and returns the JSON output of each. bpftool stops at the first
 * command that fails; the CommandError names it, and the ones before it have taken effect.
 */
export async function runBatch(commands: readonly Command[]): Promise<unknown[]> {
  if (commands.length === 0) return []
  const input = `${commands.map(({ argv }) => argv.join(' ')).join('\n')}\n`
  const { stdout, stderr, exitCode } = await spawnTool('bpftool', ['-j', 'batch', 'file', '-'], input)
  // A bpftool that fails may not come to the end of its JSON.
  const outputs = (exitCode === 0 || stdout.trimEnd().endsWith(']') ? (parseJson(stdout) ?? []) : []) as {
    output: unknown
  }[]
  if (exitCode !== 0) {
    const failed = commands[Math.max(0, outputs.length - 1)]
    const words = [stderrWords(stderr), errorOf(outputs.at(-1)?.output)].filter((word) => word).join('; ')
    throw new CommandError(failed ? commandLine(failed) : 'bpftool batch', exitCode, words)
  }
  return outputs.map(({ output }) => output)
}

/** Something to ask bpftool in a batch with others: the commands, and what their outputs say. */
export interface Reading<T> {
  readonly commands: readonly Command[]
  readonly decode: (outputs: readonly unknown[]) => T | Promise<T>
}

/** Several readings as one. */
export const combine = <T>(readings: readonly Reading<T>[]): Reading<T[]> => ({
  commands: readings.flatMap(({ commands }) => commands),
  decode: (outputs) => {
    let at = 0
    const answers = readings.map(({ commands, decode }) => {
      at += commands.length
      return decode(outputs.slice(at - commands.length, at))
    })
    return Promise.all(answers)
  },
})

type Answers<T> = { [K in keyof T]: T[K] extends Reading<infer V> ? V : never }

/** Carries out several readings in one bpftool process; the answers in order. Throws as runBatch. */
export async function readBatch<T extends readonly Reading<unknown>[]>(...readings: T): Promise<Answers<T>> {
  const { commands, decode } = combine(readings)
  // The order is that of the readings, which no type of an array tells.
  return (await decode(await runBatch(commands))) as Answers<T>
}

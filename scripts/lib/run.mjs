// Child processes of the scripts: one way to run a command, and one way to report its failure.
import { spawn } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'
import { root } from './paths.mjs'

/** An expected failure: printed as its message alone, without a stack. */
export class ScriptError extends Error {}

/**
 * Runs `file args` in the repository and resolves to `{ status, stdout, stderr, output }`, whatever the exit status;
 * status is 127 if the program does not exist. With `inherit`, the child's output goes to the terminal instead.
 */
export function attempt(file, args, { inherit = false, ...options } = {}) {
  return new Promise((done) => {
    const child = spawn(file, args, {
      cwd: root,
      ...options,
      stdio: ['ignore', inherit ? 'inherit' : 'pipe', inherit ? 'inherit' : 'pipe'],
    })
    const parts = { stdout: '', stderr: '', output: '' }
    for (const stream of ['stdout', 'stderr']) {
      child[stream]?.setEncoding('utf8').on('data', (text) => {
        parts[stream] += text
        parts.output += text
      })
    }
    child.on('error', (error) => done({ status: 127, ...parts, output: `${file}: ${error.message}` }))
    child.on('close', (code, signal) => done({ status: code ?? 128, signal, ...parts }))
  })
}

/** Like `attempt`, but throws a ScriptError with the command and all its output if it fails. */
export async function run(file, args, options = {}) {
  const result = await attempt(file, args, options)
  if (result.status === 0) return result
  const how = result.signal ? `was killed by ${result.signal}` : `failed with status ${result.status}`
  throw new ScriptError(`${[file, ...args].join(' ')}\n${how}${result.output ? `:\n${result.output.trimEnd()}` : ''}`)
}

/** The full path of a program, or undefined. */
export function which(name) {
  for (const directory of (process.env.PATH ?? '').split(delimiter)) {
    const path = join(directory, name)
    try {
      accessSync(path, constants.X_OK)
      return path
    } catch {}
  }
  return undefined
}

/** Runs a script's main function; its failure becomes one message and exit status 1. */
export async function main(body) {
  try {
    await body()
  } catch (error) {
    console.error(error instanceof ScriptError ? `error: ${error.message}` : error)
    process.exitCode = 1
  }
}

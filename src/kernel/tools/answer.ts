// Where the answers of tools enter: JSON is parsed and read by the shape that its caller declares; files that a program
// wrote have the size that it announced. An unusable answer becomes one error with the version of the tool.

import { readFileSync } from 'node:fs'
import { BadAnswer } from '../../abi/answer.ts'
import { fail } from '../../diagnostics.ts'
import { shielded } from './interrupt.ts'
import { spawnTool } from './spawn.ts'

/** Characters that JSON forbids in texts, but those that may be between its words: ip and bpftool write these escaped. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: it looks for them
const RAW = /[\u0000-\u0008\u000b\u000c\u000e-\u001f]/g

const escaped = (character: string): string => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`

/**
 * Parses JSON of a tool. Names of interfaces and processes may have control characters, which ip and bpftool print as they
 * are: one odd name must not hide all others. Throws SyntaxError.
 */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    const repaired = text.replace(RAW, escaped)
    if (repaired === text) throw error
    return JSON.parse(repaired)
  }
}

/** Parses a document; undefined for empty text. Throws BadAnswer. */
export function parseAnswer(text: string): unknown {
  if (text.trim() === '') return undefined
  try {
    return parseJson(text)
  } catch {
    const begin = text.trim().slice(0, 60)
    throw new BadAnswer(`it is not JSON, or not all of it; it begins with ${JSON.stringify(begin)}`)
  }
}

/** The name of a tool with its version, as far as it says that. */
async function versionOf(tool: string): Promise<string> {
  try {
    const { stdout } = await shielded(() => spawnTool(tool, [tool === 'ip' ? '-V' : 'version']))
    // bpftool prints the path that it was started by.
    const [first = ''] = stdout
      .trim()
      .replace(/^\S*\//, '')
      .split('\n')
    return first.startsWith(tool) && first.length < 100 ? first : tool
  } catch {
    return `${tool} of unknown version`
  }
}

/** E131. */
async function unusable(tool: string, line: string, error: BadAnswer): Promise<Error> {
  const short = line.length > 200 ? `${line.slice(0, 200)} …` : line
  return fail(
    'E131',
    `${await versionOf(tool)} gave an unusable answer to \`${short}\`: ${error.message}`,
    'run it by hand to see its answer; `xdp doctor` lists the versions that are tested',
    error,
  )
}

/** Runs `read`, and turns a BadAnswer into E131 about the command line. */
export async function understand<T>(tool: string, line: string, read: () => T): Promise<T> {
  try {
    return read()
  } catch (error) {
    throw error instanceof BadAnswer ? await unusable(tool, line, error) : error
  }
}

/** Reads the output that `prog run` wrote to a file, of at least `size` bytes. Throws BadAnswer. */
export function readOutput(file: string, size: number): Buffer {
  let found: Buffer
  try {
    found = readFileSync(file)
  } catch {
    throw new BadAnswer('it wrote no output of the program')
  }
  if (found.length < size) throw new BadAnswer(`the output of the program has ${found.length} bytes, not ${size}`)
  return found
}

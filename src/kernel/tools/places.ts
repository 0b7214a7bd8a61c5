// Finds the tools that this process runs, mostly as root, and makes their environment. Neither depends on the PATH of the
// caller: an empty element or `.` in it would run a file of the working directory.

import { accessSync, constants, statSync } from 'node:fs'
import { fail, type XdpError } from '../../diagnostics.ts'
import { installHint } from './packages.ts'

/** The variable that names directories to search first, separated by colons. */
const VARIABLE = 'XDP_TOOLS_PATH'

/** Directories that only root may write to. Those of the distribution come before /usr/local. */
const DIRECTORIES: readonly string[] = [
  ...['/usr/sbin', '/usr/bin', '/sbin', '/bin'],
  ...['/usr/local/sbin', '/usr/local/bin'],
]

/** E100. `isThere`: the file exists, but may not be executed. */
export function notInstalled(tool: string, isThere: boolean): XdpError {
  return fail('E100', `${tool} is not installed${isThere ? ', or may not be executed' : ''}`, installHint(tool))
}

/** The directories of tools, in the order of search. Throws E300 if XDP_TOOLS_PATH names one by a relative path. */
export function toolDirectories(): readonly string[] {
  const named = process.env[VARIABLE] ?? ''
  if (named === '') return DIRECTORIES
  const parts = named.split(':')
  const relative = parts.find((part) => !part.startsWith('/'))
  if (relative === undefined) return [...parts, ...DIRECTORIES]
  throw fail(
    'E300',
    `${VARIABLE} contains "${relative}", which is not an absolute path`,
    `name absolute directories, separated by colons: ${VARIABLE}=/opt/bpftool/bin:/opt/iproute2/sbin`,
  )
}

/** The complete environment of a tool; LC_ALL keeps its messages in English. Throws like toolDirectories. */
export const toolEnvironment = (): Record<string, string> => ({ PATH: toolDirectories().join(':'), LC_ALL: 'C' })

function isFile(path: string): boolean {
  try {
    return statSync(path, { throwIfNoEntry: false })?.isFile() === true
  } catch {
    // A directory that this user may not enter.
    return false
  }
}

function mayExecute(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/** The absolute path of a tool. Throws E100 if it is missing or may not be executed, E300 like toolDirectories. */
export function findTool(tool: string): string {
  const paths = toolDirectories().map((directory) => `${directory}/${tool}`)
  const there = paths.filter(isFile)
  const found = there.find(mayExecute)
  if (found === undefined) throw notInstalled(tool, there.length > 0)
  return found
}

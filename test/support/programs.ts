// Optional programs that tests use, and those in C beside this file.

import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync } from 'node:fs'
import { basename, join } from 'node:path'

const BUILT = join(import.meta.dirname, '../../build/test/programs')

/** Whether a program runs when asked for its version. */
export function runs(file: string, args: readonly string[]): boolean {
  try {
    execFileSync(file, [...args], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

/** The path of a program, by the name of its source. It is compiled once for all tests. */
export function compiled(name: string): string {
  const source = join(import.meta.dirname, name)
  const digest = createHash('sha256').update(readFileSync(source)).digest('hex').slice(0, 16)
  const program = join(BUILT, `${basename(name, '.c')}-${digest}`)
  if (!existsSync(program)) {
    mkdirSync(BUILT, { recursive: true })
    // Another process may compile it meanwhile.
    const own = `${program}.${process.pid}`
    execFileSync('clang', ['-O2', '-o', own, source])
    renameSync(own, program)
  }
  return program
}

// Optional programs that tests use.

import { execFileSync } from 'node:child_process'

/** Whether a program runs when asked for its version. */
export function runs(file: string, args: readonly string[]): boolean {
  try {
    execFileSync(file, [...args], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

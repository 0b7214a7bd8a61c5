// Runs once before and after the suites: removes the namespaces and directories of test processes that were killed, which
// could not remove them themselves. Their names hold the pid of their process.

import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const NAMESPACES = '/run/netns'
const NAMESPACE = /^xdp(\d+)-\d+[hnp]$/
const DIRECTORY = /^xdp-lab-(\d+)-/

/** The names in a directory whose process is gone. */
function orphans(directory: string, pattern: RegExp): string[] {
  const names = existsSync(directory) ? readdirSync(directory) : []
  return names.filter((name) => {
    const pid = pattern.exec(name)?.[1]
    return pid !== undefined && !existsSync(`/proc/${pid}`)
  })
}

function attempt(file: string, ...args: readonly string[]): void {
  try {
    execFileSync(file, args, { stdio: 'ignore' })
  } catch {
    // Another run removes it, too.
  }
}

function sweep(): void {
  if (process.getuid?.() !== 0) return
  for (const name of orphans(NAMESPACES, NAMESPACE)) attempt('ip', 'netns', 'del', name)
  for (const name of orphans(tmpdir(), DIRECTORY)) {
    const directory = join(tmpdir(), name)
    attempt('umount', join(directory, 'bpffs'))
    rmSync(directory, { recursive: true, force: true })
  }
}

export const setup = sweep
export const teardown = sweep

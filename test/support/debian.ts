// Debian packages for tests, unpacked into a directory of our own and never installed: that would start services on the
// machine of whoever runs the tests.

import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const BUILD = fileURLToPath(new URL('../../build', import.meta.url))
const quiet = { stdio: 'ignore' } as const
const DOWNLOAD_MS = 60_000

/** The root of the unpacked package, kept for the next run; undefined where the package cannot be had. */
export function unpacked(name: string): string | undefined {
  const root = join(BUILD, name)
  if (existsSync(root)) return root
  const work = `${root}.${process.pid}`
  mkdirSync(work, { recursive: true })
  try {
    execFileSync('apt-get', ['-qq', 'download', name], { ...quiet, cwd: work, timeout: DOWNLOAD_MS })
    const archive = readdirSync(work).find((file) => file.endsWith('.deb'))
    execFileSync('dpkg-deb', ['-x', archive ?? '', join(work, 'root')], { ...quiet, cwd: work })
    renameSync(join(work, 'root'), root)
    return root
  } catch {
    return undefined
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

/** Whether a program runs when asked for its version. */
export function runs(file: string, args: readonly string[], env?: NodeJS.ProcessEnv): boolean {
  try {
    execFileSync(file, [...args], { ...quiet, ...(env ? { env } : {}) })
    return true
  } catch {
    return false
  }
}

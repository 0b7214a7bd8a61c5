// Debian's fail2ban: the installed one, or the package unpacked into a directory of our own. It is never installed,
// because that would start a service on the machine of whoever runs the tests.

import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const CACHE = fileURLToPath(new URL('../../build/fail2ban', import.meta.url))
const PACKAGES = 'usr/lib/python3/dist-packages'

export interface Fail2ban {
  /** argv in front of the arguments of fail2ban-server and of fail2ban-client. */
  readonly server: readonly string[]
  readonly client: readonly string[]
  /** Where its own filters and jails are. */
  readonly configuration: string
  readonly env: Readonly<Record<string, string>>
}

const quiet = { stdio: 'ignore' } as const

function isInstalled(): boolean {
  try {
    execFileSync('fail2ban-server', ['--version'], quiet)
    return true
  } catch {
    return false
  }
}

function unpack(): void {
  const work = `${CACHE}.${process.pid}`
  mkdirSync(work, { recursive: true })
  try {
    execFileSync('apt-get', ['-qq', 'download', 'fail2ban'], { ...quiet, cwd: work, timeout: 30_000 })
    const archive = readdirSync(work).find((name) => name.endsWith('.deb'))
    execFileSync('dpkg-deb', ['-x', archive ?? '', join(work, 'root')], { ...quiet, cwd: work })
    renameSync(join(work, 'root'), CACHE)
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

/** fail2ban, or why there is none. */
export function findFail2ban(): Fail2ban | string {
  if (isInstalled()) {
    return { server: ['fail2ban-server'], client: ['fail2ban-client'], configuration: '/etc/fail2ban', env: {} }
  }
  try {
    if (!existsSync(CACHE)) unpack()
    const env = { PYTHONPATH: join(CACHE, PACKAGES) }
    const [server, client] = ['server', 'client'].map((name) => ['python3', join(CACHE, `usr/bin/fail2ban-${name}`)])
    execFileSync('python3', [join(CACHE, 'usr/bin/fail2ban-server'), '--version'], {
      ...quiet,
      env: { ...process.env, ...env },
    })
    return { server: server ?? [], client: client ?? [], configuration: join(CACHE, 'etc/fail2ban'), env }
  } catch {
    return 'fail2ban is not installed, and its Debian package cannot be had'
  }
}

// Debian's fail2ban: the installed one, or the package unpacked into a directory of ours.

import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { unpacked } from './debian.ts'

const PACKAGES = 'usr/lib/python3/dist-packages'

export interface Fail2ban {
  /** Arguments before those of fail2ban-server and of fail2ban-client. */
  readonly server: readonly string[]
  readonly client: readonly string[]
  /** Directory of its filters and jails. */
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

/** Finds fail2ban, or returns the reason why there is none. */
export function findFail2ban(): Fail2ban | string {
  if (isInstalled()) {
    return { server: ['fail2ban-server'], client: ['fail2ban-client'], configuration: '/etc/fail2ban', env: {} }
  }
  const packages = unpacked('fail2ban')
  if ('reason' in packages) return packages.reason
  const { root } = packages
  const env = { PYTHONPATH: join(root, PACKAGES) }
  const [server, client] = ['server', 'client'].map((name) => ['python3', join(root, `usr/bin/fail2ban-${name}`)])
  try {
    execFileSync('python3', [join(root, 'usr/bin/fail2ban-server'), '--version'], {
      ...quiet,
      env: { ...process.env, ...env },
    })
  } catch {
    return 'fail2ban does not run here'
  }
  return { server: server ?? [], client: client ?? [], configuration: join(root, 'etc/fail2ban'), env }
}

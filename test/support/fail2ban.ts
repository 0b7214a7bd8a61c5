// Debian's fail2ban: the installed one, or the package unpacked.

import { join } from 'node:path'
import { runs, unpacked } from './debian.ts'

const PACKAGES = 'usr/lib/python3/dist-packages'

export interface Fail2ban {
  /** argv in front of the arguments of fail2ban-server and of fail2ban-client. */
  readonly server: readonly string[]
  readonly client: readonly string[]
  /** Where its own filters and jails are. */
  readonly configuration: string
  readonly env: Readonly<Record<string, string>>
}

/** fail2ban, or why there is none. */
export function findFail2ban(): Fail2ban | string {
  if (runs('fail2ban-server', ['--version'])) {
    return { server: ['fail2ban-server'], client: ['fail2ban-client'], configuration: '/etc/fail2ban', env: {} }
  }
  const root = unpacked('fail2ban')
  const env = { PYTHONPATH: join(root ?? '', PACKAGES) }
  const [server = [], client = []] = ['server', 'client'].map((name) => [
    'python3',
    join(root ?? '', `usr/bin/fail2ban-${name}`),
  ])
  if (root && runs('python3', [server[1] ?? '', '--version'], { ...process.env, ...env }))
    return { server, client, configuration: join(root, 'etc/fail2ban'), env }
  return 'fail2ban is not installed, and its Debian package cannot be had'
}

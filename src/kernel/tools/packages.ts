// The packages of the tools that xdp runs, by distribution, and the commands that install them.

import { readFileSync } from 'node:fs'

type Packages = Readonly<Record<string, string>>

/** Debian's names; those of most others are the same. */
const COMMON: Packages = {
  ip: 'iproute2',
  nft: 'nftables',
  'xdp-filter': 'xdp-tools',
  'iptables-save': 'iptables',
  'ip6tables-save': 'iptables',
  'systemd-run': 'systemd',
  'systemd-notify': 'systemd',
  getent: 'libc-bin',
  ...Object.fromEntries(['flock', 'setsid', 'setpriv', 'nsenter', 'unshare'].map((tool) => [tool, 'util-linux'])),
}

const GLIBC = { getent: 'glibc' } as const

interface Distribution {
  readonly ids: RegExp
  readonly install: string
  readonly packages?: Packages
}

/** By ID or ID_LIKE of os-release(5); the first match wins. */
const DISTRIBUTIONS: readonly Distribution[] = [
  { ids: /\bubuntu\b/, install: 'apt-get install', packages: { bpftool: 'linux-tools-$(uname -r)' } },
  { ids: /\bdebian\b/, install: 'apt-get install' },
  {
    ids: /\b(?:fedora|rhel|centos)\b/,
    install: 'dnf install',
    packages: {
      ip: 'iproute',
      getent: 'glibc-common',
      'iptables-save': 'iptables-nft',
      'ip6tables-save': 'iptables-nft',
    },
  },
  { ids: /\bsuse\b/, install: 'zypper install', packages: GLIBC },
  { ids: /\barch\b/, install: 'pacman -S', packages: { ...GLIBC, bpftool: 'bpf' } },
  {
    ids: /\balpine\b/,
    install: 'apk add',
    packages: { flock: 'flock', setpriv: 'setpriv', setsid: 'setsid', getent: 'musl-utils' },
  },
]

const UNKNOWN: Distribution = { ids: /$/, install: 'install the package' }

/** The command that installs a tool, by the content of /etc/os-release. */
export function installCommand(osRelease: string, tool: string): string {
  const ids = [...osRelease.matchAll(/^ID(?:_LIKE)?="?([^"\n]*)"?$/gm)].map(([, id]) => id).join(' ')
  const { install, packages } = DISTRIBUTIONS.find((one) => one.ids.test(ids)) ?? UNKNOWN
  return `${install} ${packages?.[tool] ?? COMMON[tool] ?? tool}`
}

/** The command that installs a tool on this host. */
export function installHint(tool: string): string {
  let osRelease = ''
  try {
    osRelease = readFileSync('/etc/os-release', 'utf8')
  } catch {
    // A system without it, or a root of another file system.
  }
  return installCommand(osRelease, tool)
}

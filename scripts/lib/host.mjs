// Requirements of the host: how to detect each, and how to install it. No dependencies: this runs before `npm ci`.
import { existsSync, readFileSync, statfsSync } from 'node:fs'
import { attempt, run, ScriptError, which } from './run.mjs'

const BPFFS = '/sys/fs/bpf'
const BPF_FS_MAGIC = 0xcafe4a11

// Detected by the tool or file itself, so that a host that has it from another source is left alone.
const tool = (name, ...packages) => ({ name, present: () => which(name) !== undefined, packages })
const header = (name, ...packages) => ({
  name: `<${name}>`,
  present: () => existsSync(`/usr/include/${name}`) || existsSync(`/usr/local/include/${name}`),
  packages,
})

/** Needed for building and testing. */
export const NEEDS = [
  tool('clang', 'clang'),
  tool('llvm-strip', 'llvm'),
  header('bpf/bpf_helpers.h', 'libbpf-dev'),
  header('linux/bpf.h', 'linux-libc-dev'),
  tool('bpftool', 'bpftool'),
  tool('ip', 'iproute2'),
  tool('ethtool', 'ethtool'),
  tool('ping', 'iputils-ping'),
  tool('nsenter', 'util-linux'),
  tool('sysctl', 'procps'),
  tool('nft', 'nftables'),
  tool('iptables-restore', 'iptables'),
  tool('ipset', 'ipset'),
  tool('perl', 'perl-base'),
  tool('openssl', 'openssl'),
  tool('nginx', 'nginx-light'),
  tool('dnsmasq', 'dnsmasq-base'),
  tool('tmux', 'tmux'),
]

/** Needed for booting another kernel. */
export const KERNEL_NEEDS = [
  tool('qemu-system-x86_64', 'qemu-system-x86'),
  tool('busybox', 'busybox-static'),
  tool('ethtool', 'ethtool'),
  tool('wg', 'wireguard-tools'),
  tool('xz', 'xz-utils'),
  tool('zstd', 'zstd'),
]

/** Needed for a guest of another architecture, and for building the executable for it. */
export const ARM_NEEDS = [
  tool('qemu-system-aarch64', 'qemu-system-arm'),
  {
    name: 'qemu-aarch64-static',
    present: () =>
      which('qemu-aarch64-static') !== undefined && existsSync('/usr/aarch64-linux-gnu/lib/libstdc++.so.6'),
    packages: ['qemu-user-static', 'libc6-arm64-cross', 'libstdc++6-arm64-cross', 'libgcc-s1-arm64-cross'],
  },
]

/** Another user of XDP, whose programs run behind ours in a guest. */
export const LIBXDP_NEEDS = [tool('xdp-filter', 'xdp-tools')]

/** Needed for comparing an import with the kernel's own balancer. */
export const IPVS_NEEDS = [
  ...KERNEL_NEEDS.filter(({ name }) => name !== 'ethtool' && name !== 'wg'),
  tool('ipvsadm', 'ipvsadm'),
  tool('keepalived', 'keepalived'),
]

export const isRoot = () => process.getuid?.() === 0

/** Whether this is Debian or a derivative, by the tools that an installation needs. */
export const hasApt = () => which('apt-get') !== undefined && which('dpkg-query') !== undefined

/** Package names of this distribution: Ubuntu ships bpftool with the tools of each kernel. */
async function translate(packages) {
  if (!packages.includes('bpftool')) return packages
  const { stdout } = await attempt('apt-cache', ['policy', 'bpftool'])
  if (/Candidate: (?!\(none\))/.test(stdout)) return packages
  const { stdout: release } = await attempt('uname', ['-r'])
  return [...packages.filter((name) => name !== 'bpftool'), 'linux-tools-common', `linux-tools-${release.trim()}`]
}

const APT = ['-qq', '-o', 'Dpkg::Use-Pty=0', '-o', 'DPkg::Lock::Timeout=300']

/** Installs missing `needs` with apt. Throws ScriptError with the packages to install if it cannot. */
export async function install(needs, log = console.log) {
  const missing = needs.filter(({ present }) => !present())
  if (missing.length === 0) return
  const names = missing.map(({ name }) => name).join(', ')
  const packages = [...new Set(missing.flatMap((need) => need.packages))]
  if (!hasApt()) {
    const hint = `on Debian, the packages are: ${packages.join(' ')}`
    throw new ScriptError(`missing: ${names}. Install them with this system's package manager (${hint}).`)
  }
  if (!isRoot()) {
    throw new ScriptError(
      `missing: ${names}. Run as root: apt-get install --no-install-recommends ${packages.join(' ')}`,
    )
  }
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  log(`setup: installing ${packages.join(' ')}`)
  await run('apt-get', [...APT, 'update'], { env })
  const wanted = await translate(packages)
  await run('apt-get', [...APT, 'install', '-y', '--no-install-recommends', ...wanted], { env })
  const still = missing.filter(({ present }) => !present()).map(({ name }) => name)
  if (still.length > 0) throw new ScriptError(`still missing after installing ${wanted.join(' ')}: ${still.join(', ')}`)
}

/** Mounts the BPF file system at its usual path. Returns the reason if that is not possible, else undefined. */
export async function mountBpffs(log = console.log) {
  const mounted = () => existsSync(BPFFS) && statfsSync(BPFFS).type === BPF_FS_MAGIC
  if (mounted()) return undefined
  if (!existsSync(BPFFS)) return `${BPFFS} does not exist: this kernel has no BPF file system`
  if (!isRoot()) return `no BPF file system at ${BPFFS}; as root: mount -t bpf bpf ${BPFFS}`
  const { status, output } = await attempt('mount', ['-t', 'bpf', 'bpf', BPFFS])
  if (status !== 0 || !mounted()) return `mounting the BPF file system at ${BPFFS} failed: ${output.trim()}`
  log(`setup: mounted ${BPFFS}`)
  return undefined
}

/** The reason why programs cannot be loaded here; undefined if they can. */
export async function whyNoBpf() {
  if (process.platform !== 'linux') return `needs Linux, this is ${process.platform}`
  if (!isRoot()) return 'needs root'
  const { status, output } = await attempt('bpftool', ['prog', 'show'])
  if (status !== 0) return `the bpf system call is not allowed here: ${output.trim()}`
  return mountBpffs()
}

/** The fields of /etc/os-release. */
export function osRelease() {
  const text = existsSync('/etc/os-release') ? readFileSync('/etc/os-release', 'utf8') : ''
  return Object.fromEntries([...text.matchAll(/^(\w+)="?([^"\n]*)"?$/gm)].map(([, key, value]) => [key, value]))
}

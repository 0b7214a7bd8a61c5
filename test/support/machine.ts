// A machine built from this one: its files, and missing Debian packages, below a layer that takes every write. Commands
// run in it as root without touching the host, and it can boot systemd. Everything is mounted in a mount namespace that
// ends with one process of ours, so that nothing is left, however a test ends.

import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { unpacked } from './debian.ts'
import { capture, type Lab, type Output } from './hosts.ts'

/** Debian's PATH for root. */
const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/** Home of root in the machine. */
const HOME = '/srv/admin'

/**
 * Mounts the machine at $1/root, over the root in $BASE. $2…: directories whose content is mounted on top. The machine must not start or mount
 * this host's boot-time services and file systems.
 */
const MOUNT = `set -e
dir=$1; shift
mount -t tmpfs -o mode=0755 tmpfs "$dir"
mkdir "$dir/upper" "$dir/work" "$dir/root"
for layer; do cp -a "$layer/." "$dir/upper/"; done
mount -t overlay overlay -o "lowerdir=$BASE,upperdir=$dir/upper,workdir=$dir/work" "$dir/root"
cd "$dir/root"
rm -rf etc/systemd/system etc/rc?.d etc/xdp etc/machine-id usr/local/sbin/xdp usr/local/bin/xdp
mkdir -p etc/systemd/system etc/xdp sys/fs/bpf run tmp proc dev .${HOME}
: > etc/fstab; : > etc/crypttab; : > etc/machine-id`

/** Mounts for commands without a boot. */
const MOUNT_API = `mount --rbind /proc proc; mount --rbind /sys sys; mount --rbind /dev dev
mount -t tmpfs tmpfs run; mount -t tmpfs -o mode=1777 tmpfs tmp; mkdir run/lock`

const HOLD = 'echo mounted; exec cat'

/** Settings that make Ansible start fewer processes. */
export const QUICK_ANSIBLE = ['ANSIBLE_PIPELINING=1', 'ANSIBLE_PYTHON_INTERPRETER=/usr/bin/python3'] as const

interface Parts {
  /** Debian packages that it needs, besides those of the host. */
  readonly packages: readonly string[]
  /** Owner of the machine's network and bpffs. */
  readonly lab: Lab
  /** Whether it will boot. */
  readonly boots?: boolean
  /** The root that it is built from, without a Node of ours; the host's if absent. */
  readonly base?: string
}

export class Machine {
  readonly #lab: Lab
  readonly #directory: string
  readonly #layers: readonly string[]
  readonly #holder: ChildProcess
  #nspawn: ChildProcess | undefined
  #leader: number | undefined
  #said = ''

  private constructor(lab: Lab, directory: string, layers: readonly string[], holder: ChildProcess) {
    this.#lab = lab
    this.#directory = directory
    this.#layers = layers
    this.#holder = holder
  }

  /** Creates a machine, or returns why that is not possible here. */
  static async make({ packages, lab, boots = false, base }: Parts): Promise<Machine | string> {
    const layers: string[] = []
    for (const one of boots ? ['systemd systemd-sysv systemd-container dbus', ...packages] : packages) {
      const found = unpacked(...one.split(' '))
      if ('reason' in found) return found.reason
      layers.push(found.root)
    }
    const directory = join(lab.directory, 'machine')
    mkdirSync(directory)
    const script = [MOUNT, ...(boots ? [] : [MOUNT_API, 'mount --bind "$BPFFS" sys/fs/bpf']), HOLD].join('\n')
    // Another root has its own packages; only the tool that boots it comes from ours.
    const copied = base === undefined ? layers : []
    const argv = ['--mount', '--propagation', 'private', 'sh', '-c', script, 'sh', directory, ...copied]
    const holder = spawn('unshare', argv, {
      stdio: 'pipe',
      env: { ...process.env, BPFFS: lab.bpffs, BASE: base ?? '/' },
    })
    let said = ''
    holder.stderr.on('data', (data) => {
      said += data
    })
    const ended = once(holder, 'close').then(() => `no overlay can be mounted here: ${said.trim()}`)
    const reason = await Promise.race([ended, once(holder.stdout, 'data').then(() => undefined)])
    if (reason !== undefined) return reason
    const machine = new Machine(lab, directory, layers, holder)
    if (base === undefined) machine.#provideNode()
    return machine
  }

  /** The Node and the npm that run the tests may be outside the machine's PATH, or on a path that is empty in it. */
  #provideNode(): void {
    const node = this.path('/usr/local/bin/node')
    if (![this.path('/usr/bin/node'), node].some((path) => existsSync(path))) cpSync(process.execPath, node)
    const npm = process.env['npm_execpath']
    if (['bin', 'local/bin'].some((name) => existsSync(this.path(`/usr/${name}/npm`))) || npm === undefined) return
    this.copy(dirname(dirname(npm)), '/usr/local/lib/npm')
    this.write('/usr/local/bin/npm', '#!/bin/sh\nexec node /usr/local/lib/npm/bin/npm-cli.js "$@"\n', 0o755)
  }

  /** A path of the machine as seen by this process. */
  path(inside: string): string {
    return join(`/proc/${this.#holder.pid}/root`, this.#directory, 'root', inside)
  }

  write(inside: string, text: string, mode = 0o644): void {
    mkdirSync(dirname(this.path(inside)), { recursive: true })
    writeFileSync(this.path(inside), text, { mode })
  }

  copy(from: string, inside: string): void {
    mkdirSync(dirname(this.path(inside)), { recursive: true })
    cpSync(from, this.path(inside), { recursive: true })
  }

  read(inside: string): string {
    return readFileSync(this.path(inside), 'utf8')
  }

  /** Installs a packed tarball as `npm install --global` would, but faster and before a boot. */
  install(tarball: string): void {
    const [target, bin] = ['/usr/local/lib/node_modules/xdp-as-code', '/usr/local/bin/xdp'] as const
    mkdirSync(this.path(target), { recursive: true })
    execFileSync('tar', ['-xzf', tarball, '--strip-components=1', '--directory', this.path(target)])
    mkdirSync(dirname(this.path(bin)), { recursive: true })
    symlinkSync(`${target}/dist/xdp.js`, this.path(bin))
    for (const [section, name] of [
      ['8', 'xdp.8'],
      ['5', 'xdp.yaml.5'],
    ] as const)
      this.copy(this.path(`${target}/dist/man/${name}`), `/usr/local/share/man/man${section}/${name}`)
  }

  /** Enables a unit, as `systemctl enable` does in a running machine. */
  enable(unit: string, target: string): void {
    mkdirSync(this.path(`/etc/systemd/system/${target}.wants`), { recursive: true })
    symlinkSync(`/etc/systemd/system/${unit}`, this.path(`/etc/systemd/system/${target}.wants/${unit}`))
  }

  /**
   * Arguments that run the words behind them in the machine, as root in HOME.
   *
   * @param online with the network of this host, for downloads
   */
  argv(env: Readonly<Record<string, string>> = {}, online = false): string[] {
    const net = online ? [] : [`--net=/run/netns/${this.#lab.host}`]
    const where =
      this.#leader === undefined
        ? [`--mount=/proc/${this.#holder.pid}/ns/mnt`, ...net]
        : ['--target', `${this.#leader}`, '--mount', '--pid', '--ipc', '--uts', '--cgroup', ...net]
    const root = this.#leader === undefined ? ['chroot', join(this.#directory, 'root')] : []
    const variables = { PATH, HOME, LC_ALL: 'C.UTF-8', TERM: 'dumb', ...env }
    const set = Object.entries(variables).map(([name, value]) => `${name}=${value}`)
    return ['nsenter', ...where, ...root, 'env', '--ignore-environment', `--chdir=${HOME}`, ...set]
  }

  /** Runs a command in the machine. */
  async run(...words: readonly string[]): Promise<Output> {
    const [file = '', ...args] = [...this.argv(), ...words]
    return capture(file, args)
  }

  /** Runs a command in the machine with the network of this host. */
  async online(...words: readonly string[]): Promise<Output> {
    const [file = '', ...args] = [...this.argv({}, true), ...words]
    return capture(file, args)
  }

  /** Runs a command in the machine and expects exit status 0; returns stdout. */
  async ok(...words: readonly string[]): Promise<string> {
    const { exitCode, stdout, stderr } = await this.run(...words)
    if (exitCode !== 0) throw new Error(`${words.join(' ')} exited with ${exitCode}\n${stdout}\n${stderr}`)
    return stdout
  }

  /** Boots systemd, and unless `wait` is false, waits until it reports that all units are up. */
  async boot({ wait = true } = {}): Promise<void> {
    const libraries = this.#layers.flatMap(librariesOf)
    const local = this.#layers.map((layer) => join(layer, 'usr/bin/systemd-nspawn')).find((path) => existsSync(path))
    const underSystemd = existsSync('/run/systemd/system')
    const nspawn = [
      ...[local ?? 'systemd-nspawn', '--quiet', '--boot', `--directory=${join(this.#directory, 'root')}`],
      ...[`--machine=${this.#lab.host}`, `--network-namespace-path=/run/netns/${this.#lab.host}`],
      ...[`--bind=${this.#lab.bpffs}:/sys/fs/bpf`, '--capability=all', '--system-call-filter=bpf'],
      ...['--register=no', '--console=pipe', '--resolv-conf=off', '--timezone=off', '--link-journal=no'],
      // Without a systemd outside, no process can provide a scope: it stays in the control group that we create.
      ...(underSystemd ? [] : ['--keep-unit']),
    ]
    const own = CGROUPS.map(
      (root) => `mkdir -p ${root}/${this.#lab.host}; echo $$ > ${root}/${this.#lab.host}/cgroup.procs`,
    )
    const script = [...(underSystemd ? [] : own), 'exec "$@"'].join('\n')
    const argv = [`--mount=/proc/${this.#holder.pid}/ns/mnt`, 'sh', '-c', script, 'sh', ...nspawn]
    const child = spawn('nsenter', argv, {
      env: {
        ...process.env,
        ...(local ? { LD_LIBRARY_PATH: libraries.join(':') } : {}),
        SYSTEMD_NSPAWN_UNIFIED_HIERARCHY: HAS_CGROUP2 ? '1' : '0',
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.#nspawn = child
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (data) => {
        this.#said += data
      })
    }
    const ended = once(child, 'close').then(() => {
      throw new Error(`systemd does not boot here: ${this.#said}`)
    })
    await Promise.race([ended, this.#isUp(wait)])
    ended.catch(() => undefined)
  }

  /** Waits until systemd answers, and with `whole` until it has started all of its units. */
  async #isUp(whole: boolean): Promise<void> {
    for (;;) {
      this.#leader = childrenOf(this.#nspawn?.pid).at(-1)
      const question = whole ? ['is-system-running', '--wait'] : ['is-system-running']
      const { stdout } = this.#leader === undefined ? { stdout: '' } : await this.run('systemctl', ...question)
      if (/^(?:running|degraded|starting)$/m.test(stdout)) return
      await setTimeout(100)
    }
  }

  /** The journal of a unit. */
  journal(unit: string): Promise<string> {
    return this.ok('journalctl', '--unit', unit, '--output', 'cat', '--no-pager')
  }

  async close(): Promise<void> {
    if (this.#nspawn && this.#nspawn.exitCode === null) {
      const closed = once(this.#nspawn, 'close')
      // The end of its first process ends all others of the machine. It contains nothing worth a clean shutdown.
      if (this.#leader !== undefined) kill(this.#leader)
      else this.#nspawn.kill('SIGKILL')
      await closed
    }
    const closed = once(this.#holder, 'close')
    this.#holder.stdin?.end()
    this.#holder.kill('SIGKILL')
    await closed
    for (const root of CGROUPS) removeGroup(join(root, this.#lab.host))
  }
}

const MOUNTS = readFileSync('/proc/mounts', 'utf8')
  .split('\n')
  .map((line) => line.split(' '))
const HAS_CGROUP2 = MOUNTS.some(([, , type]) => type === 'cgroup2')

/** Releases of Debian that packages are tested on; `boots`: with their systemd, which in newer ones needs cgroup2. */
export const RELEASES = [
  { release: 'bookworm', boots: true },
  { release: 'trixie', boots: HAS_CGROUP2 },
] as const
/** The hierarchies with control groups of processes: those that systemd itself uses. */
const CGROUPS = MOUNTS.filter(
  ([, , type, options = '']) => type === 'cgroup2' || (type === 'cgroup' && /\bname=systemd\b/.test(options)),
).map(([, path = '']) => path)

/** Library directories of unpacked packages' programs. */
function librariesOf(layer: string): string[] {
  const root = join(layer, 'usr/lib')
  const names = existsSync(root) ? readdirSync(root).filter((name) => name.endsWith('-linux-gnu')) : []
  return names.flatMap((name) => [join(root, name), join(root, name, 'systemd')])
}

function childrenOf(pid: number | undefined): number[] {
  try {
    const text = execFileSync('ps', ['-o', 'pid=', '--ppid', `${pid ?? 0}`], { encoding: 'utf8' })
    return text.trim().split(/\s+/).map(Number)
  } catch {
    return []
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It has already ended.
  }
}

function removeGroup(path: string): void {
  if (!existsSync(path)) return
  for (const entry of readdirSync(path, { withFileTypes: true })) {
    if (entry.isDirectory()) removeGroup(join(path, entry.name))
  }
  try {
    rmdirSync(path)
  } catch {
    // One of its processes has not quite ended; an empty control group costs nothing.
  }
}

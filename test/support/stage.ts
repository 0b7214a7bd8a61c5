// Where the how-to pages play: a host with xdp, eth0 towards a client, and on demand eth1 towards two web servers.

import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { capture, ETH0, Lab, type Output } from './hosts.ts'
import { Machine, QUICK_ANSIBLE } from './machine.ts'
import { country, database } from './mmdb.ts'
import { pack } from './package.ts'
import type { Command } from './pages.ts'

const VIP = '203.0.113.10'
const WEB = ['web1', 'web2'] as const

const OBJECT = join(import.meta.dirname, '../../build/test/backend.bpf.o')

/** With offloads, frames of a local sender reach XDP without checksums. */
const plain = (device: string): string => `ethtool -K ${device} tx off gso off tso off`

/** `ssh HOST sudo COMMAND`, for pages: web1 and web2 are in namespaces of processes, and any other machine is the host itself. */
const ssh = (places: readonly (readonly [host: string, pid: number])[]): string => `#!/bin/sh
while [ "\${1#-}" != "$1" ]; do case $1 in -[oilpS]) shift ;; esac; shift; done
host=$1; shift
[ "$1" = sudo ] && shift
case $host in
${places.map(([host, pid]) => `${host}) exec nsenter --net=/proc/${pid}/ns/net sh -c "$*" ;;\n`).join('')}*) exec sh -c "$*" ;;
esac
`

const SERVER = `require('http').createServer((question, answer) => answer.end(process.argv[1] + '\\n')).listen(80, () => console.log('ready'))`

interface Needs {
  readonly backends: boolean
  readonly boots: boolean
  /** Debian packages. */
  readonly packages: readonly string[]
}

export class Stage {
  readonly machine: Machine
  readonly #lab: Lab
  readonly #servers: ChildProcess[] = []
  readonly #namespaces: string[] = []

  private constructor(lab: Lab, machine: Machine) {
    this.#lab = lab
    this.machine = machine
  }

  static async make({ backends, boots, packages }: Needs): Promise<Stage | string> {
    const lab = new Lab([ETH0])
    try {
      const machine = await Machine.make({ packages, lab, boots })
      if (typeof machine === 'string') {
        lab.close()
        return machine
      }
      const stage = new Stage(lab, machine)
      const { tarball } = await pack(lab.directory)
      machine.install(tarball)
      machine.copy(tarball, `/srv/admin/${basename(tarball)}`)
      stage.#database()
      lab.in(lab.host, 'sh', '-c', `${plain('eth0')}; sysctl -qw net.ipv4.ip_forward=1`)
      lab.in(lab.peer, 'sh', '-c', `${plain(lab.peerEnd('eth0'))}; ip route add ${VIP} via 192.0.2.1`)
      stage.#receive(lab.peer, lab.peerEnd('eth0'))
      if (backends) await stage.#addBackends()
      const pids = stage.#servers.map(({ pid }, i) => [WEB[i] ?? '', pid ?? 0] as const)
      machine.write('/usr/local/bin/ssh', ssh(pids), 0o755)
      // Its package is unpacked, not installed, and tcpdump becomes this user.
      if (packages.includes('tcpdump'))
        machine.write('/etc/passwd', `${machine.read('/etc/passwd')}tcpdump:x:990:990::/:\n`)
      if (boots) await machine.boot()
      return stage
    } catch (error) {
      lab.close()
      throw error
    }
  }

  /** A veth drops frames that XDP sends to it unless it has a program too. */
  #receive(netns: string, device: string): void {
    const pin = `${this.#lab.bpffs}/test-${netns}`
    const attach = `bpftool net attach xdpdrv pinned ${pin}/pass dev ${device}`
    this.#lab.in(netns, 'sh', '-ec', `bpftool prog loadall ${OBJECT} ${pin}\n${attach}`)
  }

  #database(): void {
    const networks = [
      ['192.0.2.0/30', country('XX')],
      ['198.51.100.0/24', country('YY')],
    ] as const
    mkdirSync(this.machine.path('/usr/share/GeoIP'), { recursive: true })
    writeFileSync(this.machine.path('/usr/share/GeoIP/GeoLite2-Country.mmdb'), database({ networks }))
  }

  /** Two web servers in 10.0.0.0/24, on a switch with eth1, whose answers go through this host. */
  async #addBackends(): Promise<void> {
    const lab = this.#lab
    const name = (one: string): string => `${lab.host}-${one}`
    this.#namespaces.push(...['switch', ...WEB].map(name))
    const sh = (netns: string, ...lines: readonly string[]): void => void lab.in(netns, 'sh', '-ec', lines.join('\n'))
    for (const one of this.#namespaces) lab.in(lab.host, 'ip', 'netns', 'add', one)
    sh(name('switch'), 'ip link add br0 type bridge', 'ip link set br0 up')
    const port = (device: string): readonly string[] => [
      `ip link set ${device} master br0`,
      `ip link set ${device} up`,
      plain(device),
    ]
    sh(lab.host, `ip link add eth1 type veth peer name host netns ${name('switch')}`, plain('eth1'))
    sh(lab.host, 'ip addr add 10.0.0.1/24 dev eth1', 'ip link set eth1 up')
    sh(name('switch'), ...port('host'))
    this.#receive(name('switch'), 'host')
    for (const [i, web] of WEB.entries()) {
      sh(name(web), `ip link add eth0 type veth peer name ${web} netns ${name('switch')}`, 'ip link set lo up')
      sh(name(web), `ip addr add 10.0.0.1${i + 1}/24 dev eth0`, 'ip link set eth0 up', plain('eth0'))
      sh(name(web), 'ip route add default via 10.0.0.1')
      sh(name('switch'), ...port(web))
      const server = spawn('nsenter', [`--net=/run/netns/${name(web)}`, process.execPath, '-e', SERVER, web])
      this.#servers.push(server)
      await once(server.stdout, 'data')
    }
  }

  /** Runs a command of a page, as the user of the host that its prompt names. */
  async run({ host, command }: Command): Promise<Output> {
    const script = `exec 2>&1 </dev/null\n${command}`
    if (host === '')
      return this.machine.run('env', ...QUICK_ANSIBLE, 'ANSIBLE_SSH_TRANSFER_METHOD=piped', 'bash', '-c', script)
    const netns = host === 'client' ? this.#lab.peer : `${this.#lab.host}-${host}`
    return capture('nsenter', [`--net=/run/netns/${netns}`, 'bash', '-c', script])
  }

  async close(): Promise<void> {
    for (const server of this.#servers) server.kill('SIGKILL')
    // Servers and daemons that commands of the page have left running.
    execFileSync('sh', ['-c', 'ip netns pids "$0" | xargs -r kill -9', this.#lab.host], { stdio: 'ignore' })
    await this.machine.run('xdp', 'destroy', '--auto-approve', '--force-cut')
    await this.machine.close()
    for (const netns of this.#namespaces) this.#lab.in(this.#lab.host, 'ip', 'netns', 'del', netns)
    this.#lab.close()
  }
}

// A network namespace with one veth pair and permanent neighbours: the target of routes in packet tests.

import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'

let made = 0

export class Namespace {
  readonly name: string

  /** `addresses` of the device `out`, with prefix lengths; `neighbours` by address. */
  constructor(addresses: readonly string[], neighbours: Readonly<Record<string, string>>) {
    this.name = `xdp${process.pid}-${++made}n`
    execFileSync('ip', ['netns', 'add', this.name])
    try {
      this.run('ip', 'link', 'add', 'out', 'type', 'veth', 'peer', 'name', 'far')
      this.run('sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1')
      for (const device of ['lo', 'far', 'out']) this.run('ip', 'link', 'set', device, 'up')
      for (const address of addresses) {
        this.run('ip', 'addr', 'add', address, 'dev', 'out', ...(address.includes(':') ? ['nodad'] : []))
      }
      for (const [address, mac] of Object.entries(neighbours)) {
        this.run('ip', 'neigh', 'replace', address, 'lladdr', mac, 'dev', 'out', 'nud', 'permanent')
      }
    } catch (error) {
      this.close()
      throw error
    }
  }

  run(...argv: readonly string[]): string {
    return execFileSync('nsenter', [`--net=/run/netns/${this.name}`, ...argv], { encoding: 'utf8' })
  }

  /** Starts a Python program; it is ready when it prints something. */
  async python(program: string): Promise<ChildProcess> {
    const child = spawn('nsenter', [`--net=/run/netns/${this.name}`, 'python3', '-c', program])
    await once(child.stdout, 'data')
    return child
  }

  /** ifindex and MAC (12 hex digits) of the device `out`. */
  get out(): { readonly ifindex: number; readonly mac: string } {
    const [link] = JSON.parse(this.run('ip', '-j', 'link', 'show', 'dev', 'out')) as [
      { ifindex: number; address: string },
    ]
    return { ifindex: link.ifindex, mac: link.address.replaceAll(':', '') }
  }

  close(): void {
    execFileSync('ip', ['netns', 'del', this.name])
  }
}

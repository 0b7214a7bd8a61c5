// A host under a flood of forged SYNs: a server, real clients at the peer, and the sender of the flood there.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { capture, ETH0, Lab } from './hosts.ts'
import { compiled } from './programs.ts'

export const PORT = 8080
export const HOST = (ETH0.addresses[0] as string).replace(/\/.*/, '')

const SERVER = `
import { createServer } from 'node:http'
createServer((_, answer) => answer.end('ok')).listen(${PORT}, '::', 128, () => console.log('ready'))
`

/** Connects so many times, some at once, and prints how many got an answer in time. */
const CLIENT = `
import { request } from 'node:http'
const [count, atOnce, timeout] = process.argv.slice(1).map(Number)
let left = count, good = 0
const one = () => new Promise((done) => {
  const asked = request({ host: '${HOST}', port: ${PORT}, agent: false }, (answer) => {
    answer.resume().on('end', () => { good++; done() })
  })
  const timer = setTimeout(() => asked.destroy(), timeout)
  asked.on('close', () => { clearTimeout(timer); done() }).on('error', () => {}).end()
})
await Promise.all(Array.from({ length: atOnce }, async () => { while (left-- > 0) await one() }))
console.log(good)
`

export class SynFlood {
  readonly lab = new Lab([ETH0])
  #server: ChildProcess | undefined
  #flood: ChildProcess | undefined

  /** Starts the server. */
  async open(): Promise<void> {
    this.set(2, 2)
    // The kernel answers, and remembers, only SYNs from addresses that it has a route to.
    const peer = (ETH0.peerAddresses[0] as string).replace(/\/.*/, '')
    this.lab.in(this.lab.host, 'ip', 'route', 'add', 'default', 'via', peer)
    this.#server = spawn('nsenter', this.#inside(this.lab.host, 'node', '--input-type=module', '-e', SERVER))
    await once(this.#server.stdout as NodeJS.ReadableStream, 'data')
  }

  /** Settings of the host: how the kernel uses cookies, and whether others can read its timestamps. */
  set(cookies: number, timestamps: number): void {
    const settings = [`net.ipv4.tcp_syncookies=${cookies}`, `net.ipv4.tcp_timestamps=${timestamps}`]
    this.lab.in(this.lab.host, 'sysctl', '-qw', ...settings)
  }

  /** Sends SYNs from forged addresses as fast as it can, until `calm`. */
  async flood(): Promise<void> {
    const spoof = [compiled('spoof.c'), HOST, `${PORT}`, '1000000000', '10000000']
    this.#flood = spawn('nsenter', this.#inside(this.lab.peer, ...spoof))
    await once(this.#flood.stdout as NodeJS.ReadableStream, 'data')
  }

  async calm(): Promise<void> {
    const flood = this.#flood
    this.#flood = undefined
    if (flood === undefined || flood.exitCode !== null) return
    flood.kill('SIGKILL')
    await once(flood, 'exit')
  }

  /** How many of so many clients get an answer in time, if `atOnce` of them try at a time. */
  async connect(count: number, atOnce = 8, milliseconds = 5000): Promise<number> {
    const client = ['node', '--input-type=module', '-e', CLIENT, `${count}`, `${atOnce}`, `${milliseconds}`]
    return Number((await capture('nsenter', this.#inside(this.lab.peer, ...client))).stdout)
  }

  async close(): Promise<void> {
    await this.calm()
    this.#server?.kill('SIGKILL')
    this.lab.close()
  }

  #inside(netns: string, ...argv: readonly string[]): string[] {
    return [`--net=/run/netns/${netns}`, ...argv]
  }
}

/** A policy that passes everything, with SYN protection of the server's port. */
export const protectedBy = (mode: string, threshold: number): string =>
  [
    'version: 1',
    'interfaces: { eth0: { mode: generic } }',
    'allowlist: []',
    'blocklist: []',
    `syn_protection: { ports: [${PORT}], mode: ${mode}, threshold: ${threshold} }`,
  ].join('\n')

// A balancing laboratory: a client (the peer), a balancer (the host) and backends, each in a separate namespace, with a
// web server and a UDP service that answer with their names. The balancer is also the router between all of them.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { capture, ETH0, Lab } from './hosts.ts'

const OBJECT = fileURLToPath(new URL('../../build/test/backend.bpf.o', import.meta.url))
/** With offloads, frames of a local sender reach XDP without checksums. */
const PLAIN = (device: string): string => `ethtool -K ${device} tx off gso off tso off`
export const script = (name: string): string => fileURLToPath(new URL(`./${name}.mjs`, import.meta.url))

/** The n-th VIP. It lies in no network: the client has a route for it to the balancer. */
export const vipOf = (n: number, family: 4 | 6 = 4): string => (family === 4 ? `198.51.100.${n}` : `2001:db8:f::${n}`)

export const HTTP = 80
export const ECHO = 7
/** Services that answer with the data itself. */
export const MIRROR = 9

/** A backend: behind interface `eth<number>` of the balancer, with several addresses in one namespace. */
export interface BackendHost {
  readonly number: number
  readonly netns: string
  readonly v4: string
  readonly v6: string
}

export interface Load {
  /** Stops and returns the result of each connection. */
  readonly stop: () => Promise<{
    readonly connections: readonly { readonly backend?: string; readonly requests: number; readonly error?: string }[]
    readonly requests: number
  }>
}

/** One request over a separate connection; `time`: its start, Unix time in milliseconds. */
export interface Asked {
  readonly time: number
  readonly backend?: string
  readonly error?: string
}

export class BalanceLab extends Lab {
  readonly backends: readonly BackendHost[]
  readonly #servers: ChildProcess[] = []
  /** Namespaces behind those of backends. */
  readonly #far: string[] = []
  readonly #web = new Map<number, ChildProcess>()

  private constructor(backends: number) {
    super([ETH0])
    this.backends = Array.from({ length: backends }, (_, i) => this.#addBackend(i + 1))
    this.route()
  }

  static async open(backends = 3): Promise<BalanceLab> {
    const lab = new BalanceLab(backends)
    try {
      await Promise.all(lab.backends.map((backend) => lab.#serve(backend)))
      return lab
    } catch (error) {
      lab.close()
      throw error
    }
  }

  override close(): void {
    for (const server of this.#servers) server.kill('SIGKILL')
    for (const { netns } of this.backends ?? []) this.#drop(netns)
    for (const netns of this.#far) this.#drop(netns)
    super.close()
  }

  /** Address of a backend in one namespace: the n-th of its addresses, from 1 to 9. */
  address(backend: number, n = 1, family: 4 | 6 = 4): string {
    return family === 4 ? `10.0.${backend}.1${n}` : `2001:db8:${backend}::1${n}`
  }

  /** Device of the balancer towards a backend. */
  device = (number: number): string => `eth${number}`

  /** Attaches a program of the test network to a device: `pass`, or `unwrap` to decapsulate packets. */
  run(netns: string, device: string, program: 'pass' | 'unwrap'): void {
    const pin = `${this.bpffs}/test-${netns}`
    this.script(
      netns,
      `[ -e ${pin} ] || bpftool prog loadall ${OBJECT} ${pin}`,
      `bpftool net attach xdpdrv pinned ${pin}/${program} dev ${device} overwrite`,
    )
  }

  /**
   * Configures the VIPs on the backends, so that they can answer from them, without announcing them to neighbours
   * (docs/balancer.md).
   */
  holdVips(...vips: readonly string[]): void {
    const adds = vips.map((vip) => `ip addr add ${vip}/${vip.includes(':') ? 128 : 32} dev lo`)
    for (const { netns } of this.backends)
      this.script(netns, 'sysctl -qw net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2', ...adds)
  }

  /** Runs lines of shell in a namespace. */
  script(netns: string, ...lines: readonly string[]): string {
    return this.in(netns, 'sh', '-ec', lines.join('\n'))
  }

  /** Kills the web server of a backend: its connections are reset, new ones are refused. */
  async stopWeb(number: number): Promise<void> {
    const server = this.#web.get(number) as ChildProcess
    const ended = once(server, 'close')
    server.kill('SIGKILL')
    await ended
  }

  startWeb = (number: number): Promise<void> => this.#serve(this.backends[number - 1] as BackendHost)

  /** Opens a new connection every few milliseconds until stopped; then returns the result of each. */
  async ask(vip: string): Promise<{ readonly stop: () => Promise<readonly Asked[]> }> {
    const child = await this.#start(this.peer, script('asks'), vip, `${HTTP}`)
    let output = ''
    child.stdout?.on('data', (text: string) => {
      output += text
    })
    const closed = once(child, 'close')
    return {
      stop: async () => {
        child.stdin?.end()
        await closed
        return JSON.parse(output)
      },
    }
  }

  /** Starts UDP services on every backend, on its addresses and on these VIPs. */
  async echo(...vips: readonly string[]): Promise<void> {
    await Promise.all(
      this.backends.map(({ number, netns }) => {
        const own = [1, 2, 3].flatMap((n) => [this.address(number, n), this.address(number, n, 6)])
        return this.#start(netns, script('echo'), `b${number}`, `${ECHO}`, ...own, ...vips)
      }),
    )
  }

  /** Starts services on every backend, on its addresses and on these VIPs, that answer with the data itself. */
  async mirror(...vips: readonly string[]): Promise<void> {
    await Promise.all(
      this.backends.map(({ number, netns }) => {
        const own = [this.address(number), this.address(number, 1, 6)]
        return this.#start(netns, script('mirror'), `${MIRROR}`, ...own, ...vips)
      }),
    )
  }

  /** Sends datagrams of `size` bytes, and again those without an answer; returns how many were answered, and were sent. */
  async large(vip: string, count: number, size: number): Promise<{ readonly answered: number; readonly sent: number }> {
    const words = [script('large'), vip, `${MIRROR}`, `${count}`, `${size}`]
    const { stdout } = await capture('nsenter', [`--net=/run/netns/${this.peer}`, process.execPath, ...words])
    return JSON.parse(stdout)
  }

  /** Starts such a service in any namespace, on these addresses alone. */
  async mirrorIn(netns: string, ...addresses: readonly string[]): Promise<void> {
    await this.#start(netns, script('mirror'), `${MIRROR}`, ...addresses)
  }

  /** Sends `size` bytes over a TCP connection to such a service; returns how many came back. */
  async upload(vip: string, size: number): Promise<number> {
    const words = [script('upload'), vip, `${MIRROR}`, `${size}`]
    const { stdout } = await capture('nsenter', [`--net=/run/netns/${this.peer}`, process.execPath, ...words])
    return JSON.parse(stdout).echoed
  }

  /** Adds a host behind a backend, which becomes its router, over a link with another MTU. */
  addBehind(
    { number, netns }: BackendHost,
    mtu: number,
  ): { readonly netns: string; readonly v4: string; readonly v6: string } {
    const far = `${netns}f`
    this.#far.push(far)
    const [v4, v6] = ['10.9.0.11', '2001:db8:9::11']
    this.script(
      netns,
      `ip netns add ${far}`,
      `ip link add far type veth peer name eth0 netns ${far}`,
      `ip link set far mtu ${mtu}`,
      'ip addr add 10.9.0.1/24 dev far',
      'ip addr add 2001:db8:9::1/64 dev far nodad',
      'ip link set far up',
      PLAIN('far'),
      'sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1',
      'sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0 net.ipv4.conf.far.rp_filter=0',
      // Forwarding forgets routes of autoconfiguration, not this one; a report for each packet, in this test.
      'sysctl -qw net.ipv4.icmp_ratelimit=0 net.ipv6.icmp.ratelimit=0',
    )
    this.script(
      far,
      'sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0',
      'ip link set lo up',
      `ip link set eth0 mtu ${mtu}`,
      `ip addr add ${v4}/24 dev eth0`,
      `ip addr add ${v6}/64 dev eth0 nodad`,
      'ip link set eth0 up',
      'ip route add default via 10.9.0.1',
      'ip -6 route add default via 2001:db8:9::1',
      PLAIN('eth0'),
    )
    this.script(
      this.host,
      `ip route add 10.9.0.0/24 via ${this.address(number)}`,
      `ip -6 route add 2001:db8:9::/64 via ${this.address(number, 1, 6)}`,
    )
    return { netns: far, v4, v6 }
  }

  /** The body of the answer to the client; throws if there is none. */
  fetch(vip: string, port = HTTP): string {
    const host = vip.includes(':') ? `[${vip}]` : vip
    return this.in(this.peer, 'curl', '-sS', '-m', '5', `http://${host}:${port}/`).trim()
  }

  /** Sends `count` UDP flows; returns the number that each backend answered. */
  async flows(vip: string, count: number): Promise<Record<string, number>> {
    return JSON.parse(this.in(this.peer, process.execPath, script('flows'), vip, `${ECHO}`, `${count}`))
  }

  /** Opens `count` connections of one request each, dozens at a time; returns the number per answer. */
  async burst(vip: string, count: number): Promise<Record<string, number>> {
    return JSON.parse(this.in(this.peer, process.execPath, script('burst'), vip, `${HTTP}`, `${count}`))
  }

  /** Opens long-lived connections that send requests all the time. */
  async load(vip: string, connections: number): Promise<Load> {
    const child = await this.#start(this.peer, script('load'), vip, `${HTTP}`, `${connections}`)
    let output = ''
    child.stdout?.on('data', (text: string) => {
      output += text
    })
    const closed = once(child, 'close')
    return {
      stop: async () => {
        child.stdin?.end()
        await closed
        return JSON.parse(output)
      },
    }
  }

  /** Starts a script in a namespace and waits until it is ready. */
  async #start(netns: string, ...words: readonly string[]): Promise<ChildProcess> {
    const child = spawn('nsenter', [`--net=/run/netns/${netns}`, process.execPath, ...words], {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    this.#servers.push(child)
    child.stdout.setEncoding('utf8')
    const [line] = (await once(child.stdout, 'data')) as [string]
    if (!line.startsWith('ready')) throw new Error(`${words[0]} printed ${line}`)
    return child
  }

  #addBackend(number: number): BackendHost {
    const [netns, device] = [`${this.host}${number}`, `eth${number}`]
    this.script(
      this.host,
      `ip netns add ${netns}`,
      `ip link add ${device} type veth peer name eth0 netns ${netns}`,
      `ip addr add 10.0.${number}.1/24 dev ${device}`,
      `ip addr add 2001:db8:${number}::1/64 dev ${device} nodad`,
      `ip link set ${device} up`,
      PLAIN(device),
    )
    const addresses = [1, 2, 3, 4, 5, 6, 7, 8, 9].flatMap((n) => [
      `ip addr add ${this.address(number, n)}/24 dev eth0`,
      `ip addr add ${this.address(number, n, 6)}/64 dev eth0 nodad`,
    ])
    this.script(
      netns,
      'sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0',
      'ip link set lo up',
      ...addresses,
      'ip link set eth0 up',
      `ip route add default via 10.0.${number}.1`,
      `ip -6 route add default via 2001:db8:${number}::1`,
      PLAIN('eth0'),
    )
    this.run(netns, 'eth0', 'pass')
    return { number, netns, v4: this.address(number), v6: this.address(number, 1, 6) }
  }

  /** Makes the balancer the client's router; again after eth0 was plugged again. */
  route(): void {
    const client = this.peerEnd('eth0')
    this.script(
      this.host,
      'sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1',
      // Answers of backends come from VIPs, for which the balancer has no route.
      'sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0',
      PLAIN('eth0'),
    )
    this.script(
      this.peer,
      PLAIN(client),
      'ip route replace default via 192.0.2.1',
      'ip -6 route replace default via 2001:db8::1',
    )
    this.run(this.peer, client, 'pass')
  }

  /** Starts a web server on every address of the backend, VIPs included, that answers with its name. */
  async #serve({ number, netns }: BackendHost): Promise<void> {
    const directory = `${this.directory}/nginx-${number}`
    mkdirSync(directory, { recursive: true })
    const config = this.write(
      `nginx-${number}/nginx.conf`,
      `daemon off; master_process off; pid ${directory}/pid; error_log ${directory}/error.log;
events { worker_connections 4096; }
http {
  access_log off; default_type text/plain; keepalive_requests 1000000; keepalive_timeout 3600;
  client_body_temp_path ${directory}/a; proxy_temp_path ${directory}/b; fastcgi_temp_path ${directory}/c;
  uwsgi_temp_path ${directory}/d; scgi_temp_path ${directory}/e;
  server {
    listen 80 backlog=4096; listen [::]:80 backlog=4096; listen 8080; listen [::]:8080;
    location / { return 200 "b${number}\\n"; }
    location /large { root ${directory}; }
  }
}
`,
    )
    const child = spawn('nsenter', [`--net=/run/netns/${netns}`, 'nginx', '-c', config, '-p', directory], {
      stdio: ['ignore', 'ignore', 'inherit'],
    })
    this.#servers.push(child)
    this.#web.set(number, child)
    // Wait until it listens, the only sign that it is ready.
    for (let attempt = 0; attempt < 200; attempt++) {
      if (this.in(netns, 'ss', '-ltnH', 'sport = :8080').includes('8080')) return
      await new Promise((resolve) => setTimeout(resolve, 25))
    }
    throw new Error(`nginx does not listen in ${netns}`)
  }

  #drop(netns: string): void {
    try {
      this.in(this.host, 'ip', 'netns', 'del', netns)
    } catch {
      // Does not exist yet.
    }
  }
}

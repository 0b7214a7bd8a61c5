// OpenSSH's server in a network namespace, and a client that stays logged in: Debian's packages, unpacked into a directory of
// ours. The server sees files of its own in place of /run, /etc/passwd and /etc/shadow, by a mount namespace.

import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { unpacked } from './debian.ts'
import type { Lab } from './hosts.ts'

export interface Ssh {
  readonly server: string
  readonly client: string
  readonly keygen: string
  /** Directories of libraries that the host does not have. */
  readonly libraries: string
}

/** The directories with libraries below one, for LD_LIBRARY_PATH. */
export const librariesIn = (root: string): string =>
  ['lib', 'usr/lib']
    .flatMap((name) => {
      const directory = join(root, name)
      if (!existsSync(directory)) return []
      const below = readdirSync(directory, { withFileTypes: true }).filter((entry) => entry.isDirectory())
      return [directory, ...below.map((entry) => join(directory, entry.name))]
    })
    .join(':')

/** Finds OpenSSH, or returns the reason why there is none. */
export function findSsh(): Ssh | string {
  const packages = unpacked('openssh-server', 'openssh-client')
  if ('reason' in packages) return packages.reason
  const own = (path: string): string =>
    existsSync(join(packages.root, path)) ? join(packages.root, path) : join('/', path)
  const programs = { server: own('usr/sbin/sshd'), client: own('usr/bin/ssh'), keygen: own('usr/bin/ssh-keygen') }
  const found = { ...programs, libraries: librariesIn(packages.root) }
  try {
    // Reads no config, and ends with status 1 after the name of its version.
    execFileSync(found.keygen, ['-A', '-f', '/nonexistent'], { stdio: 'ignore' })
  } catch {
    return Object.values(programs).every((path) => existsSync(path)) ? found : 'OpenSSH does not run here'
  }
  return found
}

/** Mounts that only the server and its sessions see. Keeps /run/netns and /run/xdp. */
const MOUNTS = `set -e
mount --make-rprivate /
mkdir -p "$0/run"
mount --rbind /run "$0/run"
mount -t tmpfs tmpfs /run
mkdir /run/sshd /run/netns /run/xdp
mount --rbind "$0/run/netns" /run/netns
mount --rbind "$0/run/xdp" /run/xdp
for root in $XDP_TEST_ROOTS; do
  mount -t overlay overlay -o "lowerdir=$root/usr:/usr" /usr
  mount -t overlay overlay -o "lowerdir=$root/etc:/etc" /etc
done
mount --bind "$0/passwd" /etc/passwd
mount --bind "$0/shadow" /etc/shadow
exec "$@"
`

const HOST_KEY = 'host-key'
const USER_KEY = 'user-key'

/** A client that is logged in as root. */
export interface Login {
  /** Runs a line in the session's shell; returns its output and exit status. Never settles once the session is cut. */
  readonly run: (line: string) => Promise<{ readonly output: string; readonly exitCode: number }>
  /** Settles with the exit status of the client. */
  readonly ended: Promise<number>
}

/** A server in the host's namespace of a lab. */
export class SshServer {
  readonly #ssh: Ssh
  readonly #lab: Lab
  readonly #directory: string
  readonly #port: number
  readonly #children: ChildProcess[] = []

  private constructor(ssh: Ssh, lab: Lab, port: number) {
    this.#ssh = ssh
    this.#lab = lab
    this.#port = port
    this.#directory = join(lab.directory, 'ssh')
  }

  /**
   * Starts a server; settles once it listens.
   *
   * @param disguise another port, and the name of another process
   * @param roots directories of unpacked packages that its sessions have as if they were installed
   */
  static async start(
    ssh: Ssh,
    lab: Lab,
    disguise?: { readonly port: number; readonly name: string },
    roots: readonly string[] = [],
  ): Promise<SshServer> {
    const { port = 22, name = 'sshd' } = disguise ?? {}
    const server = new SshServer(ssh, lab, port)
    mkdirSync('/run/xdp', { recursive: true, mode: 0o700 })
    mkdirSync(join(lab.directory, 'ssh'))
    const place = (name: string): string => join(lab.directory, 'ssh', name)
    for (const key of [HOST_KEY, USER_KEY])
      execFileSync(ssh.keygen, ['-q', '-t', 'ed25519', '-N', '', '-f', place(key)])
    copyFileSync(ssh.server, place(name))
    lab.write('ssh/passwd', 'root:x:0:0:root:/root:/bin/sh\nsshd:x:65533:65534::/run/sshd:/usr/sbin/nologin\n')
    lab.write('ssh/shadow', 'root:*:1::::::\nsshd:*:1::::::\n')
    const config = [
      `Port ${port}`,
      `HostKey ${place(HOST_KEY)}`,
      `AuthorizedKeysFile ${place(`${USER_KEY}.pub`)}`,
      `PidFile none`,
      'PermitRootLogin yes',
      'StrictModes no',
      'UsePAM no',
      'UseDNS no',
    ]
    const path = lab.write('ssh/sshd_config', `${config.join('\n')}\n`)
    const argv = [`--net=/run/netns/${lab.host}`, 'unshare', '--mount', 'sh', '-c', MOUNTS, server.#directory]
    const child = spawn('nsenter', [...argv, place(name), '-D', '-e', '-f', path], {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { ...process.env, LD_LIBRARY_PATH: ssh.libraries, XDP_TEST_ROOTS: roots.join(' ') },
    })
    server.#children.push(child)
    let said = ''
    for await (const line of createInterface({ input: child.stderr })) {
      said += `${line}\n`
      // Once for each family.
      if (/listening on :: port/.test(line)) break
    }
    if (!said.includes('listening on :: port')) throw new Error(`sshd does not start: ${said}`)
    child.stderr.resume()
    return server
  }

  /** Logs in from the peer's namespace. The client ends by itself within seconds once it gets no answer. */
  async logIn(address: string, source?: string): Promise<Login> {
    const flags = {
      StrictHostKeyChecking: 'no',
      UserKnownHostsFile: '/dev/null',
      IdentitiesOnly: 'yes',
      BatchMode: 'yes',
      ServerAliveInterval: '1',
      ServerAliveCountMax: '3',
      Port: `${this.#port}`,
      ...(source === undefined ? {} : { BindAddress: source }),
      LogLevel: 'ERROR',
    }
    const options = Object.entries(flags).flatMap(([name, value]) => ['-o', `${name}=${value}`])
    const key = join(this.#directory, USER_KEY)
    const ssh = [this.#ssh.client, '-F', 'none', '-T', '-i', key, ...options, `root@${address}`, 'exec sh']
    const child = spawn('nsenter', [`--net=/run/netns/${this.#lab.peer}`, ...ssh], {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    this.#children.push(child)
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
    const ended = new Promise<number>((resolve) => child.on('close', (code) => resolve(code ?? -1)))
    child.stdin.on('error', () => undefined)
    let number = 0
    return {
      ended,
      async run(line) {
        const mark = `--end-${++number}--`
        child.stdin.write(`{ ${line}; } 2>&1 < /dev/null; echo "${mark} $?"\n`)
        const output: string[] = []
        for (;;) {
          const { value, done } = await lines.next()
          if (done) throw new Error(`the session ended: ${output.join('\n')}`)
          if (value.startsWith(mark)) return { output: output.join('\n'), exitCode: Number(value.split(' ')[1]) }
          output.push(value)
        }
      },
    }
  }

  /** Ends the server, its sessions and the clients. */
  close(): void {
    for (const child of this.#children) child.kill('SIGKILL')
    // Sessions are processes of their own, which outlive the server.
    const pids = execFileSync('ip', ['netns', 'pids', this.#lab.host], { encoding: 'utf8' }).match(/\d+/g) ?? []
    for (const pid of pids.map(Number)) {
      try {
        process.kill(pid, 'SIGKILL')
      } catch {
        // It has ended meanwhile.
      }
    }
  }
}

// A fail2ban server on a filtering host, with one jail that uses an action of examples/fail2ban.

import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { appendFileSync, copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Fail2ban } from './fail2ban.ts'

const EXAMPLES = fileURLToPath(new URL('../../examples/fail2ban', import.meta.url))

export interface Place {
  /** Directory of its files. */
  readonly directory: string
  /** Name of the network namespace that it runs in. */
  readonly netns: string
  readonly bpffs: string
  /** The command `xdp`, with its flags. */
  readonly command: string
}

/** Actions of examples/fail2ban. */
export type ActionFile = 'xdp.conf' | 'xdp.py'

function write(directory: string, name: string, lines: readonly string[]): string {
  const path = join(directory, name)
  writeFileSync(path, `${lines.join('\n')}\n`)
  return path
}

/** Writes the configuration of a server with the jail `guess`. Returns the path of its log file. */
export function configureFail2ban({ directory, bpffs, command }: Place, action: ActionFile): string {
  for (const name of ['action.d', 'filter.d']) mkdirSync(join(directory, name), { recursive: true })
  copyFileSync(join(EXAMPLES, action), join(directory, 'action.d', action))
  const log = write(directory, 'auth.log', [])
  write(directory, 'filter.d/guess.conf', ['[Definition]', 'failregex = ^ guess from <HOST>$'])
  write(directory, 'fail2ban.conf', [
    '[Definition]',
    'loglevel = INFO',
    // Not a pipe: it would fill up while a client blocks its reader.
    `logtarget = ${directory}/f2b.log`,
    `dbfile = ${directory}/f2b.sqlite3`,
    'dbpurgeage = 1d',
    'allowipv6 = auto',
    `socket = ${directory}/f2b.sock`,
    `pidfile = ${directory}/f2b.pid`,
  ])
  const used = action === 'xdp.py' ? `xdp.py[xdp="${command}", bpffs="${bpffs}"]` : `xdp[xdp="${command}"]`
  write(directory, 'jail.conf', [
    '[guess]',
    'enabled = true',
    'filter = guess',
    `logpath = ${log}`,
    'backend = polling',
    'maxretry = 1',
    'bantime = 600',
    'findtime = 600',
    'usedns = no',
    'ignoreself = false',
    `action = ${used}`,
  ])
  return log
}

export class Fail2banServer {
  readonly #fail2ban: Fail2ban
  readonly #directory: string
  readonly #child
  readonly #ended: Promise<unknown>

  constructor(fail2ban: Fail2ban, { directory, netns }: Place) {
    this.#fail2ban = fail2ban
    this.#directory = directory
    const argv = [`--net=/run/netns/${netns}`, ...fail2ban.server, '-f', ...this.#where, 'start']
    rmSync(join(directory, 'f2b.log'), { force: true })
    this.#child = spawn('nsenter', argv, { env: this.#env, stdio: 'ignore' })
    this.#ended = once(this.#child, 'close')
  }

  /** Its log so far. */
  get said(): string {
    const path = join(this.#directory, 'f2b.log')
    return existsSync(path) ? readFileSync(path, 'utf8') : ''
  }

  get #env(): NodeJS.ProcessEnv {
    return { ...process.env, ...this.#fail2ban.env }
  }

  get #where(): string[] {
    return ['-c', this.#directory, '-s', `${this.#directory}/f2b.sock`, '-p', `${this.#directory}/f2b.pid`]
  }

  /** Runs fail2ban-client. */
  client(...args: readonly string[]): string {
    const [file = '', ...words] = [...this.#fail2ban.client, ...this.#where, ...args]
    return execFileSync(file, words, { env: this.#env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
  }

  async end(): Promise<void> {
    this.#child.kill('SIGTERM')
    await this.#ended
  }
}

/** Writes a log line that makes the jail ban an address. */
export function guess(log: string, address: string): void {
  const now = new Date()
  const local = new Date(now.getTime() - now.getTimezoneOffset() * 60_000)
  appendFileSync(log, `${local.toISOString().slice(0, 19).replace('T', ' ')} guess from ${address}\n`)
}

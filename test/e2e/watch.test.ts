// The daemon among other tools and commands, with signals, systemd, and kills.

import { execFileSync, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect } from 'vitest'
import { ABI_VERSION } from '../../src/abi/generated.ts'
import { inDepth, inTurns, usually } from '../support/depth.ts'
import { ETH0, ETH1, Lab } from '../support/hosts.ts'
import { randomFrom } from '../support/random.ts'
import { judged } from '../support/traffic.ts'
import { Watching } from '../support/watching.ts'

let lab: Lab
let watching: Watching | undefined

beforeEach(() => {
  lab = new Lab([ETH0, ETH1])
})
afterEach(async () => {
  await watching?.end('SIGKILL')
  watching = undefined
  lab.close()
})

const config = (settings = '{}', interfaces = 'eth0: {}', blocked = '192.0.2.3'): string =>
  `version: 1\ninterfaces: { ${interfaces} }\nwatch: ${settings}\nblocklist: [${blocked}, "2001:db8::2"]\n`

async function watch(text = config(), ...args: readonly string[]): Promise<Watching> {
  lab.write('xdp.yaml', text)
  watching = await Watching.ready(lab, '--debounce', '20ms', ...args)
  return watching
}

const status = async () => JSON.parse(await lab.ok('status', '--json'))
const passes = (source = '192.0.2.3', target = '192.0.2.1'): Promise<number> =>
  lab.ping(target, { source, count: 1, seconds: 0.3 })
const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex')

/** Polling options for state without events. */

describe('two daemons', () => {
  inTurns('cannot watch one instance: the error of the second names the first; another instance is free', async () => {
    const { pid } = await watch()
    const second = await lab.xdp('watch')
    expect(second.exitCode).toBe(75)
    expect(second.stderr).toMatch(
      new RegExp(`E118 watched\\]: another daemon already watches this instance: pid ${pid} `),
    )
    expect((await status()).watch).toMatchObject({ pid, ready: true, last: { outcome: 'applied' } })
    lab.write('other.yaml', config('{}', 'eth1: {}'))
    const other = await Watching.ready(lab, '-f', 'other.yaml', '--instance', 'other')
    expect(await other.end()).toBe(0)
    expect(await watching?.end()).toBe(0)
    expect((await status()).watch).toBeNull()
  })
})

inTurns('refuses commands that the daemon would undo at once', async () => {
  const { pid } = await watch()
  lab.write('other.yaml', config('{}', 'eth0: {}, eth1: {}'))
  for (const words of [['destroy'], ['apply', '-f', 'other.yaml']]) {
    const { exitCode, stderr } = await lab.xdp(...words, '--auto-approve')
    expect({ words, exitCode }).toEqual({ words, exitCode: 75 })
    expect(stderr).toContain(`the daemon with pid ${pid} keeps ${join(lab.directory, 'xdp.yaml')} in force`)
  }
  await lab.ok('apply', '--auto-approve')
  await watching?.end()
  await lab.ok('destroy', '--auto-approve')
})

inTurns('a killed daemon leaves the data plane unchanged, and the next one takes over without a write', async () => {
  const first = await watch()
  await judged(lab, async () => {
    const before = [lab.pins(), (await status()).interfaces[0].program_id]
    expect(await first.end('SIGKILL')).toBeNull()
    const between = await status()
    expect([lab.pins(), between.interfaces[0].program_id, between.watch]).toEqual([...before, null])
    watching = await Watching.ready(lab)
    expect(watching.lines.map(({ event }) => event)).toEqual(['started', 'in-sync', 'ready'])
    expect([lab.pins(), (await status()).interfaces[0].program_id]).toEqual(before)
    // Also in the middle of a reconcile, at any point.
    lab.write('xdp.yaml', config('{}', 'eth0: {}', '192.0.2.3, 203.0.113.7'))
    await setTimeout(300)
    await watching.end('SIGKILL')
    watching = await Watching.ready(lab)
  })
  expect(await lab.ok('plan', '--detailed-exitcode')).toContain('No changes.')
})

inDepth('removes an apply prepared for an edit that does not come, also if the daemon is killed first', async () => {
  lab.write('xdp.yaml', config())
  watching = await Watching.ready(lab, '--debounce', '1s')
  const generations = (): string[] => [...new Set(lab.pins().map((pin) => pin.split('/')[1] ?? ''))].sort()
  const settled = ['gen-1', `shared-${ABI_VERSION}`]
  const touch = async (): Promise<void> => {
    lab.write('xdp.yaml', config())
    await expect.poll(generations, { interval: 20 }).toEqual(['gen-1', 'gen-2', `shared-${ABI_VERSION}`])
  }
  expect(generations()).toEqual(settled)
  await touch()
  await expect.poll(generations).toEqual(settled)
  await touch()
  await watching.end('SIGKILL')
  watching = await Watching.ready(lab)
  expect(generations()).toEqual(settled)
  expect(await passes()).toBe(0)
})

inTurns(
  'after hundreds of edits under traffic, mistakes included, the last file is in force and no descriptor leaks',
  async () => {
    const daemon = await watch()
    const { below, chance, pick } = randomFrom(7)
    const path = join(lab.directory, 'xdp.yaml')
    const edition = (number: number): string =>
      config(undefined, 'eth0: {}', `192.0.2.3, 203.0.113.${number % 250}, 198.51.100.${below(250)}`)
    const mistakes = ['', 'version: 1\n', edition(0).slice(0, 80), 'blocklist: [', config('{ resync: never }')]
    const open = daemon.descriptors()
    const memory = daemon.memory()
    const write = [
      (text: string) => writeFileSync(path, text),
      (text: string) => {
        writeFileSync(`${path}.new`, text)
        renameSync(`${path}.new`, path)
      },
      (text: string) => {
        rmSync(path)
        writeFileSync(path, text)
      },
    ]
    let last = ''
    await judged(lab, async () => {
      for (let number = 1; number <= usually(200, { thoroughly: 500 }); number++) {
        last = edition(number)
        pick(write)(chance(0.25) ? pick(mistakes) : last)
        await setTimeout(below(12))
      }
      write[0]?.(last)
      await daemon.hear('applied', (line) => line.sha256 === sha256(last))
    })
    expect((await status()).watch).toMatchObject({ config: { sha256: sha256(last) }, errors: [] })
    expect(await lab.ok('plan', '--detailed-exitcode')).toContain('No changes.')
    await expect.poll(() => daemon.descriptors()).toBeLessThanOrEqual(open)
    expect(daemon.memory() - memory).toBeLessThan(128 * 2 ** 20)
  },
)

inDepth('setting the clock by years changes nothing', async () => {
  const jump = lab.write(
    'jump.mjs',
    `const { now } = Date
     let calls = 0
     Date.now = () => now() + ((++calls * 7919) % 20 - 10) * 31_536_000_000`,
  )
  process.env['NODE_OPTIONS'] = `--import ${jump}`
  try {
    await watch(config('{ resync: 1s }'))
  } finally {
    delete process.env['NODE_OPTIONS']
  }
  lab.write('xdp.yaml', config('{ resync: 1s }', 'eth0: {}', '192.0.2.3, 203.0.113.7'))
  await watching?.hear('applied', ({ trigger }) => trigger === 'edit')
  lab.in(lab.host, 'bpftool', 'net', 'detach', 'xdpdrv', 'dev', 'eth0')
  await watching?.hear('applied', ({ trigger }) => trigger === 'kernel' || trigger === 'resync')
  expect(await passes()).toBe(0)
})

describe('a signal', () => {
  inDepth('SIGTERM leaves the programs attached', async () => {
    const daemon = await watch()
    expect(await daemon.end()).toBe(0)
    expect(daemon.lines.at(-1)).toMatchObject({ event: 'stopped', attached: true })
    expect(await passes()).toBe(0)
  })

  inTurns('SIGTERM detaches them with `on_stop: detach`, and keeps lists and bans', async () => {
    const daemon = await watch(config('{ on_stop: detach }'))
    await lab.ok('ban', '203.0.113.9')
    expect(await daemon.end('SIGINT')).toBe(0)
    expect(daemon.lines.at(-1)).toMatchObject({ event: 'stopped', attached: false })
    expect(await passes()).toBe(1)
    const { interfaces, lists, bans } = await status()
    expect([interfaces, lists.length, bans]).toEqual([[], 1, 1])
    await watch(config('{ on_stop: detach }'))
    expect(await passes()).toBe(0)
  })

  inTurns('SIGHUP reloads the config', async () => {
    const daemon = await watch()
    daemon.signal('SIGHUP')
    await daemon.hear('reload')
    expect(await daemon.hear('in-sync')).toMatchObject({ trigger: 'reload' })
  })
})

inTurns('notifies systemd when it is ready, alive, reloading and stopping', async () => {
  const source = lab.write(
    'listener.c',
    `#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
int main(int argc, char **argv)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int on = 1, fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	char text[4096], control[512];

	strncpy(address.sun_path, argv[1], sizeof(address.sun_path) - 1);
	if (bind(fd, (void *)&address, sizeof(address)) || setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)))
		return 1;
	for (;;) {
		struct iovec part = { text, sizeof(text) - 1 };
		struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = control,
					  .msg_controllen = sizeof(control) };
		int length = recvmsg(fd, &message, 0), descriptor;
		struct ucred sender = { 0 };

		if (length < 0)
			return 1;
		text[length] = 0;
		for (struct cmsghdr *one = CMSG_FIRSTHDR(&message); one; one = CMSG_NXTHDR(&message, one)) {
			if (one->cmsg_type == SCM_CREDENTIALS) {
				memcpy(&sender, CMSG_DATA(one), sizeof(sender));
			} else {
				memcpy(&descriptor, CMSG_DATA(one), sizeof(descriptor));
				close(descriptor);
			}
		}
		for (char *at = text; *at; at++)
			*at = *at == '\\n' ? ' ' : *at;
		printf("%d %s\\n", sender.pid, text);
		fflush(stdout);
	}
}
`,
  )
  const listener = join(lab.directory, 'listener')
  const socket = join(lab.directory, 'notify')
  execFileSync('clang', ['-o', listener, source])
  const child = spawn(listener, [socket], { stdio: ['ignore', 'pipe', 'inherit'] })
  let heard = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    heard += text
  })
  /** Lines sent by the daemon itself, which the service manager would accept. */
  const lines = (pid: number): string[] =>
    heard.split('\n').flatMap((line) => (line.startsWith(`${pid} `) ? [line.slice(`${pid} `.length)] : []))
  await expect.poll(() => existsSync(socket)).toBe(true)
  Object.assign(process.env, { NOTIFY_SOCKET: socket, WATCHDOG_USEC: '400000' })
  try {
    const daemon = await watch()
    const hasLine = (start: string): boolean => lines(daemon.pid).some((line) => line.startsWith(start))
    await expect.poll(() => hasLine(`READY=1 STATUS=${join(lab.directory, 'xdp.yaml')} `)).toBe(true)
    await expect.poll(() => hasLine('WATCHDOG=1')).toBe(true)
    lab.write('xdp.yaml', `${config()}nonsense: 1\n`)
    await expect.poll(() => hasLine('STATUS=xdp.yaml:5:1: E010')).toBe(true)
    lab.write('xdp.yaml', config())
    daemon.signal('SIGHUP')
    await expect.poll(() => lines(daemon.pid).filter((line) => line === 'READY=1')).toHaveLength(1)
    expect(await daemon.end()).toBe(0)
    const order = lines(daemon.pid).map((line) => /^\w+/.exec(line)?.[0])
    const at = (word: string): number => order.lastIndexOf(word)
    expect(order.indexOf('READY')).toBeLessThan(at('RELOADING'))
    expect(at('RELOADING')).toBeLessThan(at('READY'))
    expect(at('READY')).toBeLessThan(at('STOPPING'))
  } finally {
    for (const name of ['NOTIFY_SOCKET', 'WATCHDOG_USEC']) delete process.env[name]
    child.kill()
    await once(child, 'close')
  }
})

inDepth('metrics have the outcomes of reconciles and the validity of the config', async () => {
  const daemon = await watch(config('{ metrics: "127.0.0.1:9469" }'))
  const script = `fetch('http://127.0.0.1:9469/metrics').then((answer) => answer.text()).then((text) => console.log(text))`
  const value = (name: string): string | undefined => {
    const text = lab.in(lab.host, process.execPath, '-e', script)
    return text
      .split('\n')
      .find((line) => line.startsWith(`${name} `) || line.startsWith(`${name}{`))
      ?.split(' ')
      .at(-1)
  }
  expect(value('xdp_reconciles_total{outcome="applied"}')).toBe('1')
  expect(value('xdp_config_valid')).toBe('1')
  lab.write('xdp.yaml', 'nonsense: 1\n')
  await daemon.hear('bad-config')
  expect([value('xdp_config_valid'), value('xdp_reconcile_success')]).toEqual(['0', '1'])
  lab.write('xdp.yaml', config())
  await daemon.hear('config-fixed')
  await expect.poll(() => lab.in(lab.host, 'ss', '-Hltn')).toBe('')
})

inTurns('concurrent edits, applies and bans all succeed', async () => {
  const daemon = await watch()
  const edit = (number: number): string => config('{}', 'eth0: {}', `192.0.2.3, 198.51.100.${number}`)
  await judged(lab, async () => {
    const applies = async (): Promise<void> => {
      for (let i = 0; i < 3; i++) await lab.ok('apply', '--auto-approve', '--lock-timeout', '60s')
    }
    const bans = async (): Promise<void> => {
      for (let i = 0; i < 3; i++) await lab.ok('ban', `203.0.113.${i}`, '--lock-timeout', '60s')
    }
    const edits = async (): Promise<void> => {
      for (let i = 0; i < 5; i++) {
        lab.write('xdp.new', edit(i))
        renameSync(join(lab.directory, 'xdp.new'), join(lab.directory, 'xdp.yaml'))
        await setTimeout(300)
      }
    }
    await Promise.all([applies(), bans(), edits()])
    lab.write('xdp.yaml', edit(99))
    const last = sha256(edit(99))
    // The daemon has read the edit, but may not have applied it yet.
    await daemon.hear('applied', ({ sha256: applied }) => applied === last)
    expect((await status()).watch.config.sha256).toBe(last)
  })
  await daemon.end()
  expect(daemon.count('failed') + daemon.count('refused') + daemon.count('drift')).toBe(0)
  expect(JSON.parse(await lab.ok('bans', '--json')).bans).toHaveLength(3)
  expect(await lab.ok('plan', '--detailed-exitcode')).toContain('No changes.')
})

inTurns('exits with the errors of a missing or invalid config', async () => {
  const run = async (text: string | undefined, ...args: readonly string[]) => {
    if (text !== undefined) lab.write('xdp.yaml', text)
    const { exitCode, stdout, stderr } = await lab.xdp('watch', ...args)
    expect(stdout === '' || args.includes('--json')).toBe(true)
    return { exitCode, output: stdout + stderr }
  }
  expect(await run(undefined)).toMatchObject({ exitCode: 66, output: expect.stringContaining('E001') })
  expect(await run('nonsense: 1\n')).toMatchObject({ exitCode: 78, output: expect.stringContaining('xdp.yaml:1:1') })
  expect(await run('nonsense: 1\n', '--json')).toMatchObject({ exitCode: 78 })
  expect(await run(config(), '--debounce', '2m')).toMatchObject({ exitCode: 64 })
  expect(await run(config(), '--metrics', 'localhost:80')).toMatchObject({ exitCode: 64 })
  expect(await run(config(), '--bpffs', lab.directory)).toMatchObject({ exitCode: 69 })
  expect(readFileSync(join(lab.directory, 'xdp.yaml'), 'utf8')).toBe(config())
})

// Both paths of a ban: through the daemon's control socket and, without a daemon, straight to the map. Neither waits for an
// apply, and a ban of any moment of an apply is in force after it.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, lstatSync, statSync } from 'node:fs'
import { connect } from 'node:net'
import { afterEach, beforeEach, describe, expect } from 'vitest'
import { inTurns } from '../support/depth.ts'
import { Lab } from '../support/hosts.ts'
import { Watching } from '../support/watching.ts'

const HOST = '192.0.2.1'
const PEER = '192.0.2.2'

let lab: Lab
let watching: Watching | undefined
beforeEach(() => {
  lab = new Lab()
})
afterEach(async () => {
  await watching?.end('SIGKILL')
  watching = undefined
  lab.close()
})

const config = (blocked: string): string =>
  `version: 1\ninterfaces: { eth0: { mode: generic } }\nblocklist: [${blocked}]\n`

interface Listed {
  readonly prefix: string
  readonly by: string | null
  readonly reason: string | null
}
const bans = async (): Promise<readonly Listed[]> =>
  (JSON.parse(await lab.ok('bans', '--json')) as { bans: Listed[] }).bans

const socketOf = (): string => `/run/xdp/default.${statSync(lab.bpffs).dev}.control.sock`

/** Sends a message to the daemon and returns its answer. */
async function ask(message: unknown): Promise<Record<string, unknown>> {
  const socket = connect(socketOf())
  socket.setEncoding('utf8')
  socket.write(
    typeof message === 'string' ? `${message}\n` : `${JSON.stringify({ version: 1, ...(message as object) })}\n`,
  )
  const [answer] = (await once(socket, 'data')) as [string]
  socket.destroy()
  return JSON.parse(answer) as Record<string, unknown>
}

/** Holds a lock until `release`. */
async function hold(file: string): Promise<{ readonly release: () => Promise<void> }> {
  const holder = spawn('flock', ['--exclusive', file, 'sh', '-c', 'echo locked; exec cat'])
  const ended = once(holder, 'close')
  await once(holder.stdout, 'data')
  return {
    async release() {
      holder.stdin.end()
      await ended
    },
  }
}

/** Bans addresses one after the other while `change` runs, and returns them. */
async function banDuring(change: () => Promise<unknown>): Promise<string[]> {
  const banned: string[] = []
  let isOver = false
  const changing = change().finally(() => {
    isOver = true
  })
  while (!isOver) {
    const address = `10.0.${banned.length >> 8}.${banned.length & 255}`
    await lab.ok('ban', address)
    banned.push(address)
  }
  await changing
  return banned
}

async function applies(): Promise<void> {
  for (const blocked of ['198.51.100.1', '198.51.100.2', '198.51.100.3']) {
    lab.write('xdp.yaml', config(blocked))
    await lab.ok('apply', '--auto-approve')
  }
}

describe('without a daemon', () => {
  beforeEach(async () => {
    lab.write('xdp.yaml', config('198.51.100.9'))
    await lab.ok('apply', '--auto-approve')
  })

  inTurns('every ban that is made during applies is in force after them', async () => {
    const banned = await banDuring(applies)
    expect(banned.length).toBeGreaterThan(2)
    expect((await bans()).map(({ prefix }) => prefix).sort()).toEqual(banned.map((address) => `${address}/32`).sort())
    await lab.ok('ban', PEER)
    expect(await lab.ping(HOST)).toBe(0)
  })

  inTurns('bans wait for no process that holds the lock of the instance', async () => {
    const lock = `/run/xdp/default.${statSync(lab.bpffs).dev}.lock`
    const holder = await hold(lock)
    try {
      expect((await lab.xdp('apply', '--auto-approve', '--lock-timeout', '100ms')).exitCode).toBe(75)
      await lab.ok('ban', PEER, '--lock-timeout', '100ms')
      expect((await bans()).map(({ prefix }) => prefix)).toEqual([`${PEER}/32`])
      await lab.ok('unban', PEER, '--lock-timeout', '100ms')
      expect(await bans()).toEqual([])
    } finally {
      await holder.release()
    }
  })

  inTurns('writers wait for each other, and exit 75 with E106 if one hangs', async () => {
    const holder = await hold(`/run/xdp/default.${statSync(lab.bpffs).dev}.bans.lock`)
    const { exitCode, stderr } = await lab.xdp('ban', PEER, '--lock-timeout', '100ms')
    expect([exitCode, stderr]).toEqual([75, expect.stringContaining('E106')])
    await holder.release()
    const parallel = Array.from({ length: 8 }, (_, i) => lab.ok('ban', `10.0.0.${i}`, '--by', `writer-${i}`))
    await Promise.all(parallel)
    expect((await bans()).map(({ prefix, by }) => [prefix, by])).toEqual(
      Array.from({ length: 8 }, (_, i) => [`10.0.0.${i}/32`, `writer-${i}`]),
    )
    expect(JSON.parse(await lab.ok('status', '--json'))).toMatchObject({ bans: 8 })
  })

  inTurns('a caller in another network namespace is refused with E201, and bans nothing', async () => {
    const { exitCode, stderr } = await lab.xdpWithin(['nsenter', `--net=/run/netns/${lab.peer}`], 'ban', '10.0.0.1')
    expect([exitCode, stderr]).toEqual([4, expect.stringContaining('E201')])
    expect(await bans()).toEqual([])
  })

  inTurns('unban lifts the bans of one author or reason, or all', async () => {
    await lab.ok('ban', '10.0.0.1', '--by', 'a', '--reason', 'jail x')
    await lab.ok('ban', '10.0.0.2', '--by', 'a', '--reason', 'jail y')
    await lab.ok('ban', '10.0.0.3', '--by', 'b', '--reason', 'jail x')
    await lab.ok('ban', '10.0.0.4')
    // Another author's ban stays.
    expect(await lab.ok('unban', '10.0.0.3', '--by', 'a')).toContain('no such ban')
    expect(await lab.ok('unban', '--by', 'a', '--reason', 'jail x')).toBe('Lifted 1 ban.\n')
    expect(await lab.ok('unban', '--by', 'another')).toBe('Nothing changed.\n')
    expect((await bans()).map(({ prefix }) => prefix)).toEqual(['10.0.0.2/32', '10.0.0.3/32', '10.0.0.4/32'])
    expect(JSON.parse(await lab.ok('unban', '--all', '--json'))).toMatchObject({ removed: 3, absent: 0 })
    expect(await bans()).toEqual([])
    for (const args of [[], ['--all', '--stdin'], ['10.0.0.1', '--all'], ['--by', '']]) {
      expect([args, (await lab.xdp('unban', ...args)).exitCode]).toEqual([args, 64])
    }
  })
})

describe('with a daemon', () => {
  beforeEach(async () => {
    lab.write('xdp.yaml', config('198.51.100.9'))
    watching = await Watching.ready(lab, '--debounce', '20ms')
  })

  inTurns('bans go through a socket that only root may open, and which ends with the daemon', async () => {
    const { mode, uid } = lstatSync(socketOf())
    expect([mode & 0o777, uid, statSync('/run/xdp').mode & 0o777]).toEqual([0o600, 0, 0o700])
    lab.in(lab.host, 'ip', 'route', 'add', 'default', 'via', '192.0.2.3')
    await lab.ok('ban', PEER, '--ttl', '1h', '--by', 'operator', '--reason', 'a test')
    expect(await lab.ping(HOST)).toBe(0)
    expect(await bans()).toMatchObject([{ prefix: `${PEER}/32`, by: 'operator', reason: 'a test' }])
    // The daemon guards as a command does.
    const refused = await lab.xdp('ban', HOST)
    expect([refused.exitCode, refused.stderr]).toEqual([4, expect.stringMatching(/E207.*an address of this host/)])
    expect((await lab.xdp('ban', '192.0.2.3')).stderr).toContain('E227')
    await lab.ok('ban', '192.0.2.3', '--allow-cut', 'gateway')
    await lab.ok('unban', '192.0.2.3')
    expect(await lab.ok('unban', PEER)).toBe('Lifted 1 ban.\n')
    expect(await lab.ping(HOST)).toBe(2)
    expect(await watching?.end()).toBe(0)
    expect(existsSync(socketOf())).toBe(false)
    await lab.ok('ban', PEER)
    expect(await lab.ping(HOST)).toBe(0)
  })

  inTurns('every ban that is made while the daemon applies edits is in force afterwards', async () => {
    const banned = await banDuring(async () => {
      for (const blocked of ['198.51.100.1', '198.51.100.2', '198.51.100.3']) {
        lab.write('xdp.yaml', config(blocked))
        await watching?.hear('applied')
      }
    })
    expect((await bans()).map(({ prefix }) => prefix).sort()).toEqual(banned.map((address) => `${address}/32`).sort())
  })

  inTurns('messages are answered in order; invalid and late ones change nothing', async () => {
    const requests = [
      { op: 'ban', prefix: '10.0.0.1', ttl: 600 },
      { op: 'ban', prefix: '10.0.0.0/24' },
      { op: 'ban', prefix: HOST },
      { op: 'unban', prefix: '10.0.0.1/32' },
      { op: 'unban', prefix: '10.0.0.2' },
    ]
    expect(await ask({ by: 'a program', requests })).toMatchObject({
      results: [
        { result: 'added' },
        { result: 'added' },
        { result: 'refused', protects: [expect.stringContaining('an address of this host')] },
        // `by` with unban: only its own bans.
        { result: 'removed' },
        { result: 'absent' },
      ],
    })
    const ban = [{ op: 'ban', prefix: '10.9.9.9' }]
    for (const [message, code] of [
      ['nonsense', 'E300'],
      [{ version: 2, requests: ban }, 'E300'],
      [{ requests: [...ban, { op: 'ban', prefix: '10.0.0.1/8' }] }, 'E300'],
      [{ by: 'a name with more than 23 bytes', requests: ban }, 'E300'],
      [{ until: 1, requests: ban }, 'E106'],
      [{ netns: '1', requests: ban }, 'E201'],
    ] as const) {
      expect([message, await ask(message)]).toMatchObject([message, { error: { code } }])
    }
    expect((await bans()).map(({ prefix }) => prefix)).toEqual(['10.0.0.0/24'])
  })

  inTurns('a ban does not wait for a daemon that does not answer', async () => {
    watching?.signal('SIGSTOP')
    try {
      await lab.ok('ban', PEER)
      await lab.ok('unban', PEER)
    } finally {
      watching?.signal('SIGCONT')
    }
    // The daemon drops the late requests: after its answer to a new one, nothing is banned.
    await lab.ok('ban', '10.0.0.1')
    expect((await bans()).map(({ prefix }) => prefix)).toEqual(['10.0.0.1/32'])
  })
})

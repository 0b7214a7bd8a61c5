// Commit-confirm on a real kernel: an apply whose confirmation does not arrive is reverted, whatever happens to the
// process and the session that made it.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { inDepth, inTurns } from '../support/depth.ts'
import { ETH0, ETH1, EVERY_PIN, Lab, NO_OBJECTS } from '../support/hosts.ts'

/** 192.0.2.2 is blocked before the apply, 192.0.2.3 after it. */
const OLD = `version: 1
interfaces: { eth0: {}, eth1: {} }
blocklist: [192.0.2.2]
`
/** Leaves eth1, too. */
const NEW = `version: 1
interfaces: { eth0: {} }
blocklist: [192.0.2.3]
`

let lab: Lab

beforeAll(() => {
  lab = new Lab([ETH0, ETH1])
})
afterAll(async () => {
  await lab.xdp('confirm', '--cancel')
  await lab.xdp('destroy', '--auto-approve')
  lab.close()
})

// One failure must not make the others fail.
afterEach(async ({ task }) => {
  if (task.result?.state === 'fail') await lab.xdp('confirm')
})

/** Answers to 192.0.2.2 and 192.0.2.3: [0, 1] under the old policy, [1, 0] under the new one. */
const answers = async (): Promise<number[]> =>
  Promise.all(['192.0.2.2', '192.0.2.3'].map((source) => lab.ping('192.0.2.1', { source, count: 1, seconds: 0.3 })))

const statusOf = async () => JSON.parse(await lab.ok('status', '--json'))
const PATIENCE = { interval: 50 }
const AUTO = ['apply', '--auto-approve'] as const

/** Ids of the programs on the interfaces of the host. */
const programs = (): unknown[] =>
  (JSON.parse(lab.in(lab.host, 'ip', '-j', 'link', 'show')) as { ifname: string; xdp?: { prog: { id: number } } }[])
    .filter(({ xdp }) => xdp)
    .map(({ ifname, xdp }) => [ifname, xdp?.prog.id])

/** Applies the old policy; returns the programs that it runs. */
async function establish(): Promise<unknown[]> {
  lab.write('xdp.yaml', OLD)
  await lab.ok(...AUTO)
  const before = programs()
  expect(before.map((one) => (one as string[])[0])).toEqual(['eth0', 'eth1'])
  lab.write('xdp.yaml', NEW)
  return before
}

/** The very programs of before run again, and nothing is left of the new generation. */
async function expectReverted(before: readonly unknown[], reason = 'deadline'): Promise<void> {
  await expect.poll(programs, PATIENCE).toEqual(before)
  expect(await answers()).toEqual([0, 1])
  await expect.poll(async () => (await statusOf()).reverted?.reason, PATIENCE).toBe(reason)
  expect(await statusOf()).toMatchObject({ drift: false, leftovers: [], pending_confirmation: null })
  expect(lab.pins()).toHaveLength(EVERY_PIN)
  expect(guardians()).toEqual([])
}

/** Pids of guardians of this laboratory. */
const guardians = (): number[] =>
  readdirSync('/proc').flatMap((pid) => {
    try {
      const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')
      return words.includes('__guard') && words.includes(lab.bpffs) && !words[0]?.endsWith('sh') ? [Number(pid)] : []
    } catch {
      return []
    }
  })

describe('the first apply', () => {
  test('without a confirmation goes back to no program at all', async () => {
    lab.write('xdp.yaml', OLD)
    expect(await lab.ok(...AUTO, '--confirm', '5s')).toMatch(
      /Waits for confirmation [0-9a-f]{8} until .*its programs are detached/,
    )
    expect(await answers()).toEqual([0, 1])
    await expect.poll(() => lab.objects(), PATIENCE).toEqual(NO_OBJECTS)
    expect(await answers()).toEqual([1, 1])
    expect(await lab.ok('status')).toContain('its programs were detached at')
  })

  inDepth('waits for no confirmation because of the config alone, as at boot', async () => {
    lab.write('xdp.yaml', `${OLD}limits: { confirm: 1s }\n`)
    expect(JSON.parse(await lab.ok(...AUTO, '--json'))).not.toHaveProperty('pending_confirmation')
    lab.write('xdp.yaml', `${NEW}limits: { confirm: 60s }\n`)
    expect(JSON.parse(await lab.ok(...AUTO, '--json'))).toHaveProperty('pending_confirmation')
    await lab.ok('confirm')
  })
})

test('a guardian reverts at the deadline, though the config is gone', async () => {
  const before = await establish()
  const { pending_confirmation: pending } = JSON.parse(await lab.ok(...AUTO, '--confirm', '5s', '--json'))
  expect(pending).toMatchObject({ guarded: true, config: { path: join(lab.directory, 'xdp.yaml') } })
  expect(await answers()).toEqual([1, 0])
  rmSync(join(lab.directory, 'xdp.yaml'))
  await expectReverted(before)
})

test('meanwhile status, plan and metrics name it, and another apply and destroy are refused; confirm keeps it', async () => {
  const before = await establish()
  const { pending_confirmation: pending } = JSON.parse(await lab.ok(...AUTO, '--confirm', '2m', '--json'))
  lab.write('xdp.yaml', OLD)
  for (const command of ['apply', 'destroy']) {
    const { exitCode, stderr } = await lab.xdp(command, '--auto-approve')
    expect([exitCode, stderr]).toEqual([
      4,
      expect.stringContaining(`the apply ${pending.id} waits for its confirmation`),
    ])
  }
  expect(await lab.ok('plan')).toContain(`W245 unconfirmed`)
  expect(await lab.ok('status')).toContain(`Confirmation ${pending.id}: xdp confirm`)
  expect(await lab.ok('stats', '--format', 'prometheus')).toMatch(
    /^xdp_confirmation_pending 1$[\s\S]*^xdp_confirmation_remaining_seconds \d+$[\s\S]*^xdp_confirmation_guarded 1$/m,
  )
  await lab.ok('confirm', '--extend', '1h')
  const { seconds_left: left } = (await statusOf()).pending_confirmation
  expect(left).toBeGreaterThan(3500)
  expect(await lab.ok('confirm')).toContain('Confirmed. Generation')
  expect(await answers()).toEqual([1, 0])
  expect(programs()).not.toEqual(before)
  expect(lab.pins()).toHaveLength(EVERY_PIN)
  await expect.poll(guardians, PATIENCE).toEqual([])
  const again = await lab.xdp('confirm')
  expect([again.exitCode, again.stderr]).toEqual([1, expect.stringContaining('E233')])
})

inDepth('confirm --cancel goes back at once', async () => {
  const before = await establish()
  await lab.ok(...AUTO, '--confirm', '1h')
  expect(await lab.ok('confirm', '--cancel')).toContain('is in force again')
  await expect.poll(guardians, PATIENCE).toEqual([])
  await expectReverted(before, 'cancelled')
})

inTurns('confirm does not free a policy that a killed cancellation has put back in part', async () => {
  const before = await establish()
  const { generation } = await statusOf()
  await lab.ok(...AUTO, '--confirm', '1h')
  const filter = join(lab.bpffs, `xdp-as-code/default/gen-${generation}/programs/xdp_filter`)
  lab.in(lab.host, 'bpftool', 'net', 'attach', 'xdpdrv', 'pinned', filter, 'dev', 'eth0', 'overwrite')
  const { exitCode, stderr } = await lab.xdp('confirm')
  expect([exitCode, stderr]).toEqual([
    4,
    expect.stringMatching(/E266 .*from before it is in force on eth0\n.*--cancel/),
  ])
  expect(await lab.ok('confirm', '--cancel')).toContain('is in force again')
  await expectReverted(before, 'cancelled')
})

inTurns('a lock file of a guardian that was killed is removed by the next apply', async () => {
  await establish()
  const { dev } = statSync(lab.bpffs)
  const file = `/run/xdp/default.${dev}.guardian-0badf00d.lock`
  writeFileSync(file, '')
  lab.write('xdp.yaml', OLD)
  await lab.ok(...AUTO)
  expect(existsSync(file)).toBe(false)
})

test('SIGKILL of the process group of the command, right after the switch, changes nothing about that', async () => {
  const before = await establish()
  const [file, ...args] = lab.argv(...AUTO, '--confirm', '3s') as [string, ...string[]]
  const child = spawn(file, args, { cwd: lab.directory, stdio: 'ignore', detached: true })
  const closed = once(child, 'close')
  await expect.poll(programs, { interval: 1 }).not.toEqual(before)
  process.kill(-(child.pid as number), 'SIGKILL')
  await closed
  await expect.poll(programs, PATIENCE).toEqual(before)
  expect(await answers()).toEqual([0, 1])
  await expect.poll(guardians, PATIENCE).toEqual([])
  // The boot must know of it, too.
  expect(JSON.parse(await lab.ok('history', '--json')).entries[0]).toMatchObject({ result: 'reverted' })
  expect(await statusOf()).toMatchObject({ drift: false, leftovers: [], pending_confirmation: null })
})

/** Runs an apply on a terminal of its own, up to its countdown. */
async function countingDown(time: string) {
  const words = lab.argv(...AUTO, '--confirm', time).map((word) => `'${word}'`)
  const child = spawn('script', ['-qfec', words.join(' '), '/dev/null'], {
    cwd: lab.directory,
    stdio: ['pipe', 'pipe', 'ignore'],
  })
  const closed = once(child, 'close') as Promise<[number | null]>
  let output = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text
  })
  await expect.poll(() => output, PATIENCE).toMatch(/returns in \d+ s\.[\s\S]*Keep the new policy\? yes or no: /)
  return { child, closed, output: () => output }
}

inDepth('on a terminal it counts down; without an answer the command ends with status 1', async () => {
  const before = await establish()
  const { closed, output } = await countingDown('3s')
  expect((await closed)[0]).toBe(1)
  expect(new Set(output().match(/returns in \d+ s/g)).size).toBeGreaterThan(1)
  expect(output()).toContain('was not confirmed in time')
  await expectReverted(before)
})

test('the answer yes confirms; the loss of the terminal does not', async () => {
  const before = await establish()
  const first = await countingDown('3s')
  first.child.kill('SIGKILL')
  await expectReverted(before)
  const second = await countingDown('60s')
  second.child.stdin.write('yes\n')
  expect((await second.closed)[0]).toBe(0)
  expect(second.output()).toContain('Confirmed.')
  expect(await answers()).toEqual([1, 0])
})

test('a killed guardian shows, and apply is refused; an extension starts another one', async () => {
  const before = await establish()
  await lab.ok(...AUTO, '--confirm', '1h')
  for (const pid of guardians()) process.kill(pid, 'SIGKILL')
  await expect.poll(async () => (await statusOf()).pending_confirmation?.guarded, PATIENCE).toBe(false)
  expect(await lab.ok('status')).toContain('No guardian runs')
  expect(await lab.ok(...AUTO)).toContain('Waits for confirmation')
  lab.write('xdp.yaml', OLD)
  const refused = await lab.xdp(...AUTO)
  expect([refused.exitCode, refused.stderr]).toEqual([4, expect.stringContaining('no guardian runs')])
  expect(programs()).not.toEqual(before)
  await lab.ok('confirm', '--extend', '1s')
  await expectReverted(before)
})

inDepth('the next apply goes back first if the guardian was killed and the deadline has passed', async () => {
  const before = await establish()
  await lab.ok(...AUTO, '--confirm', '3s')
  for (const pid of guardians()) process.kill(pid, 'SIGKILL')
  await expect.poll(async () => (await statusOf()).pending_confirmation.seconds_left, PATIENCE).toBe(0)
  expect(programs()).not.toEqual(before)
  lab.write('xdp.yaml', OLD)
  expect(JSON.parse(await lab.ok(...AUTO, '--json'))).toMatchObject({ changed: false })
  expect(programs()).toEqual(before)
  expect(lab.pins()).toHaveLength(EVERY_PIN)
})

inDepth('SIGHUP and SIGINT do not end the guardian, SIGTERM makes it go back at once', async () => {
  const before = await establish()
  await lab.ok(...AUTO, '--confirm', '1h')
  const [pid] = guardians()
  for (const signal of ['SIGHUP', 'SIGINT', 'SIGHUP', 'SIGINT'] as const) process.kill(pid as number, signal)
  expect(await lab.ok('confirm', '--extend', '2h')).toContain('Extended.')
  expect(guardians()).toEqual([pid])
  process.kill(pid as number, 'SIGTERM')
  await expectReverted(before, 'stopped')
})

inDepth('a full /run stops neither the guardian nor the confirmation that has begun', async () => {
  const before = await establish()
  const fill = 'mount -t tmpfs -o size=8m none /run && "$@" && { cat /dev/zero >/run/full 2>/dev/null; true; }'
  const words = ['unshare', '--mount', 'sh', '-c', fill, 'sh']
  const { exitCode, stderr } = await lab.xdpWithin(words, ...AUTO, '--confirm', '4s')
  expect([exitCode, stderr]).toEqual([0, ''])
  expect(programs()).not.toEqual(before)
  await expect.poll(programs, PATIENCE).toEqual(before)
  expect(await answers()).toEqual([0, 1])
  await expect.poll(guardians, PATIENCE).toEqual([])
  expect(lab.pins()).toHaveLength(EVERY_PIN)
})

inDepth('an apply without room for its record changes nothing', async () => {
  const before = await establish()
  const fill = 'mount -t tmpfs -o size=200k,nr_inodes=20 none /run && mkdir -m 700 /run/xdp && "$@"'
  const { exitCode, stderr } = await lab.xdpWithin(
    ['unshare', '--mount', 'sh', '-c', `${fill.replace('"$@"', 'cat /dev/zero >/run/full 2>/dev/null; "$@"')}`, 'sh'],
    ...AUTO,
    '--confirm',
    '2s',
  )
  expect([exitCode, stderr]).toEqual([69, expect.stringContaining('E115')])
  expect(programs()).toEqual(before)
  expect(await statusOf()).toMatchObject({ leftovers: [], pending_confirmation: null })
  expect(statSync(lab.bpffs).isDirectory()).toBe(true)
})

// The history on a real kernel: what it keeps, rollbacks in every way, a daemon beside them, and the boot after an apply
// that was not confirmed.

import { existsSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { inDepth } from '../support/depth.ts'
import { Lab, NO_OBJECTS } from '../support/hosts.ts'
import { check } from '../support/schemas.ts'
import { Watching } from '../support/watching.ts'

/** 192.0.2.2 and 192.0.2.3 are the peers. */
const config = (...blocked: string[]): string => `version: 1
include: [conf.d/*.yaml]
interfaces: { eth0: {} }
blocklist: [${blocked.join(', ')}]
`
const LISTED = 'version: 1\nblocklist: [{ name: feed, file: ../lists/feed.txt, exclude_private: false }]\n'

let lab: Lab

beforeAll(() => {
  lab = new Lab()
  lab.write('lists/feed.txt', '203.0.113.1\n')
  lab.write('conf.d/feed.yaml', LISTED)
})
afterAll(async () => {
  await lab.xdp('confirm', '--cancel')
  await lab.xdp('destroy', '--auto-approve')
  lab.close()
})

const AUTO = '--auto-approve'
const answers = async (): Promise<number[]> =>
  Promise.all(['192.0.2.2', '192.0.2.3'].map((source) => lab.ping('192.0.2.1', { source, count: 1, seconds: 0.3 })))

interface Entry {
  readonly number: number
  readonly result: string
  readonly action: string
  readonly restores: number | null
  readonly in_force: boolean
}

const entries = async (): Promise<readonly Entry[]> => {
  const document = check('history', await lab.ok('history', '--json')) as { readonly entries: readonly Entry[] }
  return document.entries
}

/** `[number, result]` of each entry, newest first. */
const results = async (): Promise<(string | number)[][]> =>
  (await entries()).map(({ number, result }) => [number, result])

const folder = (): string => {
  const [instance = ''] = readdirSync(join(lab.state, 'history'))
  return join(lab.state, 'history', instance)
}

/** Leaves of the instance what a reboot leaves: nothing in the kernel. The guardian notices, and ends. */
function reboot(): void {
  rmSync(join(lab.bpffs, 'xdp-as-code'), { recursive: true })
  lab.in(lab.host, 'ip', 'link', 'set', 'dev', 'eth0', 'xdp', 'off')
}

test('keeps each apply that changed the policy, with its config, its files and its plan, for root alone', async () => {
  expect(await lab.ok('history')).toBe('The history is empty: no apply has changed anything yet.\n')
  lab.write('xdp.yaml', config('192.0.2.2'))
  await lab.ok('apply', AUTO)
  await lab.ok('apply', AUTO)
  lab.write('xdp.yaml', config('192.0.2.3'))
  lab.write('lists/feed.txt', '203.0.113.1\n203.0.113.2\n')
  await lab.ok('apply', AUTO)
  // Repairs no edit.
  lab.in(lab.host, 'ip', 'link', 'set', 'dev', 'eth0', 'xdp', 'off')
  await lab.ok('apply', AUTO)
  expect(await results()).toEqual([
    [2, 'applied'],
    [1, 'applied'],
  ])
  const text = await lab.ok('history')
  expect(text).toMatch(/^\* 2 .* applied .* \+0 ~2 -0 \(\+2 -1 prefixes\) .*xdp\.yaml [0-9a-f]{12}$/m)
  const shown = await lab.ok('history', 'show', '1')
  expect(shown).toContain(`blocklist: [192.0.2.2]`)
  expect(shown).toContain(`--- ${join(lab.directory, 'conf.d/feed.yaml')}\n${LISTED}`)
  expect(check('history', await lab.ok('history', 'show', '1', '--json'))).toMatchObject({
    not_kept: [],
    entries: [{ number: 1, in_force: false, summary: { create: 5 }, by: { uid: 0 } }],
  })
  for (const path of [join(lab.state, 'history'), folder(), join(folder(), 'contents')])
    expect(statSync(path).mode & 0o777).toBe(0o700)
  for (const path of [
    join(folder(), '1.json'),
    ...readdirSync(join(folder(), 'contents')).map((one) => join(folder(), 'contents', one)),
  ])
    expect(statSync(path).mode & 0o777).toBe(0o600)
})

test('rollback needs neither config nor lists, leaves the file, and says so until that is applied', async () => {
  const names = ['xdp.yaml', 'conf.d/feed.yaml', 'lists/feed.txt']
  for (const name of names) rmSync(join(lab.directory, name))
  const { stdout } = await lab.xdp('rollback', AUTO)
  expect(stdout).toMatch(/^Plan for apply 1 of .*xdp\.yaml/)
  expect(stdout).toContain(`+ 192.0.2.2  # ${join(lab.directory, 'xdp.yaml')}:4`)
  expect(await answers()).toEqual([0, 1])
  expect(existsSync(join(lab.directory, 'xdp.yaml'))).toBe(false)
  expect(await entries()).toMatchObject([{ number: 3, action: 'rollback', restores: 1, in_force: true }, {}, {}])

  lab.write('xdp.yaml', config('192.0.2.3'))
  lab.write('conf.d/feed.yaml', LISTED)
  lab.write('lists/feed.txt', '203.0.113.1\n203.0.113.2\n')
  const plan = await lab.ok('plan')
  expect(plan).toContain('W247 file-overruled')
  expect(plan).toContain('xdp.yaml has not changed since `xdp rollback` went back to apply 1')
  expect(await lab.ok('status')).toContain('! Rolled back to apply 1 at')
  expect(check('status', await lab.ok('status', '--json'))).toMatchObject({
    drift: false,
    rollback: { apply: 3, restores: 1, config: join(lab.directory, 'xdp.yaml') },
  })
  await lab.ok('apply', AUTO)
  expect(await answers()).toEqual([1, 0])
  expect(await lab.ok('plan')).not.toContain('W247')
  expect(JSON.parse(await lab.ok('status', '--json'))).toMatchObject({ rollback: null })
})

test('diff compares applies, files and the live policy, like a plan', async () => {
  const path = lab.write('other.yaml', config('192.0.2.3'))
  const between = await lab.ok('diff', '1', '2')
  expect(between).toContain('Difference from apply 1 to apply 2')
  expect(between).toContain('+ 203.0.113.2')
  expect(between).toContain('Difference: 0 to create, 2 to update, 0 to delete.')
  for (const words of [
    ['2', 'live', '--detailed-exitcode'],
    ['live', path],
  ])
    expect(await lab.ok('diff', ...words)).toContain('are the same policy')
  const { exitCode, stdout } = await lab.xdp('diff', 'live', '1', '--json', '--detailed-exitcode')
  expect([exitCode, check('plan', stdout)]).toMatchObject([
    2,
    {
      compared: { from: 'the live policy', to: 'apply 1' },
      summary: { update: 2, prefixes_added: 1, prefixes_removed: 2 },
    },
  ])
  const missing = await lab.xdp('diff', 'live', 'no-such.yaml')
  expect([missing.exitCode, missing.stderr]).toEqual([66, expect.stringContaining('E001')])
})

describe('refused', () => {
  test('without approval, without such an apply, and for what is no number', async () => {
    const before = await results()
    const refused = [
      [64, 'E300', '1'],
      [1, 'E235', '99', AUTO],
      [64, 'E300', 'last', AUTO],
    ] as const
    await Promise.all(
      refused.map(async ([status, code, ...args]) => {
        const { exitCode, stderr } = await lab.xdp('rollback', ...args)
        expect([args, exitCode, stderr]).toEqual([args, status, expect.stringContaining(code)])
      }),
    )
    expect(await results()).toEqual(before)
    expect(await answers()).toEqual([1, 0])
  })

  inDepth('where an entry, or a content of it, is damaged', async () => {
    const broken = join(folder(), '1.json')
    const intact = await lab.ok('history', 'show', '1', '--json')
    const [{ files }] = (JSON.parse(intact) as { entries: [{ files: { sha256: string; kind: string }[] }] }).entries
    const list = files.find(({ kind }) => kind === 'list')?.sha256 ?? ''
    writeFileSync(join(folder(), 'contents', list), '198.51.100.1\n', { mode: 0o600 })
    const forged = await lab.xdp('rollback', '1', AUTO)
    expect([forged.exitCode, forged.stderr]).toEqual([1, expect.stringContaining('E236')])
    rmSync(join(folder(), 'contents', list))
    const lost = await lab.xdp('rollback', '1', AUTO)
    expect([lost.exitCode, lost.stderr]).toEqual([4, expect.stringMatching(/E237.*lists\/feed\.txt/s)])
    // The file on the disk has that content again.
    lab.write('lists/feed.txt', '203.0.113.1\n')
    expect((await lab.xdp('rollback', '1')).stderr).toContain('E300')

    writeFileSync(broken, '{"format":1,"number":1', { mode: 0o600 })
    const damaged = await lab.xdp('rollback', '1', AUTO)
    expect([damaged.exitCode, damaged.stderr]).toEqual([1, expect.stringContaining('E236')])
    expect(await lab.ok('history')).toContain('! 1: ')
    expect(check('history', await lab.ok('history', '--json'))).toMatchObject({ damaged: [{ number: 1 }] })
    expect(await answers()).toEqual([1, 0])
  })
})

inDepth('a history that cannot be written is a warning, and the apply succeeds', async () => {
  const kept = folder()
  rmSync(kept, { recursive: true })
  writeFileSync(kept, '')
  lab.write('lists/feed.txt', '203.0.113.1\n203.0.113.2\n')
  lab.write('xdp.yaml', config('192.0.2.2'))
  const { exitCode, stderr } = await lab.xdp('apply', AUTO)
  expect([exitCode, stderr]).toEqual([0, expect.stringContaining('W246 history-not-kept')])
  expect(await answers()).toEqual([0, 1])
  const unusable = await lab.xdp('history')
  expect([unusable.exitCode, unusable.stderr]).toEqual([69, expect.stringContaining('E238')])
  rmSync(kept)
})

describe('with a confirmation', () => {
  /** A new history: an apply that is confirmed, then one that waits. `listed`: in the list of both. */
  async function confirmThenWait(listed: string): Promise<void> {
    rmSync(folder(), { recursive: true, force: true })
    lab.write('lists/feed.txt', `${listed}\n`)
    lab.write('xdp.yaml', config('192.0.2.3'))
    await lab.ok('apply', AUTO, '--confirm', '1h')
    expect(await results()).toEqual([[1, 'pending']])
    await lab.ok('confirm')
    expect(await results()).toEqual([[1, 'confirmed']])
    lab.write('xdp.yaml', config('192.0.2.2'))
    await lab.ok('apply', AUTO, '--confirm', '1h')
  }

  inDepth('an apply is pending, then confirmed or reverted', async () => {
    await confirmThenWait('203.0.113.3')
    const pending = await lab.xdp('rollback', '1', AUTO)
    expect([pending.exitCode, pending.stderr]).toEqual([4, expect.stringContaining('E230')])
    await lab.ok('confirm', '--cancel')
    expect(await results()).toEqual([
      [2, 'reverted'],
      [1, 'confirmed'],
    ])
    const none = await lab.xdp('rollback', AUTO)
    expect([none.exitCode, none.stderr]).toEqual([1, expect.stringContaining('E235')])
  })

  inDepth('a rollback that is not confirmed leaves the policy of the file', async () => {
    await lab.ok('rollback', '2', AUTO, '--confirm', '1h')
    expect(await answers()).toEqual([0, 1])
    expect((await entries())[0]).toMatchObject({ number: 3, action: 'rollback', result: 'pending' })
    await lab.ok('confirm', '--cancel')
    expect(await answers()).toEqual([1, 0])
    expect((await entries())[0]).toMatchObject({ result: 'reverted', in_force: false })
    expect(JSON.parse(await lab.ok('status', '--json'))).toMatchObject({ rollback: null })
  })

  test('after a reboot the unit applies the last confirmed policy, until the file changes', async () => {
    await confirmThenWait('203.0.113.9')
    expect(await answers()).toEqual([0, 1])
    reboot()
    const before = (await results()).length
    const boot = await lab.xdp('apply', AUTO, '--boot')
    expect([boot.exitCode, boot.stdout]).toEqual([0, expect.stringContaining('W248 last-confirmed')])
    expect(await answers()).toEqual([1, 0])
    reboot()
    await lab.ok('apply', AUTO, '--boot')
    expect(await answers()).toEqual([1, 0])
    // Boots fill no history.
    expect(await results()).toHaveLength(before)

    lab.write('xdp.yaml', config('192.0.2.2', '192.0.2.3'))
    reboot()
    expect((await lab.xdp('apply', AUTO, '--boot')).stdout).not.toContain('W248')
    expect(await answers()).toEqual([0, 0])
  })

  inDepth('without a policy before, the boot applies none', async () => {
    rmSync(folder(), { recursive: true })
    await lab.ok('destroy', AUTO)
    lab.write('xdp.yaml', config('192.0.2.2'))
    await lab.ok('apply', AUTO, '--confirm', '1h')
    reboot()
    const { exitCode, stderr } = await lab.xdp('apply', AUTO, '--boot')
    expect([exitCode, stderr]).toEqual([4, expect.stringContaining('E231')])
    expect(lab.objects()).toEqual(NO_OBJECTS)
    await lab.ok('apply', AUTO)
  })
})

test('a daemon keeps the policy of a rollback, repairs it, and goes on with the next edit', async () => {
  lab.write('xdp.yaml', config('192.0.2.3'))
  const daemon = await Watching.ready(lab, '--debounce', '20ms')
  try {
    lab.write('xdp.yaml', config('192.0.2.2', '192.0.2.3'))
    await daemon.hear('applied', ({ trigger }) => trigger === 'edit')
    expect((await entries())[0]).toMatchObject({ action: 'apply', in_force: true })
    const { stdout } = await lab.xdp('rollback', AUTO)
    expect(stdout).toContain('xdp.yaml is as it was')
    await daemon.hear('overruled')
    expect(await answers()).toEqual([1, 0])

    lab.in(lab.host, 'ip', 'link', 'set', 'dev', 'eth0', 'xdp', 'off')
    await daemon.hear('applied', ({ trigger }) => trigger === 'kernel')
    expect(await answers()).toEqual([1, 0])
    expect((await entries())[0]).toMatchObject({ action: 'rollback', in_force: true })

    lab.write('xdp.yaml', config('192.0.2.2'))
    await daemon.hear('applied', ({ trigger }) => trigger === 'edit')
    expect(await answers()).toEqual([0, 1])
  } finally {
    await daemon.end()
  }
})

inDepth('a daemon that starts after a rollback keeps that policy', async () => {
  await lab.ok('rollback', AUTO)
  expect(await answers()).toEqual([1, 0])
  const again = new Watching(lab)
  try {
    await again.hear('overruled')
    await again.hear('ready')
    expect(await answers()).toEqual([1, 0])
  } finally {
    await again.end()
  }
})

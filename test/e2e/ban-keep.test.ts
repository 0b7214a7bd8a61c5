// Bans that outlive a reboot: the daemon saves them when it stops, and the first apply of another boot restores those whose
// time is not over, behind the guards of every ban. A damaged file is a warning.

import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, expect } from 'vitest'
import { decodeSavedBans, encodeSavedBans, type SavedBan } from '../../src/history/saved-bans.ts'
import { formatAddress } from '../../src/model/text.ts'
import { parse } from '../support/bans.ts'
import { inTurns } from '../support/depth.ts'
import { Lab } from '../support/hosts.ts'
import { Watching } from '../support/watching.ts'

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

const CONFIG = 'version: 1\ninterfaces: { eth0: { mode: generic } }\nbans: { persist: true }\n'

interface Listed {
  readonly prefix: string
  readonly by: string | null
  readonly reason: string | null
  readonly ttl_left: number | null
  readonly action: string
}
const bans = async (): Promise<readonly Listed[]> =>
  (JSON.parse(await lab.ok('bans', '--json')) as { bans: Listed[] }).bans

/** The file of saved bans. The history has the name of the instance, too. */
async function savedFile(): Promise<string> {
  await lab.ok('apply', '--auto-approve')
  await lab.ok('destroy', '--auto-approve')
  const [name] = readdirSync(join(lab.state, 'history'))
  return join(lab.state, 'bans', `${name}.jsonl`)
}

const saved = (prefix: string, more: Partial<SavedBan> = {}): SavedBan => ({
  ...{ prefix: parse(prefix), expires: undefined, by: 'alice', reason: '', observe: false },
  ...more,
})

/** Writes what a daemon of an earlier boot saved. */
function save(file: string, bans: readonly SavedBan[]): void {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
  writeFileSync(file, encodeSavedBans({ boot: 'an earlier one', bans }), { mode: 0o600 })
}

/** The prefixes in a file of saved bans. */
function kept(file: string): string[] {
  const content = decodeSavedBans(readFileSync(file))
  if (typeof content === 'string') throw new Error(content)
  return content.bans.map(({ prefix: { family, start, length } }) => `${formatAddress(family, start)}/${length}`)
}

/** Runs shell lines before bpftool runs commands that match the shell pattern; `$lab/pid` has the process under test. */
function before(pattern: string, script: string): void {
  lab.tool(
    'bpftool',
    `lab=${lab.directory}
before() { case "$1" in ${pattern}) ${script};; esac; }
case "$*" in
  *batch*) lines=$(cat); before "$lines"; printf '%s\\n' "$lines" | /usr/sbin/bpftool "$@"; exit $?;;
esac
before "$*"
exec /usr/sbin/bpftool "$@"
`,
  )
}

inTurns('a daemon that is stopped during its first apply after a boot loses no bans', async () => {
  lab.write('xdp.yaml', CONFIG)
  const file = await savedFile()
  save(file, [saved('198.51.100.7'), saved('2001:db8:7::/48', { observe: true })])
  before('*"net attach"*', 'kill -TERM $(cat $lab/pid)')
  watching = new Watching(lab)
  lab.write('pid', `${watching.pid}`)
  await watching.hear('stopped')
  // A second SIGTERM would end it at once.
  expect(await watching.end('SIGCONT')).toBe(0)
  expect(watching.lines.flatMap(({ warnings = [] }) => warnings)).toEqual([])
  watching = undefined
  expect((await bans()).map(({ prefix }) => prefix)).toEqual(['198.51.100.7/32', '2001:db8:7::/48'])
  expect(kept(file)).toEqual(['198.51.100.7/32', '2001:db8:7::/48'])
})

const own = (prefixes: readonly Listed[]): string[] => prefixes.map(({ prefix }) => prefix)
/** More than one process of bpftool writes. */
const MANY = Array.from({ length: 20_000 }, (_, i) => saved(`10.9.${i >> 8}.${i & 255}`, { by: 'rate-limit' }))

inTurns('a restore that was killed goes on in the next apply, without what was lifted meanwhile', async () => {
  lab.write('xdp.yaml', CONFIG)
  const file = await savedFile()
  save(file, [...MANY, saved('198.51.100.7'), saved('198.51.100.8'), saved('198.51.100.9')])
  before('*ban_write*', 'echo >>$lab/writes; [ $(wc -l <$lab/writes) = 1 ] || { kill -9 $(cat $lab/pid); exit 1; }')
  const apply = lab.start('apply', '--auto-approve')
  lab.write('pid', `${apply.pid}`)
  await once(apply, 'close')
  lab.realTools()
  const some = (await bans()).length
  expect(some).toBeGreaterThan(10_000)
  expect(some).toBeLessThan(20_000)

  // Of one that is back, one that is not yet, and one by its author, who bans another one.
  await lab.ok('unban', '10.9.0.7', '--by', 'rate-limit')
  await lab.ok('unban', '10.9.0.8', '--by', 'bob')
  await lab.ok('unban', '198.51.100.7')
  await lab.ok('ban', '198.51.100.8', '--ttl', '1h', '--by', 'bob')
  await lab.ok('ban', '203.0.113.1', '--by', 'bob')
  expect(await lab.ok('apply', '--auto-approve')).toContain('No changes')
  const all = await bans()
  expect(all).toHaveLength(MANY.length + 2)
  expect(all.find(({ prefix }) => prefix === '198.51.100.8/32')).toMatchObject({ by: 'bob', reason: null })
  expect(own(all)).not.toContain('10.9.0.7/32')
  expect(own(all)).toContain('10.9.0.8/32')
  expect(own(all)).not.toContain('198.51.100.7/32')
  expect(kept(file).toSorted()).toEqual(own(all).toSorted())

  // It is complete: nothing comes back, and changes are not noted any more.
  await lab.ok('unban', '198.51.100.9')
  await lab.ok('apply', '--auto-approve')
  expect(own(await bans())).not.toContain('198.51.100.9/32')
})

inTurns(
  'bans made while a file cannot be restored are saved beside it, and a backup in its place is restored',
  async () => {
    lab.write('xdp.yaml', CONFIG)
    const file = await savedFile()
    save(file, [saved('198.51.100.7')])
    const backup = readFileSync(file)
    writeFileSync(file, 'damaged')
    const first = await lab.xdp('apply', '--auto-approve')
    expect([first.exitCode, first.stderr]).toEqual([0, expect.stringMatching(/it is damaged[\s\S]*put a backup there/)])
    const second = await lab.xdp('apply', '--auto-approve')
    expect([second.stdout, second.stderr]).toEqual([
      expect.stringContaining('No changes'),
      expect.stringContaining('it is damaged'),
    ])
    expect(second.stdout).not.toContain('it is damaged')
    await lab.ok('ban', '198.51.100.1', '--by', 'bob')
    watching = await Watching.ready(lab)
    expect(await watching.end()).toBe(0)
    expect((await watching.hear('trouble')).message).toContain('(it is damaged) are in ')
    watching = undefined
    expect(kept(file)).toEqual(['198.51.100.1/32'])
    const [aside = ''] = readdirSync(dirname(file)).filter((name) => name.endsWith('.unusable'))
    expect(readFileSync(join(dirname(file), aside), 'utf8')).toBe('damaged')

    writeFileSync(file, backup)
    await lab.ok('apply', '--auto-approve')
    expect(own(await bans())).toEqual(['198.51.100.1/32', '198.51.100.7/32'])
    expect(kept(file)).toEqual(['198.51.100.1/32', '198.51.100.7/32'])

    // The kernel refuses all writes: both are in the file, for a later restore.
    writeFileSync(file, backup)
    await lab.ok('unban', '198.51.100.7')
    before('*ban_write*', 'exit 1')
    watching = await Watching.ready(lab)
    expect(await watching.end()).toBe(0)
    watching = undefined
    lab.realTools()
    expect(kept(file)).toEqual(['198.51.100.1/32', '198.51.100.7/32'])
    const failed = await lab.ok('destroy', '--auto-approve')
    expect([failed.includes('1 ban in force ends'), existsSync(file)]).toEqual([true, false])
  },
)

inTurns(
  'a first apply that is not confirmed leaves the saved bans to the next one, without those lifted meanwhile',
  async () => {
    lab.write('xdp.yaml', CONFIG)
    const file = await savedFile()
    save(file, [saved('198.51.100.7'), saved('198.51.100.8')])
    await lab.ok('apply', '--auto-approve', '--confirm', '5m')
    expect(own(await bans())).toEqual(['198.51.100.7/32', '198.51.100.8/32'])
    await lab.ok('unban', '198.51.100.8')
    await lab.ok('ban', '203.0.113.1')
    // A daemon that stops saves both, and does not complete the restore.
    watching = new Watching(lab)
    await watching.hear('started')
    await watching.end('SIGTERM')
    watching = undefined
    expect(kept(file)).toEqual(['198.51.100.7/32', '203.0.113.1/32'])
    await lab.ok('confirm', '--cancel')
    await lab.ok('apply', '--auto-approve', '--confirm', 'off')
    // A ban made meanwhile has ended with the policy, and one lifted meanwhile stays lifted.
    expect(own(await bans())).toEqual(['198.51.100.7/32'])
    // Now it is complete.
    await lab.ok('unban', '198.51.100.7')
    expect(await lab.ok('apply', '--auto-approve')).toContain('No changes')
    expect(await bans()).toEqual([])
  },
)

inTurns('bans of operators come back first, and those of limits leave an eighth of the table to others', async () => {
  lab.write('xdp.yaml', `${CONFIG}limits: { bans: 32 }\n`)
  const file = await savedFile()
  save(file, [...MANY.slice(0, 40), saved('198.51.100.7'), saved('198.51.100.8')])
  const { exitCode, stderr } = await lab.xdp('apply', '--auto-approve')
  expect([exitCode, stderr]).toEqual([
    0,
    expect.stringContaining('14 saved bans of 42 could not be restored: 10.9.0.26, '),
  ])
  expect(stderr).toContain('raise `limits.bans`')
  const all = await bans()
  expect(all.filter(({ by }) => by === 'rate-limit')).toHaveLength(26)
  expect(own(all).slice(26)).toEqual(['198.51.100.7/32', '198.51.100.8/32'])
  await lab.ok('ban', '203.0.113.1')
})

inTurns('bans outlive a reboot', async () => {
  lab.write('xdp.yaml', CONFIG)
  watching = await Watching.ready(lab)
  await lab.ok('ban', '198.51.100.7', '--by', 'alice', '--reason', 'guesses')
  await lab.ok('ban', '198.51.100.8', '--ttl', '1h')
  await lab.ok('ban', '198.51.100.9', '--ttl', '1h')
  await lab.ok('ban', '2001:db8:7::/48', '--observe')
  await lab.ok('ban', '192.0.2.0/24', '--force-cut')
  const end = watching.end('SIGTERM')
  expect(await end).toBe(0)
  watching = undefined
  const [name = ''] = readdirSync(join(lab.state, 'bans'))
  const file = join(lab.state, 'bans', name)
  const kept = readFileSync(file, 'utf8')

  // This boot lifts all of them on purpose, and names them before.
  const destroyed = await lab.ok('destroy', '--auto-approve')
  expect(destroyed).toContain('5 bans in force end with everything else: 192.0.2.0/24, 198.51.100.7 by alice')
  expect(existsSync(file)).toBe(false)
  writeFileSync(file, kept, { mode: 0o600 })
  await lab.ok('apply', '--auto-approve')
  expect(await bans()).toEqual([])
  await lab.ok('destroy', '--auto-approve')

  // Another boot, an hour later for one of them.
  const [head = '', ...lines] = kept.trimEnd().split('\n')
  const later = lines.map((line) => {
    const [prefix, expires, ...rest] = JSON.parse(line) as [string, number | null]
    return JSON.stringify([prefix, prefix.startsWith('198.51.100.9/') ? 1 : expires, ...rest])
  })
  const content = later.map((line) => `${line}\n`).join('')
  const digest = createHash('sha256').update(content).digest('hex')
  writeFileSync(file, `${JSON.stringify({ ...JSON.parse(head), boot: 'another', sha256: digest })}\n${content}`)
  // The guard refuses what would cut the gateway by now, and the policy is in force all the same.
  const { exitCode, stdout, stderr } = await lab.xdp('apply', '--auto-approve')
  expect([exitCode, stdout]).toEqual([0, expect.stringContaining('Applied')])
  expect(stderr).toContain('warning[W252 bans-lost]')
  expect(stderr).toContain('1 saved ban of 4 could not be restored: 192.0.2.0/24')
  const restored = await bans()
  expect(restored).toMatchObject([
    { prefix: '198.51.100.7/32', by: 'alice', reason: 'guesses', ttl_left: null, action: 'drop' },
    { prefix: '198.51.100.8/32', action: 'drop' },
    { prefix: '2001:db8:7::/48', action: 'observe' },
  ])
  expect(restored[1]?.ttl_left).toBeGreaterThan(3000)

  // No unban lifts an entry of the file.
  lab.write('xdp.yaml', `${CONFIG}blocklist:\n  - 203.0.113.0/24\n`)
  const blocked = await lab.xdp('unban', '203.0.113.9')
  expect([blocked.exitCode, blocked.stderr]).toEqual([
    0,
    expect.stringMatching(
      /^warning\[W274 .*203\.0\.113\.9 is not banned; the blocklist .*203\.0\.113\.0\/24 at .*xdp\.yaml:5\n/,
    ),
  ])
  expect(JSON.parse((await lab.xdp('unban', '203.0.113.9', '--json')).stdout)).toMatchObject({
    absent: 1,
    warnings: [{ code: 'W274' }],
  })
  expect((await lab.xdp('unban', '203.0.114.9')).stderr).toBe('')
  expect((await lab.ok('bans', '--by', 'alice')).split('\n')).toHaveLength(3)

  await lab.ok('destroy', '--auto-approve')
  writeFileSync(file, 'damaged', { mode: 0o600 })
  const damaged = await lab.xdp('apply', '--auto-approve')
  expect([damaged.exitCode, damaged.stderr]).toEqual([0, expect.stringContaining('it is damaged')])
  expect(await bans()).toEqual([])
})

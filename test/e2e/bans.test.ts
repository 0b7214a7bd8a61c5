// Bans on a real link: they drop at once and expire, apply does not touch them, guards prevent lock-outs, and a hundred
// thousand of them fit.

import { execFileSync, spawn } from 'node:child_process'
import { createReadStream, mkdirSync } from 'node:fs'
import { afterEach, beforeEach, describe, expect } from 'vitest'
import { pinPaths } from '../../src/abi/paths.ts'
import { inDepth, inTurns, usually } from '../support/depth.ts'
import { Lab } from '../support/hosts.ts'

const HOST = '192.0.2.1'
const PEER = '192.0.2.2'
const CONFIG = 'version: 1\ninterfaces: { eth0: { mode: generic } }\n'

/** Kills the processes of a group, if it has any left: an apply may end before. */
function killGroup(leader: number): void {
  try {
    process.kill(-leader, 'SIGKILL')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

let lab: Lab
beforeEach(() => {
  lab = new Lab()
  lab.write('xdp.yaml', CONFIG)
})
afterEach(() => lab.close())

const apply = (text?: string): Promise<string> => {
  if (text !== undefined) lab.write('xdp.yaml', text)
  return lab.ok('apply', '--auto-approve')
}

interface Listed {
  readonly prefix: string
  readonly by: string | null
  readonly reason: string | null
  readonly ttl_left: number | null
}
const bans = async (): Promise<readonly Listed[]> =>
  (JSON.parse(await lab.ok('bans', '--json')) as { bans: Listed[] }).bans
const status = async () =>
  JSON.parse(await lab.ok('status', '--json')) as { bans: number; bans_capacity: number; drift: boolean }

/** Runs `xdp ban --stdin …` or `xdp unban --stdin …` on the text of a file. */
async function stream(
  verb: 'ban' | 'unban',
  file: string,
  ...args: readonly string[]
): Promise<{ exitCode: number; stdout: string; stderr: string }> {
  const [command, ...rest] = lab.argv(verb, '--stdin', ...args) as [string, ...string[]]
  const child = spawn(command, rest, { cwd: lab.directory, stdio: ['pipe', 'pipe', 'pipe'] })
  const seen = { stdout: '', stderr: '' }
  child.stdout.on('data', (data) => {
    seen.stdout += data
  })
  child.stderr.on('data', (data) => {
    seen.stderr += data
  })
  child.stdin.on('error', () => undefined)
  createReadStream(file).pipe(child.stdin)
  const exitCode = await new Promise<number>((resolve) => child.on('close', (code) => resolve(code ?? -1)))
  return { exitCode, ...seen }
}

describe('a ban', () => {
  inTurns('fails with E116 before the first apply', async () => {
    const { exitCode, stderr } = await lab.xdp('ban', PEER)
    expect([exitCode, stderr]).toEqual([1, expect.stringContaining('E116')])
    expect(stderr).toContain('xdp apply')
  })

  inTurns('drops at once, shows in why, and expires', async () => {
    await apply()
    expect(await lab.ping(HOST)).toBe(2)
    await lab.ok('ban', PEER, '--ttl', '30s', '--reason', 'a test', '--by', 'operator')
    expect(await lab.ping(HOST)).toBe(0)
    // The peer's other address is not banned.
    expect(await lab.ping(HOST, { source: '192.0.2.3' })).toBe(2)
    const { live } = JSON.parse(await lab.ok('why', PEER, '--json')) as { live: Record<string, unknown> }
    expect(live).toMatchObject({ verdict: 'drop', reason: 'ban', prefix: PEER, proven: true })
    expect(live['ban']).toMatchObject({ by: 'operator', reason: 'a test', prefix: `${PEER}/32` })
    // Banning again for a moment replaces the time.
    await lab.ok('ban', PEER, '--ttl', '300ms')
    await expect.poll(() => lab.ping(HOST, { count: 1 })).toBe(1)
    expect(await bans()).toEqual([])
    expect(await status()).toMatchObject({ bans: 0, drift: false })
  })

  inDepth('of a CIDR holds in each family until it is lifted', async () => {
    await apply()
    await lab.ok('ban', '192.0.2.2/31')
    await lab.ok('ban', '2001:db8::2')
    expect([await lab.ping(HOST), await lab.ping('2001:db8::1', { source: '2001:db8::2' })]).toEqual([0, 0])
    expect((await bans()).map(({ prefix, ttl_left }) => [prefix, ttl_left])).toEqual([
      ['192.0.2.2/31', null],
      ['2001:db8::2/128', null],
    ])
    await lab.ok('unban', '192.0.2.2/31')
    await lab.ok('unban', '2001:db8::2')
    expect([await lab.ping(HOST), await lab.ping('2001:db8::1', { source: '2001:db8::2' })]).toEqual([2, 2])
    expect(await lab.ok('unban', PEER)).toContain('no such ban')
  })

  inTurns('survives every apply, shows in no plan, and yields to the allowlist', async () => {
    await apply()
    await lab.ok('ban', PEER)
    // Apply sends a test packet from this address.
    await lab.ok('ban', '203.0.113.1')
    expect(await lab.ok('plan')).toContain('No changes')
    await apply(`${CONFIG}blocklist: [198.51.100.0/24]\n`)
    expect(await lab.ping(HOST)).toBe(0)
    expect(await status()).toMatchObject({ bans: 2, drift: false })
    await apply(`${CONFIG}allowlist: [192.0.2.2]\n`)
    expect(await lab.ping(HOST)).toBe(2)
    expect(JSON.parse(await lab.ok('why', PEER, '--json'))).toMatchObject({ live: { reason: 'allowlist', ban: null } })
    const useless = await lab.xdp('ban', PEER)
    expect([useless.exitCode, useless.stdout]).toEqual([0, 'Refreshed 1 ban.\n'])
    expect(useless.stderr).toMatch(/^warning\[W273 .*192\.0\.2\.2 has no effect: the allowlist passes all its packets/)
    const partly = JSON.parse(await lab.ok('ban', '192.0.2.2/31', '203.0.113.1', '--observe', '--json'))
    expect(partly).toMatchObject({ added: 1, refreshed: 1, warnings: [{ code: 'W273' }] })
    expect(partly.warnings[0].message).toContain('the allowlist still passes all packets from 192.0.2.2')
    await lab.ok('unban', '192.0.2.2/31')
    await apply(CONFIG)
    expect(await lab.ping(HOST)).toBe(0)
    await lab.ok('destroy', '--auto-approve')
    await apply()
    expect(await bans()).toEqual([])
  })
})

describe('guards', () => {
  inTurns('refuse bans that cover own addresses or the gateway, unless allowed', async () => {
    await apply()
    lab.in(lab.host, 'ip', 'route', 'add', 'default', 'via', '192.0.2.3')
    const wide = usually([HOST, '2001:db8::/32'], { thoroughly: [HOST, '2001:db8::/32', '127.0.0.1', '0.0.0.0/0'] })
    const refusals = [...wide.map((prefix) => [prefix, 'E207']), ['192.0.2.3', 'E227'], ['192.0.2.0/24', 'E227']]
    for (const [prefix = '', code = ''] of refusals) {
      const { exitCode, stderr } = await lab.xdp('ban', prefix)
      expect([prefix, exitCode, stderr]).toEqual([prefix, 4, expect.stringContaining(code)])
    }
    expect(await bans()).toEqual([])
    expect((await lab.xdp('ban', '192.0.2.3', '--allow-cut', 'ssh')).exitCode).toBe(4)
    await lab.ok('ban', '192.0.2.3', '--allow-cut', 'gateway')
    await lab.ok('ban', HOST, '--allow-cut', HOST)
    await lab.ok('ban', '192.0.2.0/28', '--force-cut')
    const banned = ['192.0.2.0/28', `${HOST}/32`, '192.0.2.3/32']
    expect((await bans()).map(({ prefix }) => prefix)).toEqual(banned)
  })

  inTurns('judge each of several addresses; a word that is no address bans none of them', async () => {
    await apply()
    const wrong = await lab.xdp('ban', PEER, 'nonsense', '203.0.113.9')
    expect([wrong.exitCode, wrong.stderr]).toEqual([64, expect.stringMatching(/E300.*nonsense/)])
    expect(await bans()).toEqual([])
    const { exitCode, stdout } = await lab.xdp('ban', PEER, HOST, '203.0.113.0/24', '--for', '10m', '--json')
    expect(exitCode).toBe(4)
    expect(JSON.parse(stdout)).toMatchObject({ added: 2, refused: 1, errors: [{ code: 'E207' }] })
    expect(await lab.ping(HOST)).toBe(0)
    expect((await bans()).map(({ prefix, ttl_left }) => [prefix, (ttl_left ?? 0) > 500])).toEqual([
      ['192.0.2.2/32', true],
      ['203.0.113.0/24', true],
    ])
    const lifted = JSON.parse(await lab.ok('unban', PEER, HOST, '203.0.113.0/24', '--json'))
    expect(lifted).toMatchObject({ removed: 2, absent: 1, errors: [] })
    expect(await lab.ping(HOST)).toBe(2)
  })

  inTurns('refuse a ban of the SSH peer', async () => {
    await apply()
    const [command, ...args] = lab.argv('ban', PEER) as [string, ...string[]]
    const env = { ...process.env, SSH_CONNECTION: `${PEER} 50000 ${HOST} 22` }
    expect(() => execFileSync(command, args, { env, stdio: 'pipe' })).toThrow(
      /E226.*your own SSH connection from 192\.0\.2\.2/,
    )
  })
})

describe('many bans', () => {
  inDepth('from a stream of 100,000 are set, listed and lifted; invalid lines are reported by number', async () => {
    await apply()
    await lab.ok('ban', '2001:db8:7::/48', '--by', 'ü')
    const line = (i: number): string => `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}${i % 2 ? ' 1h' : ''}`
    const lines = Array.from({ length: 100_000 }, (_, i) => line(i))
    const file = lab.write('many', `# a list\n${lines.join('\n')}\nnonsense\n${HOST}\n192.0.2.2 5\n`)
    const { exitCode, stdout, stderr } = await stream('ban', file, '--json', '--reason', 'listed', '--by', 'test')
    expect([exitCode, stderr]).toEqual([78, ''])
    const report = JSON.parse(stdout) as { errors: { at: { line: number } }[] }
    expect(report).toMatchObject({ added: 100_000, rejected: 2, refused: 1, failed: 0 })
    expect(report.errors.map(({ at }) => at.line).sort()).toEqual([100_002, 100_003, 100_004])
    expect(await status()).toMatchObject({ bans: 100_001, bans_capacity: 131_072 })
    // The leftovers of a killed listing do not disturb the next one.
    mkdirSync(pinPaths(lab.bpffs, 'default').listing)
    const listed = await bans()
    expect(listed.map(({ prefix }) => prefix).slice(0, -1)).toEqual(lines.map((text) => `${text.split(' ')[0]}/32`))
    expect(listed.map(({ ttl_left }) => ttl_left !== null).slice(0, -1)).toEqual(lines.map((_, i) => i % 2 === 1))
    expect(new Set(listed.map(({ by, reason }) => `${by}: ${reason}`))).toEqual(new Set(['test: listed', 'ü: null']))
    expect(listed.at(-1)).toMatchObject({ prefix: '2001:db8:7::/48', ttl_left: null })
    expect(lab.pins().filter((pin) => pin.includes('listing'))).toEqual([])
    expect((await lab.ok('why', '10.1.134.159')).split('\n')[1]).toContain('ban: 10.1.134.159')
    expect(await lab.ping(HOST)).toBe(2)
    const lifted = await stream('unban', file, '--json')
    expect([lifted.exitCode, JSON.parse(lifted.stdout)]).toMatchObject([
      78,
      { removed: 100_000, absent: 1, rejected: 2, refused: 0 },
    ])
    expect((await bans()).map(({ prefix }) => prefix)).toEqual(['2001:db8:7::/48'])
  })

  inTurns('fail with E117 if the table is full, keep existing bans, and fit into a larger table', async () => {
    const sized = (size: number): string => `${CONFIG}limits: { bans: ${size} }\n`
    await apply(sized(32))
    const address = (i: number): string => `10.0.0.${i}`
    const lines = Array.from({ length: 34 }, (_, i) => `${address(i + 1)}${i === 2 ? ' 300ms' : ''}`)
    const file = lab.write('many', `${lines.join('\n')}\n`)
    const { exitCode, stdout, stderr } = await stream('ban', file)
    expect([exitCode, stdout]).toEqual([69, 'Banned 32 prefixes.\n'])
    expect(stderr).toContain('stdin:33:1: error[E117 bans-full]')
    expect(await status()).toMatchObject({ bans_capacity: 32 })
    // Expired bans make room.
    await expect.poll(async () => (await lab.xdp('ban', address(40))).exitCode).toBe(0)
    const held = [...lines.slice(0, 32).map((_, i) => i + 1), 40].filter((i) => i !== 3).map((i) => `${address(i)}/32`)
    expect((await bans()).map(({ prefix }) => prefix)).toEqual(held)
    expect((await lab.xdp('ban', address(41))).exitCode).toBe(69)
    expect(await apply(sized(1000))).toContain('bans: 32 (0.0 MiB, 0.0 MiB full) -> 1,024 (0.0 MiB, 0.2 MiB full)')
    expect(await status()).toMatchObject({ bans: 32, bans_capacity: 1024, drift: false })
    await lab.ok('ban', address(41))
    // All of them drop packets by the filter of the new table, too.
    for (const one of [1, 32, 40, 41]) expect((await lab.ok('why', address(one))).split('\n')[1]).toContain('ban: ')
    expect((await lab.ok('why', address(3))).split('\n')[1]).not.toContain('ban: ')
    lab.write('xdp.yaml', sized(32))
    const shrunk = await lab.xdp('apply', '--auto-approve')
    expect([shrunk.exitCode, shrunk.stderr.split('\n')[0]]).toEqual([
      4,
      expect.stringContaining('E136 bans-do-not-fit'),
    ])
    expect(await status()).toMatchObject({ bans: 33, bans_capacity: 1024 })
    await lab.ok('unban', address(41))
    await apply()
    expect((await bans()).map(({ prefix }) => prefix)).toEqual(held)
    expect(await status()).toMatchObject({ bans: 32, bans_capacity: 32, drift: false })
  })

  inTurns('survive a change of their table: those made and lifted meanwhile, and a killed apply', async () => {
    await apply()
    const first = Array.from({ length: 600 }, (_, i) => `10.1.${i >> 8}.${i & 255}`)
    await stream('ban', lab.write('first', first.join('\n')))
    const sizes = [4096, 1024, 2048]
    const made: string[] = []
    for (const size of sizes) {
      lab.write('xdp.yaml', `${CONFIG}limits: { bans: ${size} }\n`)
      const [command, ...rest] = lab.argv('apply', '--auto-approve') as [string, ...string[]]
      const killed = spawn(command, rest, { cwd: lab.directory, stdio: 'ignore', detached: true })
      const over = new Promise<void>((resolve) => killed.on('close', () => resolve()))
      const address = (): string => `10.2.0.${made.length}`
      for (let i = 0; i < 3; i++) {
        await lab.ok('ban', address())
        made.push(address())
      }
      killGroup(killed.pid as number)
      await over
      let isOver = false
      const applied = lab.xdp('apply', '--auto-approve').finally(() => {
        isOver = true
      })
      const lifted: string[] = []
      while (!isOver) {
        await lab.ok('ban', address())
        made.push(address())
        const one = first.pop() as string
        await lab.ok('unban', one)
        lifted.push(one)
      }
      expect((await applied).exitCode).toBe(0)
      expect(lifted.length).toBeGreaterThan(0)
      expect(await status()).toMatchObject({ bans_capacity: size, drift: false })
      const expected = [...first, ...made].map((one) => `${one}/32`).sort()
      expect((await bans()).map(({ prefix }) => prefix).sort()).toEqual(expected)
      for (const one of [made[0], made.at(-1), first[0]]) expect(await lab.ok('why', one as string)).toContain('ban: ')
      for (const one of lifted) expect((await lab.ok('why', one)).split('\n')[1]).not.toContain('ban: ')
    }
  })
})

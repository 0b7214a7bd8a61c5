// Feeds on a host: gzip, JSON and CSV files drop packets; a broken feed keeps its live content.

import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { inDepth } from '../support/depth.ts'
import { Lab } from '../support/hosts.ts'
import { Watching } from '../support/watching.ts'

const CONFIG = `version: 1
interfaces:
  eth0: { mode: generic }
include: [conf.d/*.yaml]
blocklist:
  - { name: packed, file: feeds/packed.gz }
  - { name: json, file: feeds/drop.jsonl, max_age: 36h }
`
/** Peers of eth0 that no list contains. */
const filler = Array.from({ length: 9 }, (_, index) => `203.0.113.${index * 2}`)

let lab: Lab

const packed = (lines: readonly string[]): void =>
  writeFileSync(join(lab.directory, 'feeds/packed.gz'), gzipSync(`${lines.join('\n')}\n`))

beforeAll(() => {
  lab = new Lab()
  lab.write('xdp.yaml', CONFIG)
  lab.write('conf.d/csv.yaml', 'blocklist: [{ name: csv, file: ../feeds/botnet.csv, column: dst_ip }]\n')
  lab.write('feeds/drop.jsonl', '{"cidr":"2001:db8::2/128"}\n{"type":"metadata","records":1}\n')
  lab.write('feeds/botnet.csv', 'when,dst_ip\n2026-01-01,198.51.100.7\n2026-01-01,10.0.0.1\n')
  packed([...filler, '192.0.2.2'])
})
afterAll(() => lab.close())

const changes = async (...flags: readonly string[]): Promise<unknown[]> =>
  JSON.parse(await lab.ok('plan', '--json', ...flags)).changes

test('feeds of every format drop packets, and warnings name the entries left out', async () => {
  const { warnings } = JSON.parse(await lab.ok('plan', '--json'))
  expect(warnings).toMatchObject([{ code: 'W004', message: expect.stringContaining('feeds/botnet.csv:3') }])
  await lab.ok('apply', '--auto-approve')
  expect(await lab.ping('192.0.2.1', { source: '192.0.2.2', count: 1 })).toBe(0)
  expect(await lab.ping('192.0.2.1', { source: '192.0.2.3' })).toBe(2)
  expect(await lab.ping('2001:db8::1', { source: '2001:db8::2', count: 1 })).toBe(0)
  const { lists } = JSON.parse(await lab.ok('status', '--json'))
  expect(lists).toMatchObject([
    { name: 'csv', prefixes: 1 },
    { name: 'json', prefixes: 1, packets: 1 },
    { name: 'packed', prefixes: 10, packets: 1 },
  ])
  const why = JSON.parse(await lab.ok('why', '192.0.2.2', '--json'))
  expect(why.desired).toMatchObject({ list: 'packed', at: 'feeds/packed.gz:10' })
  expect(await changes()).toEqual([])
})

test('a shrunken feed keeps its live entries until --accept-shrink', async () => {
  packed(['203.0.113.0'])
  const plan = await lab.ok('plan')
  expect(plan).toContain('No changes.')
  expect(plan).toContain('W210 shrunken-feed')
  const { stdout, stderr } = await lab.xdp('apply', '--auto-approve', '--json')
  expect(JSON.parse(stdout)).toMatchObject({ changed: false })
  expect(stderr).toContain('W210 shrunken-feed')
  expect(await lab.ping('192.0.2.1', { source: '192.0.2.2', count: 1 })).toBe(0)
  expect(await changes('--accept-shrink')).toHaveLength(1)
  await lab.ok('apply', '--auto-approve', '--accept-shrink')
  expect(await lab.ping('192.0.2.1', { source: '192.0.2.2' })).toBe(2)
  expect(await changes()).toEqual([])
})

test('a feed that grew out of proportion keeps its live entries until --accept-growth, in the daemon too', async () => {
  const before = ['203.0.113.0']
  packed(before)
  await lab.ok('apply', '--auto-approve', '--accept-shrink')
  const daemon = await Watching.ready(lab)
  packed([...before, '192.0.2.0/25', ...Array.from({ length: 17 }, (_, i) => `${16 + i}.0.0.0/8`)])
  await daemon.hear('warning', ({ warnings = [] }) => warnings.some(({ code }) => code === 'W240'))
  expect(await lab.ping('192.0.2.1', { source: '192.0.2.2' })).toBe(2)
  expect(JSON.parse(await lab.ok('status', '--json')).lists).toContainEqual(
    expect.objectContaining({ name: 'packed', prefixes: 1 }),
  )
  await daemon.end()
  expect(await lab.ok('plan')).toContain('No changes.')
  const { stdout, stderr } = await lab.xdp('apply', '--auto-approve', '--accept-shrink', '--json')
  expect(JSON.parse(stdout)).toMatchObject({ changed: false })
  expect(stderr).toContain('W240 grown-feed')
  expect(stderr).toContain('xdp apply --accept-growth')
  expect(await changes('--accept-growth')).toHaveLength(1)
  await lab.ok('apply', '--auto-approve', '--accept-growth')
  expect(await lab.ping('192.0.2.1', { source: '192.0.2.2', count: 1 })).toBe(0)
  packed(before)
  await lab.ok('apply', '--auto-approve', '--accept-shrink')
})

inDepth('a stale feed keeps its live entries until --accept-shrink', async () => {
  const path = lab.write('feeds/drop.jsonl', '{"cidr":"2001:db8::3/128"}\n')
  const now = Math.floor(Date.now() / 1000)
  utimesSync(path, now, now - 37 * 3600)
  expect(await lab.ok('plan')).toContain('W209 stale-feed')
  expect(await changes()).toEqual([])
  utimesSync(path, now, now - 35 * 3600)
  expect(await changes()).toHaveLength(1)
})

const feed = (): string => join(lab.directory, 'feeds/packed.gz')
const write = (content: string | Buffer) => (): void => writeFileSync(feed(), content)

/** Broken feeds, with the exit status and the code of apply. */
const BROKEN: readonly (readonly [what: string, make: () => void, exit: number, code: string])[] = [
  ['a truncated download', write(gzipSync(filler.join('\n')).subarray(0, 40)), 78, 'E035'],
  ['an empty file', write(''), 78, 'E006'],
  ['something binary', write(Buffer.from([0x7f, 0x45, 0x4c, 0x46, 0, 1, 2])), 78, 'E004'],
  ['a web page', write('<!DOCTYPE html>\n<p>Moved</p>\n'), 78, 'E020'],
  ['host bits', write('203.0.113.0\n203.0.113.9/24\n'), 78, 'E021'],
  ['IPv4 in IPv6 form', write('203.0.113.0\n::ffff:203.0.113.9\n'), 78, 'E025'],
  ['a reversed range', write('203.0.113.0\n203.0.113.9-203.0.113.1\n'), 78, 'E023'],
  ['more prefixes than the config allows', write('203.0.113.1-203.0.113.6\n198.51.100.0/24\n'), 78, 'E039'],
  ['no file', () => rmSync(feed()), 66, 'E001'],
  ['no file that can be read', () => mkdirSync(feed()), 66, 'E002'],
]

/** The live lists, without counters, which any peer of the link may change. */
async function live(): Promise<unknown> {
  const { generation, lists, drift } = JSON.parse(await lab.ok('status', '--json'))
  return { generation, drift, lists: lists.map(({ name, prefixes }: Record<string, unknown>) => [name, prefixes]) }
}

test('broken feeds change nothing, and each has its code and exit status', async () => {
  const before = await live()
  lab.write('xdp.yaml', `${CONFIG}limits: { prefixes: 4 }\n`)
  const failures: unknown[] = []
  for (const [what, make] of BROKEN) {
    make()
    const { exitCode, stdout } = await lab.xdp('apply', '--auto-approve', '--accept-shrink', '--json')
    failures.push([what, exitCode, JSON.parse(stdout).error.code])
  }
  expect(failures).toEqual(BROKEN.map(([what, , exit, code]) => [what, exit, code]))
  expect(await live()).toEqual(before)
  rmSync(feed(), { recursive: true })
  lab.write('xdp.yaml', CONFIG)
})

/** Hosts in different /64s; each takes some 90 bytes. */
const scattered = (count: number): string =>
  Array.from({ length: count }, (_, i) => `2a0a:${(i >>> 8).toString(16)}:${(i & 255).toString(16)}::1\n`).join('')

/** The directory for a memory limit: cgroup 1, else cgroup 2; undefined: none. */
function memoryGroup(): { readonly directory: string; readonly limit: string } | undefined {
  const name = `xdp-test-${process.pid}`
  if (existsSync('/sys/fs/cgroup/memory/memory.limit_in_bytes'))
    return { directory: `/sys/fs/cgroup/memory/${name}`, limit: 'memory.limit_in_bytes' }
  const path = '/sys/fs/cgroup/cgroup.subtree_control'
  const has = existsSync(path) && readFileSync(path, 'utf8').includes('memory')
  return has ? { directory: `/sys/fs/cgroup/${name}`, limit: 'memory.max' } : undefined
}
const group = memoryGroup()

test.skipIf(!group)('without kernel memory the live lists stay (SKIP: no cgroup limits memory)', async () => {
  const { directory, limit } = group as NonNullable<typeof group>
  packed(['192.0.2.2'])
  await lab.ok('apply', '--auto-approve', '--accept-shrink')
  const before = await live()
  // The tables of 100,000 such hosts exceed the limit of 6 MiB for bpftool.
  writeFileSync(feed(), scattered(100_000))
  lab.tool('bpftool', `echo $$ > ${directory}/cgroup.procs\nexec /usr/sbin/bpftool "$@"\n`)
  mkdirSync(directory)
  writeFileSync(join(directory, limit), '6M')
  try {
    const { exitCode, stdout } = await lab.xdp('apply', '--auto-approve', '--accept-growth', '--json')
    expect([exitCode, JSON.parse(stdout).error.code]).toEqual([69, 'E109'])
  } finally {
    lab.realTools()
    rmdirSync(directory)
  }
  expect(await live()).toEqual(before)
  expect(await lab.ping('192.0.2.1', { source: '192.0.2.2', count: 1 })).toBe(0)
})

inDepth('a full disk under the cache makes one warning, and apply succeeds', async () => {
  const { cache } = lab
  rmSync(cache, { recursive: true, force: true })
  mkdirSync(cache, { mode: 0o700 })
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k,mode=0700', 'tmpfs', cache])
  try {
    writeFileSync(feed(), `192.0.2.2\n${scattered(30_000)}`)
    const { exitCode, stderr } = await lab.xdp('apply', '--auto-approve')
    expect([exitCode, stderr.match(/W\d+ [\w-]+/g)]).toEqual([0, ['W220 cache-unusable']])
    expect(stderr).toContain('ENOSPC')
    expect(await lab.ping('192.0.2.1', { source: '192.0.2.2', count: 1 })).toBe(0)
    expect(await changes()).toEqual([])
  } finally {
    execFileSync('umount', [cache])
  }
})

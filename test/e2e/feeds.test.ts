// Feeds on a host: packed, JSON and CSV files are applied and drop packets; a feed that broke keeps what is live.

import { utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Lab } from '../support/hosts.ts'

const CONFIG = `version: 1
interfaces:
  eth0: { mode: generic }
include: [conf.d/*.yaml]
blocklist:
  - { name: packed, file: feeds/packed.gz }
  - { name: json, file: feeds/drop.jsonl, max_age: 36h }
`
/** Peers of eth0 that are on none of the lists. */
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

test('feeds of every kind drop packets, and what was left out is told', async () => {
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

test('a feed that lost most of its entries keeps the live ones until it is accepted', async () => {
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

test('so does one that nobody has written for too long', async () => {
  const path = lab.write('feeds/drop.jsonl', '{"cidr":"2001:db8::3/128"}\n')
  const now = Math.floor(Date.now() / 1000)
  utimesSync(path, now, now - 37 * 3600)
  expect(await lab.ok('plan')).toContain('W209 stale-feed')
  expect(await changes()).toEqual([])
  utimesSync(path, now, now - 35 * 3600)
  expect(await changes()).toHaveLength(1)
})

test.each([
  ['a truncated download', (lines: Buffer) => lines.subarray(0, 40), 78],
  ['an empty file', () => Buffer.alloc(0), 78],
  ['something binary', () => Buffer.from([0x7f, 0x45, 0x4c, 0x46, 0, 1, 2]), 78],
])('%s changes nothing', async (_, broken, status) => {
  writeFileSync(join(lab.directory, 'feeds/packed.gz'), broken(gzipSync(filler.join('\n'))))
  const { exitCode } = await lab.xdp('apply', '--auto-approve', '--accept-shrink')
  expect(exitCode).toBe(status)
  expect(JSON.parse(await lab.ok('status', '--json')).lists).toHaveLength(3)
})

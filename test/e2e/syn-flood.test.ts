// A flood of forged SYNs at full rate against a server, while real clients connect.

import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { capture, ETH0, Lab } from '../support/hosts.ts'

const PORT = 8080
const CLIENTS = 300

let lab: Lab
let server: ReturnType<typeof spawn>

const SERVER = `
import { createServer } from 'node:http'
createServer((_, answer) => answer.end('ok')).listen(${PORT}, '::', 128, () => console.log('ready'))
`

const config = (mode: string): string =>
  [
    'version: 1',
    'interfaces: { eth0: { mode: generic } }',
    'allowlist: []',
    'blocklist: []',
    `syn_protection: { ports: [${PORT}], mode: ${mode}, threshold: 500 }`,
  ].join('\n')

beforeAll(async () => {
  lab = new Lab([ETH0])
  execFileSync('clang', ['-O2', '-o', join(lab.directory, 'spoof'), join(import.meta.dirname, '../support/spoof.c')])
  const inside = (...argv: readonly string[]): string[] => [`--net=/run/netns/${lab.host}`, ...argv]
  execFileSync('nsenter', inside('sysctl', '-qw', 'net.ipv4.tcp_syncookies=2', 'net.ipv4.tcp_timestamps=2'))
  server = spawn('nsenter', inside('node', '--input-type=module', '-e', SERVER))
  await once(server.stdout as NodeJS.ReadableStream, 'data')
})
afterAll(() => {
  server?.kill('SIGKILL')
  lab?.close()
})

/** Connects so many times from the peer, eight at once, and prints how many got an answer within five seconds. */
const CLIENT = `
import { request } from 'node:http'
let left = ${CLIENTS}, good = 0
const one = () => new Promise((done) => {
  const asked = request({ host: '${(ETH0.addresses[0] as string).replace(/\/.*/, '')}', port: ${PORT}, agent: false, timeout: 5000 }, (answer) => {
    answer.resume().on('end', () => { good++; done() })
  })
  asked.on('timeout', () => asked.destroy()).on('error', () => done()).end()
})
await Promise.all(Array.from({ length: 8 }, async () => { while (left-- > 0) await one() }))
console.log(good)
`

const status = async () => JSON.parse(await lab.ok('status', '--json')).syn_protection

test('doctor reads the settings of this host', async () => {
  lab.write('xdp.yaml', config('always'))
  const found = async (cookies: number, timestamps: number) => {
    lab.in(lab.host, 'sysctl', '-qw', `net.ipv4.tcp_syncookies=${cookies}`, `net.ipv4.tcp_timestamps=${timestamps}`)
    const { checks } = JSON.parse((await lab.xdp('doctor', '--json')).stdout) as {
      checks: { id: string; level: string }[]
    }
    return checks.flatMap(({ id, level }) => (id.startsWith('syn_protection.') ? [`${id} ${level}`] : []))
  }
  expect(await found(1, 1)).toEqual(['syn_protection.cookies warn', 'syn_protection.options warn'])
  expect(await found(2, 2)).toEqual(['syn_protection.cookies ok', 'syn_protection.options ok'])
})

test('connects every client under a flood of forged SYNs, which begins and counts by itself', async () => {
  lab.write('xdp.yaml', config('auto'))
  await lab.ok('apply', '--auto-approve')
  expect(await status()).toMatchObject({ mode: 'auto', threshold: 500, answering: false, floods: 0 })
  const host = (ETH0.addresses[0] as string).replace(/\/.*/, '')
  const flood = spawn('nsenter', [
    ...[`--net=/run/netns/${lab.peer}`, join(lab.directory, 'spoof'), host, `${PORT}`, '1000000000', '1000000'],
  ])
  try {
    await once(flood.stdout, 'data')
    await expect.poll(async () => (await status()).answering, { timeout: 20_000 }).toBe(true)
    const { stdout } = await capture('nsenter', [
      ...[`--net=/run/netns/${lab.peer}`, 'node', '--input-type=module', '-e', CLIENT],
    ])
    const found = await status()
    expect(Number(stdout) / CLIENTS).toBeGreaterThanOrEqual(0.999)
    expect(found.floods).toBe(1)
    expect(found.completed).toBeGreaterThanOrEqual(CLIENTS)
    expect(found.answered).toBeGreaterThan(10_000)
  } finally {
    flood.kill('SIGKILL')
  }
  // The rest of the policy still decides first, and a plan shows the setting.
  const why = await lab.ok(
    ...['why', '203.0.113.9', '--protocol', 'tcp', '--destination', host, '--destination-port', `${PORT}`, '--json'],
  )
  expect(JSON.parse(why)).toMatchObject({ live: { verdict: 'tx', reason: 'syn-answered', proven: true } })
})

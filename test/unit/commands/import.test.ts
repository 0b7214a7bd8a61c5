import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { isAbsolute, join } from 'node:path'
import { Readable } from 'node:stream'
import { Ajv } from 'ajv'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { main } from '../../../src/commands/main.ts'
import { readSchema } from '../../support/schemas.ts'

const SCHEMA = readSchema('import')

/** A virtual server of keepalived with one real server. */
const balancer = (own: string, server = ''): string =>
  `virtual_server 192.0.2.10 80 {\nprotocol TCP\n${own}\nreal_server 10.0.0.1 80 {\n${server}\n}\n}\n`

let folder = ''
let out = ''
const at = (name: string): string => join(folder, name)

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'xdp-import-'))
  writeFileSync(at('small'), 'create bad hash:ip\nadd bad 192.0.2.1\n')
  writeFileSync(at('lossy'), 'create bad hash:ip timeout 5\nadd bad 192.0.2.1\n')
  const lines = Array.from({ length: 1001 }, (_, index) => `add bad 10.${index >> 7}.0.${(index & 127) * 2}\n`)
  writeFileSync(at('large'), `create bad hash:ip\n${lines.join('')}`)
  writeFileSync(at('empty'), '')
  const stateful = '-A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT\n'
  writeFileSync(at('stateful'), `*filter\n:INPUT DROP [0:0]\n${stateful}-A INPUT -s 10.0.0.1/32 -j ACCEPT\nCOMMIT\n`)
  writeFileSync(at('related'), `*filter\n:INPUT DROP [0:0]\n${stateful.replace('ESTABLISHED', 'RELATED')}COMMIT\n`)
  mkdirSync(at('conf.d'))
  writeFileSync(at('conf.d/web.conf'), `${balancer('lb_algo wrr', 'TCP_CHECK {\n}')}`)
  writeFileSync(
    at('keepalived.conf'),
    `include conf.d/*.conf\ninclude none/*\n${balancer('lb_algo dh').replace(/10 80/, '11 80')}`,
  )
  writeFileSync(at('weak.conf'), balancer('lb_algo rr', 'PING_CHECK {\n}'))
  writeFileSync(at('vrrp.conf'), 'vrrp_instance a {\n}\n')
  const router = '*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n-A INPUT -s 10.0.0.1/32 -j DROP\n'
  writeFileSync(at('router'), `${router}-A FORWARD -s 10.0.0.0/8 -j ACCEPT\nCOMMIT\n`)
})
beforeEach(() => {
  out = mkdtempSync(join(folder, 'out-'))
})
afterAll(() => rmSync(folder, { recursive: true }))

async function xdp(...argv: readonly string[]) {
  const seen = { stdout: '', stderr: '' }
  const stream = (name: 'stdout' | 'stderr') => ({
    write: (text: string): void => {
      seen[name] += text
    },
    isTTY: false,
  })
  const status = await main({
    argv: ['import', ...argv],
    env: {},
    stdout: stream('stdout'),
    stderr: stream('stderr'),
    stdinIsTTY: false,
    stdin: () => Readable.from([]),
    ask: async () => '',
    readInput: async () => new Uint8Array(0),
    signal: new AbortController().signal,
    uid: -1,
  })
  return { status, ...seen }
}

test('prints a small config, and warns of a guessed interface', async () => {
  const { status, stdout, stderr } = await xdp('--from', 'ipset', at('small'))
  expect(status).toBe(0)
  expect(stdout).toContain('name: bad')
  expect(stderr).toContain('W401')
  expect(await xdp('--from', 'ipset', at('small'), '--interface', 'eth1', '--interface', 'eth2')).toMatchObject({
    stdout: expect.stringMatching(/eth1: .*\n {2}eth2: /),
    stderr: '',
  })
})

test('writes a config with list files, and replaces files only with --force', async () => {
  const argv = ['--from', 'ipset', at('large'), '--interface', 'eth0', '--output', join(out, 'new')]
  expect(await xdp(...argv)).toMatchObject({
    status: 0,
    stdout: expect.stringContaining('and 1 list file: 1 list with 1,001 prefixes, default pass.'),
  })
  const list = join(out, 'new/lists/bad.txt')
  expect(readFileSync(list, 'utf8').split('\n')).toHaveLength(1003)
  writeFileSync(list, 'mine')
  expect(await xdp(...argv)).toMatchObject({ status: 4, stderr: expect.stringContaining('E402') })
  expect(readFileSync(list, 'utf8')).toBe('mine')
  expect(await xdp(...argv, '--force')).toMatchObject({ status: 0 })
  expect(readFileSync(list, 'utf8')).not.toBe('mine')
})

test('warns once per rule left out; with --strict fails and writes nothing', async () => {
  const argv = ['--from', 'ipset', at('lossy'), '--interface', 'eth0']
  const { status, stderr } = await xdp(...argv)
  expect({ status, lines: stderr.trim().split('\n').length }).toEqual({ status: 0, lines: 1 })
  const strict = await xdp(...argv, '--strict', '--output', out)
  expect(strict).toMatchObject({ status: 1, stdout: '', stderr: expect.stringContaining('E404') })
  expect(existsSync(join(out, 'xdp.yaml'))).toBe(false)
  expect(await xdp('--from', 'ipset', at('small'), '--interface', 'eth0', '--strict')).toMatchObject({ status: 0 })
})

test('imports the rule of a stateful firewall for known connections, and says where it differs', async () => {
  const argv = ['--from', 'iptables', at('stateful'), '--interface', 'eth0']
  const { status, stdout, stderr } = await xdp(...argv)
  expect({ status, stderr }).toEqual({ status: 0, stderr: expect.stringContaining('W402') })
  expect(stdout).toContain('policy:\n  default: drop\n\n')
  expect(stdout).toContain('protocol: icmp')
  expect(await xdp(...argv, '--strict')).toMatchObject({ status: 1, stdout: '' })
  const ignoring = await xdp(...argv, '--ignore', 'state')
  expect(ignoring.stdout).not.toContain('icmp')
})

test('refuses a firewall that lets other packets pass by their state before it drops', async () => {
  const argv = ['--from', 'iptables', at('related'), '--interface', 'eth0']
  const { status, stdout, stderr } = await xdp(...argv)
  expect({ status, stdout }).toEqual({ status: 1, stdout: '' })
  for (const words of ['W403', 'E401', '--ignore state']) expect(stderr).toContain(words)
  const json = JSON.parse((await xdp(...argv, '--json')).stdout)
  expect(json.error).toMatchObject({ code: 'E401' })
  const ignoring = await xdp(...argv, '--ignore', 'state')
  expect({ status: ignoring.status, warned: ignoring.stderr.includes('W402') }).toEqual({ status: 0, warned: true })
  expect(ignoring.stdout).toContain('default: drop\n  established: judge')
})

test('refuses drops that would apply to forwarded packets, unless --ignore forwarding is set', async () => {
  const argv = ['--from', 'iptables', at('router'), '--interface', 'eth0', '--output', out]
  expect(await xdp(...argv)).toMatchObject({ status: 4, stdout: '', stderr: expect.stringContaining('E406') })
  expect(existsSync(join(out, 'xdp.yaml'))).toBe(false)
  expect(await xdp(...argv, '--ignore', 'forwarding')).toMatchObject({ status: 0 })
})

test('refuses services that would send packets elsewhere, unless --ignore accepts each difference', async () => {
  const argv = ['--from', 'keepalived', at('keepalived.conf'), '--interface', 'eth0', '--output', out]
  const { status, stdout, stderr } = await xdp(...argv)
  expect({ status, stdout }).toEqual({ status: 4, stdout: '' })
  for (const words of [`keepalived.conf:3:1: warning[W241`, 'E410', '--ignore services'])
    expect(stderr).toContain(words)
  expect(existsSync(join(out, 'xdp.yaml'))).toBe(false)
  const json = JSON.parse((await xdp(...argv, '--json')).stdout)
  expect(json.error).toMatchObject({ code: 'E410' })
  expect(json.errors.map(({ code }: { code: string }) => code)).toContain('W241')
  expect(await xdp(...argv, '--ignore', 'checks')).toMatchObject({ status: 4 })
  expect(await xdp(...argv, '--ignore', 'services')).toMatchObject({
    status: 0,
    stdout: expect.stringContaining('xdp.yaml: 1 service with 1 backend.'),
  })
  expect(readFileSync(join(out, 'xdp.yaml'), 'utf8')).toContain(
    `# from ${at('conf.d/web.conf')}:1\n  tcp-192.0.2.10-80:`,
  )
  expect(await xdp('--from', 'keepalived', at('weak.conf'), '--ignore', 'services')).toMatchObject({ status: 4 })
  expect(await xdp('--from', 'keepalived', at('weak.conf'), '--ignore', 'checks')).toMatchObject({ status: 0 })
})

test('prints services as text and as JSON', async () => {
  const valid = new Ajv({ strict: false }).compile(SCHEMA)
  const argv = ['--from', 'keepalived', at('conf.d/web.conf'), '--interface', 'eth0']
  expect((await xdp(...argv)).stdout).toContain('    backends:\n      - 10.0.0.1\n    health: {type: tcp,')
  const document = JSON.parse((await xdp(...argv, '--json')).stdout)
  expect(document).toMatchObject({
    lists: [],
    services: [{ name: 'tcp-192.0.2.10-80', vip: '192.0.2.10', port: 80, protocol: 'tcp', backends: 1 }],
  })
  expect([valid(document), valid.errors]).toEqual([true, null])
})

test.each([
  [['--from', 'keepalived', 'vrrp.conf'], 1, 'has no virtual server'],
  [['--from', 'ipvsadm', 'empty'], 1, 'has no virtual server'],
  [['--from', 'ipset', 'large'], 64, 'E403'],
  [['--from', 'ipset', 'empty'], 1, 'E401'],
  [['--from', 'nft', 'small'], 78, 'E400'],
  [['--from', 'ipset', 'none'], 66, 'E001'],
  [['--from', 'ipset', '.'], 66, 'E002'],
  [['--from', 'iptable', 'small'], 64, 'did you mean --from iptables?'],
  [['small'], 64, 'needs --from'],
  [['--from', 'ipset', 'small', '--interface', 'a/b'], 64, 'E300'],
  [['--from', 'ipset', 'small', '--output', 'small/x'], 1, 'E405'],
  [['--from', 'ipset', 'small', '--ignore', 'nothing'], 64, '--ignore "nothing" is unknown'],
])('%j ends with %i', async (argv, status, words) => {
  const named = argv.map((word) => (/^(?:large|empty|small|none|vrrp\.conf|\.)(?:\/x)?$/.test(word) ? at(word) : word))
  expect(await xdp(...named)).toMatchObject({ status, stdout: '', stderr: expect.stringContaining(words) })
})

test('--json prints one document that matches its schema', async () => {
  const valid = new Ajv({ strict: false }).compile(SCHEMA)
  const printed = await xdp('--from', 'ipset', at('lossy'), '--json')
  expect(printed.stderr).toBe('')
  const document = JSON.parse(printed.stdout)
  expect(document).toMatchObject({
    format_version: '1.0',
    config: null,
    text: expect.stringContaining('bad'),
    lists: [{ name: 'bad', prefixes: 1 }],
  })
  expect(document.left_out).toHaveLength(1)
  const written = JSON.parse((await xdp('--from', 'ipset', at('large'), '--json', '--output', out)).stdout)
  expect(written).toMatchObject({ text: null, config: join(out, 'xdp.yaml'), files: ['lists/bad.txt'] })
  const [, schema = ''] =
    /^# yaml-language-server: \$schema=(.*)$/m.exec(readFileSync(join(out, 'xdp.yaml'), 'utf8')) ?? []
  expect(isAbsolute(schema)).toBe(true)
  expect(JSON.parse(readFileSync(schema, 'utf8'))).toHaveProperty('properties.blocklist')
  for (const one of [document, written]) expect([valid(one), valid.errors]).toEqual([true, null])
})

// Sources in the network on a host: a server in the other namespace has the feed, `xdp fetch` and `xdp watch` keep its copy,
// and every other command works without the network.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Certificates } from '../support/certificates.ts'
import { Lab } from '../support/hosts.ts'
import { country, type Database, database, system } from '../support/mmdb.ts'
import { Watching } from '../support/watching.ts'

const SERVER = fileURLToPath(new URL('../support/feed-server.mjs', import.meta.url))
const EXAMPLE = fileURLToPath(new URL('../../examples/sources/xdp.yaml', import.meta.url))

let lab: Lab
let certificates: Certificates
let stop: () => void

/** Has the server serve this list from now on. */
const serve = (lines: readonly string[]): void => void lab.write('served/drop.txt', `${lines.join('\n')}\n`)

beforeAll(async () => {
  lab = new Lab()
  certificates = new Certificates()
  certificates.authority('authority')
  certificates.certificate('server', 'authority', 'DNS:lists.example.org,IP:192.0.2.2')
  serve(['192.0.2.3', ...Array.from({ length: 9 }, (_, i) => `203.0.113.${i * 2}`)])
  const files = ['server.crt', 'server.key'].map((name) => certificates.file(name))
  const argv = [`--net=/run/netns/${lab.peer}`, process.execPath, SERVER, '192.0.2.2', ...files]
  const child = spawn('nsenter', [...argv, join(lab.directory, 'served')], { stdio: ['ignore', 'pipe', 'inherit'] })
  stop = () => void child.kill()
  await once(createInterface({ input: child.stdout }), 'line')
  const text = readFileSync(EXAMPLE, 'utf8')
  // The example as it is, but for the place of the server, its authority, and the name that no DNS of a test knows.
  const here = text
    .replaceAll('https://lists.example.org/', 'https://192.0.2.2:8443/')
    .replaceAll('/etc/xdp/ca.pem', certificates.file('authority.crt'))
    .replace('host: vpn.example.org', 'cidr: 198.51.100.9')
  expect(here).toContain('192.0.2.2:8443')
  lab.write('xdp.yaml', here)
})
afterAll(() => {
  stop?.()
  certificates?.close()
  lab?.close()
})

test('a config whose lists were never fetched is valid, but not applied; after fetching it needs no network', async () => {
  expect((await lab.xdp('validate')).stderr).toContain('W261 never-fetched')
  const refused = await lab.xdp('apply', '--auto-approve')
  expect(refused).toMatchObject({ exitCode: 78, stderr: expect.stringMatching(/E261(?:.|\n)*xdp fetch/) })
  const { sources } = JSON.parse(await lab.ok('fetch', '--json'))
  expect(sources).toMatchObject([{ kind: 'url', lists: ['drop'], outcome: 'new', prefixes: 10, problem: null }])
  lab.in(lab.host, 'ip', 'link', 'set', 'eth0', 'down')
  await lab.ok('apply', '--auto-approve')
  lab.in(lab.host, 'ip', 'link', 'set', 'eth0', 'up')
  const why = JSON.parse(await lab.ok('why', '192.0.2.3', '--json'))
  expect(why.desired).toMatchObject({
    verdict: 'drop',
    list: 'drop',
    at: expect.stringMatching(/192\.0\.2\.2-drop\.txt-[0-9a-f]{12}:1$/),
    about: expect.stringMatching(/^https:\/\/192\.0\.2\.2:8443\/drop\.txt, checked 20/),
  })
  expect(await lab.ok('status')).toMatch(/https:\/\/192\.0\.2\.2:8443\/drop\.txt .* ok\n/)
})

test('a list that shrank, a redirect into the own network and a silent server leave the policy as it is', async () => {
  serve(['203.0.113.0'])
  const shrunken = await lab.xdp('fetch', 'drop')
  expect(shrunken).toMatchObject({ exitCode: 4, stderr: expect.stringContaining('W263 shrunken-download') })
  for (const address of ['127.0.0.1', '10.0.0.1', '[::1]', '[::ffff:192.168.0.1]', 'localhost']) {
    lab.write('served/redirect', `https://${address}/`)
    const { exitCode, stderr } = await lab.xdp('fetch')
    expect([exitCode, stderr]).toEqual([1, expect.stringContaining('a private address')])
  }
  rmSync(join(lab.directory, 'served/redirect'))
  expect(await lab.ok('plan')).toContain('No changes.')
  const metrics = await lab.ok('stats', '-f', 'xdp.yaml', '--format', 'prometheus')
  expect(metrics).toMatch(/xdp_source_failures\{source="https:\/\/192\.0\.2\.2:8443\/drop\.txt"\} 6/)
  expect(await lab.ok('status')).toContain('failed')
  const doctor = JSON.parse((await lab.xdp('doctor', '--json')).stdout)
  expect(doctor.checks.find(({ id }: { id: string }) => id === 'sources')).toMatchObject({ level: 'warn' })
  expect((await lab.xdp('fetch', '--accept-shrink')).exitCode).toBe(0)
  expect((await lab.xdp('fetch', 'dorp')).stderr).toContain('did you mean drop?')
})

test('countries and systems of a database drop and pass packets, and why names them', async () => {
  const text = readFileSync(new URL('../../examples/sources/country.yaml', import.meta.url), 'utf8')
  lab.write(
    'country.yaml',
    text.replaceAll('/usr/share/GeoIP/', '').replace(/protocol: tcp, destination_port: 22, /, ''),
  )
  const builtAt = Math.floor(Date.now() / 1000)
  const networks: Database['networks'] = [
    ['192.0.2.0/30', country('XX')],
    ['2001:db8::/32', country('YY')],
  ]
  writeFileSync(join(lab.directory, 'GeoLite2-Country.mmdb'), database({ networks, builtAt }))
  const systems: Database['networks'] = [['192.0.2.2/32', system(64496)]]
  writeFileSync(join(lab.directory, 'GeoLite2-ASN.mmdb'), database({ networks: systems, type: 'Test-ASN', builtAt }))
  await lab.ok('apply', '-f', 'country.yaml', '--auto-approve')
  expect(await lab.ping('192.0.2.1', { source: '192.0.2.3', count: 1 })).toBe(0)
  expect(await lab.ping('192.0.2.1', { source: '192.0.2.2' })).toBe(2)
  expect(await lab.ping('2001:db8::1', { source: '2001:db8::2', count: 1 })).toBe(0)
  const why = await lab.ok('why', '192.0.2.3', '-f', 'country.yaml')
  expect(why).toMatch(/GeoLite2-Country\.mmdb \(country XX of Test-Country, built 20/)
  writeFileSync(join(lab.directory, 'GeoLite2-Country.mmdb'), database({ networks, builtAt }).subarray(0, 300))
  expect(await lab.xdp('apply', '-f', 'country.yaml', '--auto-approve')).toMatchObject({ exitCode: 78 })
  expect(await lab.ping('192.0.2.1', { source: '192.0.2.3', count: 1 })).toBe(0)
})

test('rate limits count the sources of a country, a system and a file, and every report names them', async () => {
  const text = readFileSync(new URL('../../examples/sources/limits.yaml', import.meta.url), 'utf8')
  lab.write('limits.yaml', text.replaceAll('/usr/share/GeoIP/', '').replace('../lists/', ''))
  const many = Array.from({ length: 500 }, (_, i) => `198.18.${i >> 7}.${(i & 127) * 2}`)
  lab.write('scanners.txt', `${['192.0.2.3', ...many].join('\n')}\n`)
  const builtAt = Math.floor(Date.now() / 1000)
  const networks: Database['networks'] = [['192.0.2.2/32', country('XX')]]
  writeFileSync(join(lab.directory, 'GeoLite2-Country.mmdb'), database({ networks, builtAt }))
  const systems: Database['networks'] = [['192.0.2.0/30', system(64496)]]
  writeFileSync(join(lab.directory, 'GeoLite2-ASN.mmdb'), database({ networks: systems, type: 'Test-ASN', builtAt }))
  const of = ['-f', 'limits.yaml'] as const
  const plan = await lab.ok('plan', ...of)
  expect(plan).toMatch(/\+ sources abroad .*\n +\+1 -0 prefixes .*\n +\+ 192\.0\.2\.2 +# GeoLite2-Country\.mmdb/)
  expect(plan).toMatch(/\+ sources known .*\n +\+501 -0 prefixes/)
  expect(plan).toMatch(/\+ rate_limit abroad .*\n.*\n +from its list/)
  expect(JSON.parse(await lab.ok('apply', ...of, '--auto-approve', '--json'))).toMatchObject({ verified: true })
  expect(await lab.ok('plan', ...of, '--detailed-exitcode')).toContain('No changes.')
  expect(await lab.ping('192.0.2.1', { source: '192.0.2.3', count: 25 })).toBe(25)
  expect(await lab.ping('192.0.2.1', { source: '192.0.2.2', count: 32 })).toBeLessThan(28)

  const why = JSON.parse(await lab.ok('why', '192.0.2.2', '--protocol', 'icmp', ...of, '--json'))
  const found = {
    name: 'abroad',
    source: '192.0.2.2',
    source_at: 'GeoLite2-Country.mmdb',
    source_about: expect.stringMatching(/^country XX of Test-Country/),
  }
  expect(why.live).toMatchObject({ lists: [], rate_limits: [found] })
  expect(why.desired.rate_limits).toMatchObject([found])
  const scan = await lab.ok('why', '192.0.2.3', '--protocol', 'udp', '--offline', ...of)
  expect(scan).toMatch(/Rate limit hoster counts such packets.*\n +192\.0\.2\.0\/30 \(AS64496 of Test-ASN.*\) is one/)
  expect(await lab.ok('why', '2001:db8::2', '--protocol', 'icmp', ...of)).not.toContain('Rate limit')

  const status = JSON.parse(await lab.ok('status', '--json'))
  expect(status.lists).toEqual([])
  const rates = status.rate_limits.map(({ name, sources }: { name: string; sources: number }) => [name, sources])
  expect(rates).toEqual([
    ['abroad', 1],
    ['hoster', 1],
    ['known', 501],
  ])
  expect(JSON.parse(await lab.ok('stats', '--json')).rate_limits).toEqual(status.rate_limits)

  // Another source of another limit: this one keeps its counters, and the plan has the prefix as it was typed.
  lab.write('scanners.txt', `${['192.0.2.3', '198.51.100.0/24', ...many.slice(1)].join('\n')}\n`)
  expect(await lab.ok('plan', ...of)).toMatch(
    /~ sources known .*\n +\+1 -1 prefixes .*\n +\+ 198\.51\.100\.0\/24 +# scanners\.txt:2/,
  )
  const before = (await lab.ok('status')).match(/^abroad .*$/m)?.[0]
  await lab.ok('apply', ...of, '--auto-approve')
  expect((await lab.ok('status')).match(/^abroad .*$/m)?.[0]).toBe(before)

  await lab.ok('list', '--output', 'listed')
  expect(await lab.ok('plan', '-f', 'listed/xdp.yaml', '--detailed-exitcode')).toContain('No changes.')
  await lab.ok('status', '--state', 'state.json')
  expect(await lab.ok('plan', ...of, '--against', 'state.json', '--detailed-exitcode')).toContain('No changes.')
})

test('the daemon fetches what is missing, applies new contents, and keeps the policy when the server breaks', async () => {
  rmSync(join(lab.state, 'feeds'), { recursive: true })
  serve(['192.0.2.3', ...Array.from({ length: 9 }, (_, i) => `203.0.113.${i * 2}`)])
  const daemon = await Watching.ready(lab)
  expect(await lab.ping('192.0.2.1', { source: '192.0.2.3', count: 1 })).toBe(0)
  const [copy = ''] = JSON.parse(await lab.ok('status', '--json')).copies.map(({ path }: { path: string }) => path)
  expect(existsSync(copy)).toBe(true)
  // Another source is added to the config of the running daemon, whose copy comes by itself.
  lab.write('served/more.txt', '192.0.2.2\n198.51.100.0/24\n')
  const before = readFileSync(join(lab.directory, 'xdp.yaml'), 'utf8')
  const ca = certificates.file('authority.crt')
  const added = `  - { name: more, url: "https://192.0.2.2:8443/more.txt", ca: ${ca}, protocol: udp }\n`
  writeFileSync(join(lab.directory, 'xdp.yaml'), `${before}${added}`)
  await daemon.hear('fetched', ({ message }) => message.includes('more.txt is new'))
  await daemon.hear('applied')
  expect(JSON.parse(await lab.ok('status', '--json')).lists).toContainEqual(
    expect.objectContaining({ name: 'more', prefixes: 2 }),
  )
  await lab.ok('fetch')
  serve(['203.0.113.0', ...Array.from({ length: 9 }, (_, i) => `203.0.113.${i * 2}`)])
  await lab.ok('fetch')
  await daemon.hear('applied')
  expect(await lab.ping('192.0.2.1', { source: '192.0.2.3' })).toBe(2)
  await daemon.end()
})

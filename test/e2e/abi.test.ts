// A build with another map layout takes over from the build before it, or leaves it unchanged.

import { cpSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { inDepth } from '../support/depth.ts'
import { CLI, ETH0, ETH1, Lab } from '../support/hosts.ts'

let lab: Lab

beforeEach(async () => {
  lab = new Lab([ETH0, ETH1])
  lab.write('xdp.yaml', config('eth0: {}, eth1: { mode: generic }'))
  await lab.ok('apply', '--auto-approve')
})
afterEach(() => lab.close())

const config = (interfaces: string): string =>
  `version: 1\ninterfaces: { ${interfaces} }\nblocklist: [192.0.2.2, 198.51.100.2]\n`

/** The build under test with the next ABI version. */
function nextBuild(): string {
  const dist = join(lab.directory, 'next/dist')
  cpSync(dirname(CLI), dist, { recursive: true })
  writeFileSync(join(lab.directory, 'next/package.json'), '{ "type": "module" }')
  let patched = 0
  for (const name of readdirSync(dist).filter((file) => file.endsWith('.js'))) {
    const text = readFileSync(join(dist, name), 'utf8')
    const next = text.replace(/\bABI_VERSION=\d+/, 'ABI_VERSION=99')
    if (next !== text) patched++
    writeFileSync(join(dist, name), next)
  }
  expect(patched).toBe(1)
  return join(dist, 'xdp.js')
}

const blocked = async (): Promise<number> =>
  (await lab.ping('192.0.2.1', { source: '192.0.2.2', count: 1 })) +
  (await lab.ping('198.51.100.1', { source: '198.51.100.2', count: 1 }))

test('plans a new ABI as a replacement that restarts counters, and applies it without a gap', async () => {
  expect(await blocked()).toBe(0)
  lab.cli = nextBuild()
  const plan = JSON.parse(await lab.ok('plan', '--json'))
  expect(plan.changes[0]).toMatchObject({ op: 'replace', kind: 'program', impact: 'hitless' })
  expect(plan.changes.filter(({ kind }: { kind: string }) => kind === 'interface')).toEqual([])
  expect(plan.warnings.map(({ code }: { code: string }) => code)).toEqual(['W206'])
  await lab.ok('apply', '--auto-approve')
  expect(lab.pins().filter((pin) => !/^default\/(gen-2|shared-99)\//.test(pin))).toEqual([])
  expect(await lab.ok('plan', '--detailed-exitcode')).toContain('No changes.')
  expect(await blocked()).toBe(0)
  expect(JSON.parse(await lab.ok('status', '--json'))).toMatchObject({
    drift: false,
    leftovers: [],
    interfaces: [
      { name: 'eth0', mode: 'native', packets: { drop: 1 } },
      { name: 'eth1', mode: 'generic', packets: { drop: 1 } },
    ],
  })
})

inDepth('a failed apply of a new ABI leaves the old one live, with its pins and counters', async () => {
  expect(await blocked()).toBe(0)
  const pins = lab.pins()
  lab.cli = nextBuild()
  lab.write('xdp.yaml', config('eth0: {}, eth1: { mode: generic }, lo: { mode: native }'))
  expect((await lab.xdp('apply', '--auto-approve')).exitCode).toBe(69)
  expect(lab.pins()).toEqual(pins)
  lab.cli = CLI
  expect(await blocked()).toBe(0)
  expect(JSON.parse(await lab.ok('status', '--json'))).toMatchObject({
    drift: false,
    leftovers: [],
    interfaces: [{ packets: { drop: 2 } }, { packets: { drop: 2 } }],
  })
})
